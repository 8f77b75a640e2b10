package podcgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/cgroups"
	"swell.dev/swell/nodelet"
)

type errNeedsRoot struct{}

func (errNeedsRoot) Error() string { return "control groups are made by root: run the tests as root" }

// testTree makes a tree in the host's hierarchy, of either version, which the test's end removes.
func testTree(t *testing.T) (*Tree, *cgroups.Hierarchy) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip(errNeedsRoot{})
	}
	h, err := cgroups.Detect()
	var missing *cgroups.MissingError
	if errors.As(err, &missing) {
		t.Skip(err)
	}
	must(t, err)
	tree, err := New(h, fmt.Sprintf("/swell-test-pods-%d", os.Getpid()), MemoryQoS{})
	must(t, err)
	t.Cleanup(func() { must(t, tree.RemoveAll()) })
	return tree, h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start does what the runtime does: the container's cgroup with its limits, and a process in it that holds
// memory.
func start(t *testing.T, tree *Tree, h *cgroups.Hierarchy, uid, name string, r corev1.ResourceRequirements, hold int) *exec.Cmd {
	t.Helper()
	g := h.Group(tree.ContainerPath(uid, name))
	must(t, g.Create())
	l := limits(r)
	must(t, g.SetMemory(t.Context(), l.Memory))
	must(t, g.SetCPU(l.Shares, l.Quota))
	return startIn(t, g, hold)
}

func wantKernel(t *testing.T, h *cgroups.Hierarchy, path string, want cgroups.Limits) {
	t.Helper()
	got, err := h.Group(path).Read()
	must(t, err)
	if h.Version() == 2 {
		got.Shares, want.Shares = cgroups.WeightOf(got.Shares), cgroups.WeightOf(want.Shares)
	}
	if got != want {
		t.Errorf("%s: %+v, want %+v", path, got, want)
	}
}

// wantActual compares limits; a request is as exact as the kernel's weight.
func wantActual(t *testing.T, got nodelet.Actual, want map[string]corev1.ResourceRequirements) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for name, w := range want {
		g := got[name]
		if g.Limits.Cpu().Cmp(*w.Limits.Cpu()) != 0 || g.Limits.Memory().Cmp(*w.Limits.Memory()) != 0 {
			t.Errorf("%s: %v, want %v", name, g, w)
		}
		weight := func(r corev1.ResourceRequirements) uint64 {
			return cgroups.WeightOf(cgroups.SharesOf(r.Requests.Cpu().MilliValue()))
		}
		if weight(g) != weight(w) {
			t.Errorf("%s: requests %v, want %v", name, g.Requests, w.Requests)
		}
	}
}

func TestNewWantsAParent(t *testing.T) {
	for _, parent := range []string{"", "/", "//"} {
		if _, err := New(nil, parent, MemoryQoS{}); err == nil {
			t.Errorf("%q was taken", parent)
		}
	}
}

func TestPodIsMadeListedAndRemoved(t *testing.T) {
	tree, h := testTree(t)
	sizes := map[string]corev1.ResourceRequirements{"a": resources("250m", "500m", "", "64Mi"), "b": resources("500m", "1", "", "32Mi")}
	for _, uid := range []string{"1-2-3", "4-5-6"} {
		must(t, tree.EnsurePod(uid, nodelet.PodSize{Containers: sizes}))
		must(t, tree.EnsurePod(uid, nodelet.PodSize{Containers: sizes})) // again
	}
	must(t, h.Group(tree.parent.Path()).Child("other").Create()) // isn't a pod's
	uids, err := tree.List()
	must(t, err)
	if slices.Sort(uids); !slices.Equal(uids, []string{"1-2-3", "4-5-6"}) {
		t.Errorf("listed: %v", uids)
	}
	wantKernel(t, h, tree.parent.Path()+"/pod1-2-3", cgroups.Limits{Shares: 768, Quota: 150_000, Memory: 96 * mib})
	if got, want := tree.ContainerPath("1-2-3", "a"), tree.parent.Path()+"/pod1-2-3/a"; got != want {
		t.Errorf("container's path: %s, want %s", got, want)
	}

	cmd := start(t, tree, h, "1-2-3", "a", sizes["a"], 1)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	must(t, tree.RemovePod("1-2-3"))
	<-ended
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("its process ended with %v", cmd.ProcessState)
	}
	must(t, tree.RemovePod("1-2-3")) // again
	if uids, err := tree.List(); err != nil || !slices.Equal(uids, []string{"4-5-6"}) {
		t.Errorf("listed: %v, %v", uids, err)
	}
	must(t, tree.RemoveAll())
	if uids, err := tree.List(); err != nil || len(uids) != 0 {
		t.Errorf("listed after all were removed: %v, %v", uids, err)
	}
	if tree.parent.Exists() {
		t.Error("the parent is left")
	}
}

func TestResizeAndReadBack(t *testing.T) {
	tree, h := testTree(t)
	sizes := map[string]corev1.ResourceRequirements{"a": resources("250m", "500m", "", "64Mi"), "b": resources("500m", "1", "", "32Mi")}
	must(t, tree.EnsurePod("u", nodelet.PodSize{Containers: sizes}))
	a := start(t, tree, h, "u", "a", sizes["a"], 1)
	start(t, tree, h, "u", "b", sizes["b"], 1)
	for _, next := range []map[string]corev1.ResourceRequirements{
		{"a": resources("1", "2", "", "256Mi"), "b": resources("2", "4", "", "128Mi")},        // both grow
		{"a": resources("100m", "200m", "", "32Mi"), "b": resources("3", "6", "", "512Mi")},   // one gives
		{"a": resources("3", "6", "", "512Mi"), "b": resources("100m", "200m", "", "32Mi")},   // and gets it back
		{"a": resources("10m", "10m", "", "16Mi"), "b": resources("100m", "200m", "", "8Mi")}, // both shrink
		{"a": resources("1", "2", "", "16Mi"), "b": resources("100m", "200m", "", "8Mi"), "c": resources("1", "2", "", "8Mi")},
	} {
		got, err := tree.Resize(t.Context(), "u", nodelet.PodSize{Containers: next})
		must(t, err)
		running := map[string]corev1.ResourceRequirements{"a": next["a"], "b": next["b"]} // c isn't
		wantActual(t, got, running)
		wantKernel(t, h, tree.pod("u").Path(), podLimits(nodelet.PodSize{Containers: next}))
		for name, r := range running {
			wantKernel(t, h, tree.ContainerPath("u", name), limits(r))
		}
		read, err := tree.Read("u", []string{"a", "b", "c"})
		must(t, err)
		wantActual(t, read, running)
	}
	usage, err := tree.Usage("u", []string{"a", "c"})
	must(t, err)
	if u := usage["a"]; len(usage) != 1 || u.CPU <= 0 || u.Memory < mib || u.OOMKills != 0 || u.MeasuredAt.IsZero() {
		t.Errorf("usage: %+v", usage)
	}
	if err := a.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the container's process: %v", err)
	}
	if _, err := tree.Resize(t.Context(), "none", nodelet.PodSize{Containers: sizes}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("resize of a pod that doesn't exist: %v", err)
	}
}

func TestMemoryInUseChangesNothing(t *testing.T) {
	tree, h := testTree(t)
	sizes := map[string]corev1.ResourceRequirements{"a": resources("250m", "500m", "", "128Mi"), "b": resources("500m", "1", "", "32Mi")}
	must(t, tree.EnsurePod("u", nodelet.PodSize{Containers: sizes}))
	a := start(t, tree, h, "u", "a", sizes["a"], 48)
	start(t, tree, h, "u", "b", sizes["b"], 1)
	_, err := tree.Resize(t.Context(), "u", nodelet.PodSize{Containers: map[string]corev1.ResourceRequirements{
		"a": resources("1", "2", "", "24Mi"), "b": resources("2", "4", "", "256Mi"),
	}})
	if !errors.Is(err, nodelet.ErrMemoryInUse) {
		t.Fatalf("got %v", err)
	}
	wantKernel(t, h, tree.pod("u").Path(), podLimits(nodelet.PodSize{Containers: sizes}))
	wantKernel(t, h, tree.ContainerPath("u", "a"), limits(sizes["a"]))
	wantKernel(t, h, tree.ContainerPath("u", "b"), limits(sizes["b"]))

	// A nodelet was killed after it had grown the pod and before it noted that: the next one ensures the
	// size that it knows of, which must not keep it from going on to the one that was asked for.
	small := map[string]corev1.ResourceRequirements{"a": resources("250m", "500m", "", "24Mi"), "b": sizes["b"]}
	if err := tree.EnsurePod("u", nodelet.PodSize{Containers: small}); !errors.Is(err, nodelet.ErrMemoryInUse) {
		t.Fatalf("got %v", err)
	}
	wantKernel(t, h, tree.ContainerPath("u", "a"), limits(sizes["a"]))
	wantKernel(t, h, tree.pod("u").Path(), podLimits(nodelet.PodSize{Containers: sizes}))
	got, err := tree.Resize(t.Context(), "u", nodelet.PodSize{Containers: sizes})
	must(t, err)
	wantActual(t, got, sizes)
	usage, err := tree.Usage("u", []string{"a", "b"})
	must(t, err)
	if usage["a"].OOMKills != 0 || usage["a"].Memory < 48*mib {
		t.Errorf("usage: %+v", usage["a"])
	}

	// Or the size that was asked for is taken back: the pod comes down to what it is known to have.
	must(t, a.Process.Kill())
	_ = a.Wait()
	got, err = tree.Resize(t.Context(), "u", nodelet.PodSize{Containers: small})
	must(t, err)
	wantActual(t, got, small)
	wantKernel(t, h, tree.pod("u").Path(), podLimits(nodelet.PodSize{Containers: small}))
}

// Containers end while their pod is resized; the resize is of those that are left.
func TestResizeWhileContainersEnd(t *testing.T) {
	tree, h := testTree(t)
	sizes := map[string]corev1.ResourceRequirements{"a": resources("250m", "500m", "", "64Mi"), "b": resources("250m", "500m", "", "64Mi")}
	must(t, tree.EnsurePod("u", nodelet.PodSize{Containers: sizes}))
	start(t, tree, h, "u", "a", sizes["a"], 1)
	b := h.Group(tree.ContainerPath("u", "b"))
	for i := range 50 {
		must(t, b.Create())
		gone := make(chan error, 1)
		go func() { gone <- b.Delete(t.Context()) }()
		next := map[string]corev1.ResourceRequirements{"a": resources("1", fmt.Sprint(1+i%3), "", "64Mi"), "b": resources("1", fmt.Sprint(1+i%2), "", "64Mi")}
		if _, err := tree.Resize(t.Context(), "u", nodelet.PodSize{Containers: next}); err != nil {
			t.Fatalf("resize %d: %v", i, err)
		}
		must(t, <-gone)
		wantKernel(t, h, tree.pod("u").Path(), podLimits(nodelet.PodSize{Containers: next}))
		wantKernel(t, h, tree.ContainerPath("u", "a"), limits(next["a"]))
	}
}
