// Package vpa runs the Vertical Pod Autoscaler's in-place updates, as they are, against Swell.
package vpa

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/admission-controller/resource/pod/patch"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/admission-controller/resource/pod/recommendation"
	vpav1 "k8s.io/autoscaler/vertical-pod-autoscaler/pkg/apis/autoscaling.k8s.io/v1"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/updater/inplace"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/updater/restriction"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/updater/utils"
	"k8s.io/autoscaler/vertical-pod-autoscaler/pkg/utils/limitrange"
	vpautil "k8s.io/autoscaler/vertical-pod-autoscaler/pkg/utils/vpa"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	"swell.dev/swell/internal/instance"
	"swell.dev/swell/internal/kernel"
	"swell.dev/swell/internal/ociimage"
)

const (
	patience = 90 * time.Second
	busybox  = "docker.io/library/busybox:vpa"
	ns       = metav1.NamespaceDefault
)

// start runs `swell up` on a node of 2 CPUs and 2 GiB with an image to run.
func start(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("containers are made by root: run the tests as root")
	}
	bin, err := filepath.Abs("../../bin/swell")
	if err != nil {
		t.Fatal(err)
	}
	in, err := instance.New(instance.Config{Binary: bin, DataDir: filepath.Join(t.TempDir(), "data"), Args: []string{"--capacity", "cpu=2,memory=2Gi"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := in.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := in.Start(ctx); err != nil {
		t.Fatal(err)
	}
	img, err := ociimage.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "busybox.tar")
	if err := ociimage.WriteArchive(archive, busybox, img); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, bin, "image", "import", archive)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+in.Kubeconfig())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("image import: %v\n%s", err, out)
	}
	client, err := in.Client()
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func list(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

// await looks at the pod until it is as wanted.
func await(t *testing.T, c *kubernetes.Clientset, name, what string, wanted func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	w, err := c.CoreV1().Pods(ns).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	late := time.After(patience)
	var last *corev1.Pod
	for {
		select {
		case ev := <-w.ResultChan():
			if pod, ok := ev.Object.(*corev1.Pod); ok {
				if last = pod; wanted(pod) {
					return pod
				}
			}
		case <-late:
			t.Fatalf("pod %s isn't %s: %+v", name, what, last)
		}
	}
}

func create(t *testing.T, c *kubernetes.Clientset, name, cpu, memory string) *corev1.Pod {
	t.Helper()
	owner, grace := true, int64(1)
	pod := &corev1.Pod{
		// The group that disruption is counted for. A job is one that has no object to be looked up.
		ObjectMeta: metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "work", UID: "1", Controller: &owner}}},
		Spec: corev1.PodSpec{TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{{
			Name: "main", Image: busybox, Command: []string{"sleep", "100000"},
			Resources: corev1.ResourceRequirements{Requests: list(cpu, memory), Limits: list(cpu, memory)},
		}}},
	}
	if _, err := c.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return await(t, c, name, "running", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
}

// autoscaler is the updater's part that resizes pods in place, with what it asks of the cluster.
type autoscaler struct {
	t        *testing.T
	c        *kubernetes.Clientset
	factory  restriction.PodsRestrictionFactory
	recorder *record.FakeRecorder
}

func newAutoscaler(t *testing.T, c *kubernetes.Clientset) *autoscaler {
	t.Helper()
	f := informers.NewSharedInformerFactory(c, 0)
	limits, err := limitrange.NewLimitsRangeCalculator(f) // reads limit ranges from Swell
	if err != nil {
		t.Fatal(err)
	}
	provider := recommendation.NewProvider(limits, vpautil.NewCappingRecommendationProcessor(limits))
	calculators := []patch.Calculator{inplace.NewResourceInPlaceUpdatesCalculator(provider), inplace.NewInPlaceUpdatedCalculator()}
	return &autoscaler{t, c, restriction.NewPodsRestrictionFactory(c, f, 1, 0.5, calculators, false), record.NewFakeRecorder(16)}
}

// decide is what a round of the updater decides of a pod with that recommendation.
func (a *autoscaler) decide(name, cpu, memory string) (restriction.PodsInPlaceRestriction, *corev1.Pod, *vpav1.VerticalPodAutoscaler, utils.InPlaceDecision) {
	a.t.Helper()
	pods, err := a.c.CoreV1().Pods(ns).List(a.t.Context(), metav1.ListOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	mode := vpav1.UpdateModeInPlaceOrRecreate
	vpa := &vpav1.VerticalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "work", Namespace: ns},
		Spec:       vpav1.VerticalPodAutoscalerSpec{UpdatePolicy: &vpav1.PodUpdatePolicy{UpdateMode: &mode}},
		Status: vpav1.VerticalPodAutoscalerStatus{Recommendation: &vpav1.RecommendedPodResources{ContainerRecommendations: []vpav1.RecommendedContainerResources{
			{ContainerName: "main", Target: list(cpu, memory)},
		}}},
	}
	var all []*corev1.Pod
	var pod *corev1.Pod
	for i := range pods.Items {
		all = append(all, &pods.Items[i])
		if pods.Items[i].Name == name {
			pod = &pods.Items[i]
		}
	}
	groups, owners, err := a.factory.GetCreatorMaps(all, vpa)
	if err != nil {
		a.t.Fatal(err)
	}
	r := a.factory.NewPodsInPlaceRestriction(groups, owners)
	return r, pod, vpa, r.CanInPlaceUpdate(pod, vpa, map[types.UID]*vpav1.RecommendedPodResources{})
}

func has(p *corev1.Pod, cpu, memory string) bool {
	r, want := p.Status.ContainerStatuses[0].Resources, list(cpu, memory)
	if r == nil || p.Status.ContainerStatuses[0].State.Running == nil {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodResizePending || c.Type == corev1.PodResizeInProgress {
			return false
		}
	}
	return r.Requests.Cpu().Cmp(*want.Cpu()) == 0 && r.Limits.Cpu().Cmp(*want.Cpu()) == 0 && r.Limits.Memory().Cmp(*want.Memory()) == 0
}

// TestInPlace: what the autoscaler patches is resized in place; what the node has no room for it sees as deferred, and
// as done once there is room; what no node holds it is told at once.
func TestInPlace(t *testing.T) {
	c := start(t)
	a := newAutoscaler(t, c)
	before := create(t, c, "work", "100m", "64Mi")

	r, pod, vpa, decision := a.decide("work", "250m", "96Mi")
	if decision != utils.InPlaceApproved {
		t.Fatalf("a pod that runs: %s", decision)
	}
	if err := r.InPlaceUpdate(pod, vpa, a.recorder); err != nil {
		t.Fatal(err)
	}
	pod = await(t, c, "work", "resized", func(p *corev1.Pod) bool {
		return has(p, "250m", "96Mi") && p.Annotations["vpaInPlaceUpdated"] == "true"
	})
	k, err := kernel.Find(string(pod.UID), "main")
	if err != nil {
		t.Fatal(err)
	}
	if cpu, memory, err := k.Limits(); err != nil || cpu != 250 || memory != 96<<20 {
		t.Errorf("the kernel has %dm and %d bytes, %v", cpu, memory, err)
	}

	create(t, c, "neighbour", "1500m", "64Mi")
	r, pod, vpa, decision = a.decide("work", "1", "128Mi")
	if decision != utils.InPlaceApproved {
		t.Fatalf("a pod that was resized: %s", decision)
	}
	if err := r.InPlaceUpdate(pod, vpa, a.recorder); err != nil {
		t.Fatal(err)
	}
	if _, _, _, decision = a.decide("work", "1", "128Mi"); decision != utils.InPlaceDeferred {
		t.Errorf("where the node is full: %s", decision)
	}
	zero := int64(0)
	if err := c.CoreV1().Pods(ns).Delete(t.Context(), "neighbour", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
		t.Fatal(err)
	}
	pod = await(t, c, "work", "resized when there is room", func(p *corev1.Pod) bool { return has(p, "1", "128Mi") })
	if r, pod, vpa, decision = a.decide("work", "64", "128Mi"); decision != utils.InPlaceApproved {
		t.Errorf("a resize that is over: %s", decision)
	}
	if err := r.InPlaceUpdate(pod, vpa, a.recorder); err == nil {
		t.Error("more than any node has was taken")
	}
	was, is := before.Status.ContainerStatuses[0], pod.Status.ContainerStatuses[0]
	if was.ContainerID != is.ContainerID || is.RestartCount != 0 {
		t.Errorf("the container was %s and is %s, %d restarts", was.ContainerID, is.ContainerID, is.RestartCount)
	}
}
