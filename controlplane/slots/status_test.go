package slots

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// TestStatusFollows: a policy's status tells of a change within about a second, and of forecasts now and then.
func TestStatusFollows(t *testing.T) {
	run(t, 100, func(b *bench) {
		status := func() v1alpha1.SlotPolicyStatus {
			o, _ := b.store.Get(controlplane.Key{Resource: policiesResource, Namespace: "shop", Name: "p"})
			return o.(*v1alpha1.SlotPolicy).Status
		}
		b.store.set(controlplane.Added, fixed(3))
		b.seconds(1)
		if got := status().Slots; got.Wanted != 3 || got.Capacity != 3 {
			t.Errorf("a second after the policy came: %+v", got)
		}
		for _, uid := range b.fleet.slots() {
			b.Reported(uid, controlplane.SlotContainer, "")
		}
		b.seconds(1)
		if got := status().Slots; got.Container != 3 {
			t.Errorf("a second after slots got ready: %+v", got)
		}
		next := fixed(5)
		next.Generation = 2
		next.Status = status()
		b.store.set(controlplane.Modified, next)
		b.seconds(1)
		if got := status().Slots; got.Wanted != 5 {
			t.Errorf("a second after the policy changed: %+v", got)
		}

		pod := podOf("shop", "cart")
		pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
		for range 5 {
			b.Created(pod, keyOf(pod), controlplane.Placement{Node: "n1"})
		}
		b.seconds(2)
		written := b.store.statuses()
		b.seconds(60) // the forecast decays
		if n := b.store.statuses() - written; n < 2 || n > 13 {
			t.Errorf("%d statuses in a minute in which nothing but the forecast changed", n)
		}
	})
}

// TestManySlotsHoldNobodyUp: where placing a slot takes long, others' slots and statuses don't wait for a policy
// that wants thousands.
func TestManySlotsHoldNobodyUp(t *testing.T) {
	run(t, 10_000, func(b *bench) {
		b.fleet.onAdd = func(string) { time.Sleep(20 * time.Millisecond) } // fake
		b.store.set(controlplane.Added, fixed(2000))
		b.seconds(3)
		small := fixed(4)
		small.Name, small.UID = "a", "small"
		small.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "small"}}
		small.Spec.Template.Labels = map[string]string{"app": "small"}
		small.Spec.Template.Spec.Containers[0].Image = "small"
		begun := time.Now()
		b.store.set(controlplane.Added, small)
		b.seconds(3)
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("a policy was heard of and followed after %s", took)
		}
		for name, want := range map[string]int32{"a": 4, "p": 75} {
			o, _ := b.store.Get(controlplane.Key{Resource: policiesResource, Namespace: "shop", Name: name})
			if got := o.(*v1alpha1.SlotPolicy).Status.Slots; got.Capacity < want {
				t.Errorf("policy %s: %+v, want at least %d there", name, got, want)
			}
		}
	})
}
