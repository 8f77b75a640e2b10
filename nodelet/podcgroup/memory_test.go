package podcgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/cgroups"
	"swell.dev/swell/nodelet"
)

// wantMemories compares the kernel's limits of a pod and its containers a and b, in MiB.
func wantMemories(t *testing.T, tree *Tree, uid, what string, pod, a, b int64) {
	t.Helper()
	for name, want := range map[string]int64{"": pod, "a": a, "b": b} {
		l, err := tree.pod(uid).Child(name).Read()
		must(t, err)
		if l.Memory != want*mib {
			t.Errorf("%s: container %q has %d MiB, want %d", what, name, l.Memory/mib, want)
		}
	}
}

func sized(milli, mebibytes int64) corev1.ResourceRequirements {
	r := cpu(milli)
	r.Limits[corev1.ResourceMemory] = *resource.NewQuantity(mebibytes*mib, resource.BinarySI)
	return r
}

func TestMemoryBurst(t *testing.T) {
	tree, h := testTree(t)
	const uid, room = "memory", 4 * mib
	sizes := map[string]corev1.ResourceRequirements{"a": sized(100, 64), "b": sized(100, 32)}
	must(t, tree.EnsurePod(uid, nodelet.PodSize{Containers: sizes}))
	start(t, tree, h, uid, "b", sizes["b"], 1)
	if size, extra, err := tree.Memory(uid); size != 96*mib || extra != 0 || err != nil {
		t.Errorf("%d, %d, %v", size, extra, err)
	}
	must(t, tree.SetMemoryBurst(uid, 64*mib, room))
	a := start(t, tree, h, uid, "a", sizes["a"], 1) // at its size, as a runtime makes it
	must(t, tree.SetMemoryBurst(uid, 64*mib, room))
	wantMemories(t, tree, uid, "bursting", 160, 128, 96)
	alarms, err := tree.MemoryAlarms(uid, room)
	must(t, err)
	if want := map[int]int{1: 3, 2: 1}[h.Version()]; len(alarms) != want {
		t.Errorf("%d alarms, want %d", len(alarms), want)
	}
	for _, alarm := range alarms {
		must(t, alarm.Close())
	}
	if free, err := tree.MemoryFree(uid); err != nil || free > 96*mib || free < 60*mib {
		t.Errorf("%d MiB are free, %v", free/mib, err)
	}

	// A resize changes the size below the burst, and neither it nor a reading shows it.
	sizes = map[string]corev1.ResourceRequirements{"a": sized(100, 48), "b": sized(100, 64)}
	actual, err := tree.Resize(t.Context(), uid, nodelet.PodSize{Containers: sizes})
	must(t, err)
	wantMemories(t, tree, uid, "resized meanwhile", 176, 112, 128)
	for name, r := range sizes {
		if got := actual[name].Limits; got.Memory().Cmp(*r.Limits.Memory()) != 0 {
			t.Errorf("%s is said to have %s, its size is %s", name, got.Memory(), r.Limits.Memory())
		}
	}

	// What is in use stays, with the nodelet that set it and with the next one, which finds it.
	must(t, a.Process.Kill())
	_ = a.Wait()
	a = start(t, tree, h, uid, "a", sizes["a"], 1)
	must(t, tree.SetMemoryBurst(uid, 64*mib, room))
	_ = a.Process.Kill()
	_ = a.Wait()
	g := h.Group(tree.ContainerPath(uid, "a"))
	must(t, g.SetMemory(t.Context(), 112*mib))
	holder := startIn(t, g, 80)
	burst(t, tree, uid, 500)
	if err := tree.SetMemoryBurst(uid, 0, 0); !errors.Is(err, nodelet.ErrMemoryInUse) {
		t.Errorf("less than is in use: %v", err)
	}
	wantMemories(t, tree, uid, "refused", 176, 112, 128)
	again, err := New(h, tree.parent.Path(), MemoryQoS{})
	must(t, err)
	if err := again.EnsurePod(uid, nodelet.PodSize{Containers: sizes}); !errors.Is(err, nodelet.ErrMemoryInUse) {
		t.Errorf("ensured with more in use: %v", err)
	}
	wantQuotas(t, again, uid, "found again", 200, 100, 100)
	if size, extra, err := again.Memory(uid); size != 112*mib || extra != 64*mib || err != nil {
		t.Errorf("found again: %d, %d, %v", size/mib, extra/mib, err)
	}
	must(t, holder.Process.Kill())
	_ = holder.Wait()
	must(t, again.SetMemoryBurst(uid, 0, 0))
	wantMemories(t, again, uid, "at rest", 112, 48, 64)
	if err := again.SetMemoryBurst("nobody", mib, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a pod that isn't there: %v", err)
	}
}

// TestLeftGuard: what waits at a limit that an earlier nodelet guarded isn't killed by the one that finds the pod, if that
// will look after it. Otherwise the limit is an ordinary one.
func TestLeftGuard(t *testing.T) {
	tree, h := testTree(t)
	const uid, room = "guarded", 4 * mib
	size := nodelet.PodSize{Containers: map[string]corev1.ResourceRequirements{"a": sized(1000, 64)}, Guarded: true}
	must(t, tree.EnsurePod(uid, size))
	a := h.Group(tree.ContainerPath(uid, "a"))
	must(t, a.Create())
	must(t, a.SetMemory(t.Context(), 64*mib))
	must(t, tree.SetMemoryBurst(uid, 32*mib, room))
	cmd, in, out := startSelf(t, a, "80", holdEnv+"="+plain)
	held := func() {
		t.Helper()
		if line, err := out.ReadString('\n'); line != "held\n" {
			t.Fatalf("the process didn't get its memory: %q, %v", line, err)
		}
	}
	held()
	_, err := fmt.Fprintln(in, 40)
	must(t, err)
	awaitGuard(t, h, tree.pod(uid), a)

	again, err := New(h, tree.parent.Path(), MemoryQoS{})
	must(t, err)
	if err := again.EnsurePod(uid, size); !errors.Is(err, nodelet.ErrMemoryInUse) {
		t.Errorf("ensured with more in use: %v", err)
	}
	if !guarded(t, h, a) {
		t.Error("the guard was lifted")
	}
	if _, extra, err := again.Memory(uid); extra != 32*mib || err != nil {
		t.Errorf("found again with %d, %v", extra, err)
	}
	must(t, again.SetMemoryBurst(uid, 96*mib, room))
	held()
	usage, err := again.Usage(uid, []string{"a"})
	must(t, err)
	if usage["a"].OOMKills != 0 || cmd.Process.Signal(syscall.Signal(0)) != nil {
		t.Errorf("killed: %+v", usage["a"])
	}

	// It may burst no more when a third one comes, and was to when that began.
	third, err := New(h, tree.parent.Path(), MemoryQoS{})
	must(t, err)
	if err := third.EnsurePod(uid, size); !errors.Is(err, nodelet.ErrMemoryInUse) {
		t.Errorf("ensured with more in use: %v", err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	size.Guarded = false
	_, err = third.Resize(t.Context(), uid, size)
	must(t, err)
	if guarded(t, h, a) || guarded(t, h, tree.pod(uid)) {
		t.Error("the guard is left")
	}
}

// guarded reports whether what needs more than the group's limit waits for it.
func guarded(t *testing.T, h *cgroups.Hierarchy, g *cgroups.Group) bool {
	t.Helper()
	if h.Version() == 2 {
		l, err := g.Read()
		must(t, err)
		return l.High != 0
	}
	b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup/memory", g.Path(), "memory.oom_control"))
	must(t, err)
	return strings.Contains(string(b), "oom_kill_disable 1\n")
}

// awaitGuard waits until something waits in the pod or its container.
func awaitGuard(t *testing.T, h *cgroups.Hierarchy, groups ...*cgroups.Group) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		for _, g := range groups {
			m, err := g.MemoryUse()
			must(t, err)
			l, err := g.Read()
			must(t, err)
			if m.Waits || h.Version() == 2 && m.Working > l.High {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing waits at the limit")
		}
	}
}
