package podcgroup

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/cgroups"
	"swell.dev/swell/nodelet"
)

func cpu(milli int64) corev1.ResourceRequirements {
	list := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(milli, resource.DecimalSI),
		corev1.ResourceMemory: resource.MustParse("64Mi"),
	}
	return corev1.ResourceRequirements{Requests: list, Limits: list}
}

// wantQuotas compares what the kernel holds of a pod and its containers a and b.
func wantQuotas(t *testing.T, tree *Tree, uid, what string, pod, a, b int64) {
	t.Helper()
	for name, want := range map[string]int64{"": pod, "a": a, "b": b} {
		l, err := tree.pod(uid).Child(name).Read()
		must(t, err)
		if got := cgroups.MilliOfQuota(l.Quota); l.Quota == cgroups.Unlimited || got != want {
			t.Errorf("%s: container %q has %dm, want %dm", what, name, got, want)
		}
	}
}

// wantShares compares weights. The pod's are those of its burst too, its containers' are those of their sizes.
func wantShares(t *testing.T, tree *Tree, uid, what string, pod, a, b int64) {
	t.Helper()
	for name, milli := range map[string]int64{"": pod, "a": a, "b": b} {
		l, err := tree.pod(uid).Child(name).Read()
		must(t, err)
		got, want := l.Shares, cgroups.SharesOf(milli)
		if tree.version == 2 {
			got, want = cgroups.WeightOf(got), cgroups.WeightOf(want)
		}
		// A sum of shares is rounded at each part.
		if got != want && got+1 != want {
			t.Errorf("%s: container %q has a weight of %d, want that of %dm, %d", what, name, got, milli, want)
		}
	}
}

func burst(t *testing.T, tree *Tree, uid string, extra int64) {
	t.Helper()
	if done, err := tree.SetBurst(uid, extra); err != nil || !done {
		t.Fatalf("a burst of %dm: %v, %v", extra, done, err)
	}
}

func TestBurst(t *testing.T) {
	tree, h := testTree(t)
	const uid = "burst"
	sizes := map[string]corev1.ResourceRequirements{"a": cpu(100), "b": cpu(200)}
	must(t, tree.EnsurePod(uid, nodelet.PodSize{Containers: sizes}))
	start(t, tree, h, uid, "a", sizes["a"], 1)
	start(t, tree, h, uid, "b", sizes["b"], 1)
	burst(t, tree, uid, 1500)
	wantQuotas(t, tree, uid, "bursting", 1800, 1600, 1700)
	wantShares(t, tree, uid, "bursting", 1800, 100, 200)
	burst(t, tree, uid, 500)
	wantQuotas(t, tree, uid, "bursting less", 800, 600, 700)
	wantShares(t, tree, uid, "bursting less", 800, 100, 200)

	// A resize changes the size below the burst, and neither it nor a reading shows it.
	sizes = map[string]corev1.ResourceRequirements{"a": cpu(50), "b": cpu(400)}
	actual, err := tree.Resize(t.Context(), uid, nodelet.PodSize{Containers: sizes})
	must(t, err)
	wantQuotas(t, tree, uid, "resized meanwhile", 950, 550, 900)
	wantShares(t, tree, uid, "resized meanwhile", 950, 50, 400)
	for name, r := range sizes {
		if got := actual[name]; got.Limits.Cpu().Cmp(*r.Limits.Cpu()) != 0 {
			t.Errorf("%s is said to have %s, its size is %s", name, got.Limits.Cpu(), r.Limits.Cpu())
		}
	}
	burst(t, tree, uid, 0)
	wantQuotas(t, tree, uid, "at rest", 450, 50, 400)
	wantShares(t, tree, uid, "at rest", 450, 50, 400)
	rests, err := tree.Read(uid, []string{"a", "b"})
	must(t, err)
	if !equality.Semantic.DeepEqual(rests, actual) {
		t.Errorf("bursting it was said to have %v, at rest %v", actual, rests)
	}
}

// TestBurstOfAContainerThatRestarts: files of a container that was made anew are other ones.
func TestBurstOfAContainerThatRestarts(t *testing.T) {
	tree, h := testTree(t)
	const uid = "restarts"
	sizes := map[string]corev1.ResourceRequirements{"a": cpu(100), "b": cpu(200)}
	must(t, tree.EnsurePod(uid, nodelet.PodSize{Containers: sizes}))
	start(t, tree, h, uid, "b", sizes["b"], 1)
	a := start(t, tree, h, uid, "a", sizes["a"], 1)
	burst(t, tree, uid, 1000)
	must(t, a.Process.Kill())
	_ = a.Wait()
	must(t, h.Group(tree.ContainerPath(uid, "a")).Delete(t.Context()))
	start(t, tree, h, uid, "a", sizes["a"], 1)
	actual, err := tree.Read(uid, []string{"a", "b"})
	must(t, err)
	for name, want := range map[string]int64{"a": 100, "b": 200} {
		if limits := actual[name].Limits; limits.Cpu().MilliValue() != want {
			t.Errorf("%s is said to have %s, its size is %dm", name, limits.Cpu(), want)
		}
	}
	tick := time.NewTicker(10 * time.Millisecond) // the kernel counts the removed one for a while
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		done, err := tree.SetBurst(uid, 700)
		must(t, err)
		if done {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a burst isn't lowered after a container was made anew")
		}
	}
	wantQuotas(t, tree, uid, "with a new container", 1000, 800, 900)
	burst(t, tree, uid, 0)
	wantQuotas(t, tree, uid, "at rest", 300, 100, 200)
}

// TestLeftBurst: what a nodelet that was killed left is lowered by the one that finds the pod.
func TestLeftBurst(t *testing.T) {
	tree, h := testTree(t)
	const uid = "left"
	sizes := map[string]corev1.ResourceRequirements{"a": cpu(100), "b": cpu(200)}
	must(t, tree.EnsurePod(uid, nodelet.PodSize{Containers: sizes}))
	start(t, tree, h, uid, "a", sizes["a"], 1)
	start(t, tree, h, uid, "b", sizes["b"], 1)
	burst(t, tree, uid, 2000)
	again, err := New(h, tree.parent.Path(), MemoryQoS{})
	must(t, err)
	must(t, again.EnsurePod(uid, nodelet.PodSize{Containers: sizes}))
	wantQuotas(t, again, uid, "found again", 300, 100, 200)
	wantShares(t, again, uid, "found again", 300, 100, 200)
}

// TestBurstOfWhatHasNoLimit: there is nothing to raise.
func TestBurstOfWhatHasNoLimit(t *testing.T) {
	tree, h := testTree(t)
	const uid = "unlimited"
	r := cpu(100)
	r.Limits = nil
	must(t, tree.EnsurePod(uid, nodelet.PodSize{Containers: map[string]corev1.ResourceRequirements{"a": r}}))
	start(t, tree, h, uid, "a", r, 1)
	if done, err := tree.SetBurst(uid, 1000); done || err != nil {
		t.Errorf("%v, %v", done, err)
	}
	if done, err := tree.SetBurst("nobody", 1000); done || err != nil {
		t.Errorf("a pod that isn't there: %v, %v", done, err)
	}
}

func BenchmarkSetBurst(b *testing.B) {
	h, err := cgroups.Detect()
	if err != nil {
		b.Skip(err)
	}
	tree, err := New(h, "/swell-bench-pods", MemoryQoS{})
	if err != nil {
		b.Fatal(err)
	}
	defer tree.RemoveAll() //nolint:errcheck // of a benchmark
	if err := tree.EnsurePod("p", nodelet.PodSize{Containers: map[string]corev1.ResourceRequirements{"a": cpu(100)}}); err != nil {
		b.Fatal(err)
	}
	if err := h.Group(tree.ContainerPath("p", "a")).Create(); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		if done, err := tree.SetBurst("p", 1000+int64(i%2)*500); !done || err != nil {
			b.Fatal(done, err)
		}
	}
}
