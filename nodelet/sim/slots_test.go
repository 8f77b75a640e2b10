package sim_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/sim"
)

// memoryJournal notes who is metered.
type memoryJournal struct {
	nodelet.Journal
	mu      sync.Mutex // guards what follows
	metered []usagev1.Segment
}

func (j *memoryJournal) Start(s usagev1.Segment) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.metered = append(j.metered, s)
	return nil
}

func (j *memoryJournal) Stop(string, time.Time) error      { return nil }
func (j *memoryJournal) Burst(string, usagev1.Burst) error { return nil }
func (j *memoryJournal) Open() []usagev1.Segment           { return nil }

func (j *memoryJournal) started() (pods []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.metered {
		pods = append(pods, s.Pod)
	}
	return pods
}

// node is a nodelet on a simulated host that outlives it.
type node struct {
	t       *testing.T
	host    *sim.Host
	network sim.Network
	volumes sim.Volumes
	cgroups sim.Cgroups
	journal memoryJournal
	dir     string
	nodelet *nodelet.Nodelet
	runtime *sim.Runtime
}

func newNode(t *testing.T) *node {
	n := &node{t: t, dir: t.TempDir(), host: sim.NewHost(sim.Config{})}
	if _, err := n.host.Images().Pull(t.Context(), "busybox", nil); err != nil {
		t.Fatal(err)
	}
	n.start()
	t.Cleanup(n.stop)
	return n
}

func (n *node) start() {
	n.t.Helper()
	n.runtime = n.host.Runtime()
	var err error
	if n.nodelet, err = nodelet.New(nodelet.Config{
		NodeName: "node-1", HostIP: "192.0.2.1", DataDir: n.dir, Runtime: n.runtime, Images: n.host.Images(),
		Network: &n.network, Volumes: &n.volumes, Cgroups: &n.cgroups, Journal: &n.journal,
	}); err == nil {
		err = n.nodelet.Start(context.Background())
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) stop() {
	if err := n.nodelet.Close(); err != nil {
		n.t.Error(err)
	}
	if err := n.runtime.Close(); err != nil {
		n.t.Error(err)
	}
}

// until waits for what the nodelet says.
func (n *node) until(what string, holds func() bool) {
	n.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !holds() {
		select {
		case <-n.nodelet.Changed():
		case <-limit.C:
			n.t.Fatalf("still not so: %s", what)
		}
	}
}

func (n *node) depth(uid string, want nodelet.SlotDepth) {
	n.t.Helper()
	n.until(uid+" is at depth "+want.String(), func() bool {
		return slices.ContainsFunc(n.nodelet.Slots(), func(r nodelet.SlotReport) bool { return r.UID == uid && r.Depth == want })
	})
}

func (n *node) phase(name string, want corev1.PodPhase) {
	n.t.Helper()
	n.until(name+" is "+string(want), func() bool {
		return slices.ContainsFunc(n.nodelet.Reports(), func(r nodelet.Report) bool { return r.Name == name && r.Status.Phase == want })
	})
}

// left is all that is on the host.
func (n *node) left() (parts []string) {
	n.t.Helper()
	containers, err := n.runtime.List(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	for _, c := range containers {
		parts = append(parts, "container "+c.ID)
	}
	networks, _ := n.network.List(n.t.Context())
	volumes, _ := n.volumes.List(n.t.Context())
	groups, _ := n.cgroups.List()
	parts = append(parts, slices.Concat(networks, volumes, groups)...)
	for _, dir := range []string{"pods", "logs"} {
		entries, err := os.ReadDir(filepath.Join(n.dir, dir))
		if err != nil && !os.IsNotExist(err) {
			n.t.Fatal(err)
		}
		for _, e := range entries {
			parts = append(parts, e.Name())
		}
	}
	return parts
}

func template(uid, name string) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name, pod.UID = "shop", name, types.UID(uid)
	size := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("1Gi")}
	pod.Spec.Containers = []corev1.Container{{
		Name: "c", Image: "busybox", Command: []string{"serve"}, ImagePullPolicy: corev1.PullIfNotPresent,
		Resources: corev1.ResourceRequirements{Requests: size, Limits: size},
	}}
	pod.Spec.Volumes = []corev1.Volume{{Name: "v"}}
	pod.Spec.Volumes[0].EmptyDir = &corev1.EmptyDirVolumeSource{}
	return pod
}

// TestSlotOfANodelet: a slot is made ready, told of and taken; metering begins with its pod.
func TestSlotOfANodelet(t *testing.T) {
	n := newNode(t)
	n.nodelet.Assign(nodelet.Assignment{Pod: template("u1", "slot-1"), Slot: nodelet.SlotContainer})
	n.depth("u1", nodelet.SlotContainer)
	if reports, metered := n.nodelet.Reports(), n.journal.started(); len(reports) > 0 || len(metered) > 0 {
		t.Errorf("a slot is reported as %v, and metered as %v", reports, metered)
	}
	pod := template("u1", "web-1")
	pod.Labels = map[string]string{"app": "web"}
	n.nodelet.Assign(nodelet.Assignment{Pod: pod})
	n.phase("web-1", corev1.PodRunning)
	if slots := n.nodelet.Slots(); len(slots) > 0 {
		t.Errorf("it is still a slot: %v", slots)
	}
	if got := n.journal.started(); !slices.Equal(got, []string{"web-1"}) || n.journal.metered[0].Labels["app"] != "web" {
		t.Errorf("metered are %v, with labels %v", got, n.journal.metered[0].Labels)
	}
	if logs, err := os.ReadDir(filepath.Join(n.dir, "logs")); err != nil || len(logs) != 1 || logs[0].Name() != "shop_web-1_u1" {
		t.Errorf("folders of logs: %v, %v", logs, err)
	}
	n.nodelet.Remove("u1")
	n.until("the pod has finished", func() bool {
		return slices.ContainsFunc(n.nodelet.Reports(), func(r nodelet.Report) bool { return r.Finished })
	})
	if left := n.left(); len(left) > 0 {
		t.Errorf("left on the host: %v", left)
	}
}

// TestSlotsOfANodeletThatRestarts: a nodelet that was killed keeps its slots, and removes what the next Sync
// doesn't name.
func TestSlotsOfANodeletThatRestarts(t *testing.T) {
	n := newNode(t)
	for uid, depth := range map[string]nodelet.SlotDepth{"u1": nodelet.SlotContainer, "u2": nodelet.SlotSandbox, "u3": nodelet.SlotContainer} {
		n.nodelet.Assign(nodelet.Assignment{Pod: template(uid, "slot"), Slot: depth})
		n.depth(uid, depth)
	}
	n.stop()
	n.start()
	for uid, depth := range map[string]nodelet.SlotDepth{"u1": nodelet.SlotContainer, "u2": nodelet.SlotSandbox} {
		n.depth(uid, depth)
	}
	n.nodelet.Sync([]nodelet.Assignment{{Pod: template("u1", "web-1")}})
	n.phase("web-1", corev1.PodRunning)
	told := map[string]bool{}
	n.until("the others are gone", func() bool {
		for _, r := range n.nodelet.TakeSlots(10) {
			if r.Depth == nodelet.NoSlot {
				told[r.UID] = true
			}
		}
		return told["u2"] && told["u3"]
	})
	n.nodelet.Remove("u1")
	n.until("the pod has finished", func() bool { return len(n.left()) == 0 })
	if got := n.journal.started(); !slices.Equal(got, []string{"web-1"}) {
		t.Errorf("metered are %v", got)
	}
}

// TestSlotThatDoesNotFit: a pod with other volumes comes to a clean host.
func TestSlotThatDoesNotFit(t *testing.T) {
	n := newNode(t)
	n.nodelet.Assign(nodelet.Assignment{Pod: template("u1", "slot-1"), Slot: nodelet.SlotContainer})
	n.depth("u1", nodelet.SlotContainer)
	pod := template("u1", "web-1")
	pod.Spec.Volumes[0].Name = "w"
	n.nodelet.Assign(nodelet.Assignment{Pod: pod})
	n.phase("web-1", corev1.PodRunning)
	if slots := n.nodelet.Slots(); len(slots) > 0 {
		t.Errorf("it is still a slot: %v", slots)
	}
}
