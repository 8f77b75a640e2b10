package apiserver

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// slotBook notes what is told of slots.
type slotBook struct {
	mu   sync.Mutex
	told []string
}

func (b *slotBook) Created(pod *corev1.Pod, of controlplane.Workload, at controlplane.Placement) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, fmt.Sprintf("%s/%s of %s on %q in slot %q", pod.Namespace, pod.Name, of.Namespace, at.Node, at.Slot))
}

func (b *slotBook) Spoilt(uid string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, "spoilt "+uid)
}

func (b *slotBook) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.told
	b.told = nil
	return out
}

func TestCreateTakesSlot(t *testing.T) {
	book := &slotBook{}
	h := start(t, func(c *Config) { c.Slots = book })
	pods := h.client().CoreV1().Pods("default")
	template := testPod("expected")
	testDefault(template)
	template.Spec.Priority, template.Spec.PreemptionPolicy = noPriority, preempts // as admission gives every pod
	workload := controlplane.Workload{Namespace: "default", Template: controlplane.PodTemplate(template)}
	offer := func(uids ...string) {
		h.ledger.mu.Lock()
		defer h.ledger.mu.Unlock()
		h.ledger.slots[workload] = uids
	}
	expect := func(want ...string) {
		t.Helper()
		if got := book.take(); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	}

	offer("slot-1", "slot-2")
	p := testPod("a")
	p.Labels = map[string]string{"other": "label"}
	p.Spec.Hostname = "other"
	p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", Value: "b"}}
	made, err := pods.Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if made.UID != "slot-1" || made.Spec.NodeName != "n1" || made.Spec.Hostname != "other" || len(made.Spec.Containers[0].Env) != 1 {
		t.Errorf("made %+v", made)
	}
	if stored, ok := h.store.Get(keyOf(made)); !ok || stored.GetUID() != "slot-1" {
		t.Errorf("stored %v", stored)
	}
	expect(`default/a of default on "n1" in slot "slot-1"`)

	// A try that stores nothing takes nothing.
	if _, err := pods.Create(t.Context(), testPod("b"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Error(err)
	}
	if _, err := pods.Create(t.Context(), testPod("a"), metav1.CreateOptions{}); err == nil {
		t.Error("a name was taken twice")
	}
	expect()

	// A slot whose pod isn't stored is spoilt, and its room free.
	h.store.failWith(errors.New("etcd is away"))
	if _, err := pods.Create(t.Context(), testPod("c"), metav1.CreateOptions{}); err == nil {
		t.Error("created without a store")
	}
	h.store.failWith(nil)
	expect("spoilt slot-2")
	h.ledger.mu.Lock()
	if _, held := h.ledger.held["slot-2"]; held || len(h.ledger.held) != 1 {
		t.Errorf("held: %v", h.ledger.held)
	}
	h.ledger.mu.Unlock()

	// Another template's pod, another tenant's, and one that names its node don't take it.
	offer("slot-3")
	other := testPod("d")
	other.Spec.Containers[0].Image = "example.com/app:2"
	named := testPod("e")
	named.Spec.NodeName = "n1"
	for _, p := range []*corev1.Pod{other, named} {
		if made, err := pods.Create(t.Context(), p, metav1.CreateOptions{}); err != nil || made.UID == "slot-3" {
			t.Errorf("%s: %v, %v", p.Name, made.UID, err)
		}
	}
	elsewhere := testPod("f")
	elsewhere.Namespace = "kube-system"
	if made, err := h.client().CoreV1().Pods("kube-system").Create(t.Context(), elsewhere, metav1.CreateOptions{}); err != nil || made.UID == "slot-3" {
		t.Errorf("another tenant's: %v, %v", made.UID, err)
	}
	expect(`default/d of default on "n1" in slot ""`, `kube-system/f of kube-system on "n1" in slot ""`)

	// One that has no room is told as well: it was expected.
	large := testPod("g")
	large.Spec.Containers[0].Resources.Limits["cpu"] = *large.Spec.Containers[0].Resources.Limits.Memory()
	large.Spec.Containers[0].Resources.Requests = nil
	if _, err := pods.Create(t.Context(), large, metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
	expect(`default/g of default on "" in slot ""`)
}

// TestKnownSpecsTakeSlots: a spec whose bytes came before isn't decoded again, and is of the same workload.
func TestKnownSpecsTakeSlots(t *testing.T) {
	h := start(t, func(c *Config) {
		c.Slots = &slotBook{}
		c.Admission.ValidateMeta = func(*corev1.Pod) field.ErrorList { return nil }
	})
	template := testPod("expected")
	testDefault(template)
	h.ledger.slots[controlplane.Workload{Namespace: "default", Template: controlplane.PodTemplate(template)}] = []string{"slot-1", "slot-2"}
	template.Annotations = map[string]string{v1alpha1.AnnotationQoS: v1alpha1.QoSBestEffort}
	h.ledger.slots[controlplane.Workload{Namespace: "default", Template: controlplane.PodTemplate(template)}] = []string{"slot-3"}
	cfg := h.rest()
	cfg.ContentType = mediaProtobuf
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		p := testPod(fmt.Sprint("p", i))
		want := types.UID(fmt.Sprint("slot-", i+1))
		if i == 2 {
			p.Annotations = template.Annotations
		}
		if made, err := client.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{}); err != nil || made.UID != want {
			t.Errorf("got %v, %v; want %s", made.UID, err, want)
		}
	}
}

func TestPodsWithoutSlotsKeepTheirUID(t *testing.T) {
	h := start(t)
	made, err := h.client().CoreV1().Pods("default").Create(t.Context(), testPod("a"), metav1.CreateOptions{})
	if err != nil || made.UID == "" {
		t.Fatal(err)
	}
	if _, held := h.ledger.held[string(made.UID)]; !held {
		t.Error("room is held by another name")
	}
}
