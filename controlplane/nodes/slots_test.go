package nodes

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// slotLog notes what is reported of slots.
type slotLog struct {
	mu   sync.Mutex
	told []string
	bell *bell
}

func (l *slotLog) reported(uid string, depth controlplane.SlotDepth, message string) {
	l.mu.Lock()
	l.told = append(l.told, fmt.Sprintf("%s %s %s", uid, depth, message))
	l.mu.Unlock()
	l.bell.ring()
}

func (l *slotLog) has(want string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.told, want)
}

func newSlotWorld(t *testing.T, objects ...controlplane.Object) (*world, *slotLog) {
	l := &slotLog{}
	w := newWorldWith(t, Config{Silence: 1 << 60, SlotReported: l.reported}, objects...)
	l.bell = w.bell
	return w, l
}

func slotOn(node, uid string) *corev1.Pod {
	p := podOn(node, uid)
	p.UID = "slot-" + p.UID[len("uid-"):]
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}}
	return p
}

func (n *fakeNodelet) slots(in ...*nodev1.SlotReport) {
	n.send(&nodev1.FromNode{Message: &nodev1.FromNode_Slots{Slots: &nodev1.SlotReports{Slots: in}}})
}

// expectSlot takes the next message, which assigns that slot.
func (n *fakeNodelet) expectSlot(uid string, depth nodev1.SlotDepth) *nodev1.Assignment {
	n.t.Helper()
	m := n.next()
	a := m.GetAssign()
	if p := assigned(n.t, a); string(p.UID) != uid || a.Slot != depth {
		n.t.Fatalf("got %s to depth %v, want %s to %v", p.UID, a.Slot, uid, depth)
	}
	return a
}

func (n *fakeNodelet) expectRemove(uid string) {
	n.t.Helper()
	if m := n.next(); m.GetRemove().GetUid() != uid {
		n.t.Fatalf("got %v, want the removal of %s", m, uid)
	}
}

func settings(value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "settings"}, Data: map[string]string{"k": value}}
}

func TestSlotIsPushedReportedAndTaken(t *testing.T) {
	w, log := newSlotWorld(t, settings("one"))
	n, _ := w.connect("n1")
	w.hub.PushSlot(slotOn("n1", "a"), controlplane.SlotContainer)
	a := n.expectSlot("slot-a", nodev1.SlotDepth_SLOT_DEPTH_CONTAINER)
	if len(a.ConfigMaps) != 1 {
		t.Errorf("%d config maps came with it", len(a.ConfigMaps))
	}
	n.slots(&nodev1.SlotReport{Uid: "slot-a", Depth: nodev1.SlotDepth_SLOT_DEPTH_SANDBOX, Message: "pulling"})
	w.until(t, "the report", func() bool { return log.has("slot-a Sandbox pulling") })

	// What it refers to is kept up to date.
	w.store.put(settings("two"))
	if a := n.expectSlot("slot-a", nodev1.SlotDepth_SLOT_DEPTH_CONTAINER); len(a.ConfigMaps) != 1 || !bytes.Contains(a.ConfigMaps[0], []byte("two")) {
		t.Errorf("config maps: %q", a.ConfigMaps)
	}

	// The pod that takes it comes under its UID, without a depth, and is a pod like any other from then on.
	pod := podOn("n1", "real")
	pod.UID = "slot-a"
	w.store.put(pod)
	if p := n.expectSlot("slot-a", nodev1.SlotDepth_SLOT_DEPTH_UNSPECIFIED); assigned(t, p).Name != "real" {
		t.Errorf("assigned %s", assigned(t, p).Name)
	}
	w.hub.DropSlot("slot-a") // too late
	w.hub.PushSlot(slotOn("n1", "a"), controlplane.SlotContainer)
	n.slots(&nodev1.SlotReport{Uid: "slot-a", Depth: nodev1.SlotDepth_SLOT_DEPTH_CONTAINER}) // said before it heard
	w.hub.PushSlot(slotOn("n1", "b"), controlplane.SlotSandbox)
	n.expectSlot("slot-b", nodev1.SlotDepth_SLOT_DEPTH_SANDBOX)
	w.hub.DropSlot("slot-b")
	n.expectRemove("slot-b")
	if log.has("slot-a Container ") {
		t.Error("a pod was reported as a slot")
	}
}

func TestSlotFailsOrIsUnknown(t *testing.T) {
	w, log := newSlotWorld(t)
	n, _ := w.connect("n1")
	w.hub.PushSlot(slotOn("n1", "a"), controlplane.SlotContainer)
	n.expectSlot("slot-a", nodev1.SlotDepth_SLOT_DEPTH_CONTAINER)
	n.slots(&nodev1.SlotReport{Uid: "slot-a", Message: "no such image"})
	w.until(t, "the report", func() bool { return log.has("slot-a None no such image") })
	n.slots(&nodev1.SlotReport{Uid: "slot-x", Depth: nodev1.SlotDepth_SLOT_DEPTH_SANDBOX}, &nodev1.SlotReport{Uid: "slot-y"})
	n.expectRemove("slot-x")

	// Another node has no say about it.
	w.hub.PushSlot(slotOn("n1", "b"), controlplane.SlotContainer)
	n.expectSlot("slot-b", nodev1.SlotDepth_SLOT_DEPTH_CONTAINER)
	other, _ := w.connect("n2")
	other.slots(&nodev1.SlotReport{Uid: "slot-b"}, &nodev1.SlotReport{Uid: "slot-b", Depth: nodev1.SlotDepth_SLOT_DEPTH_SANDBOX})
	other.expectRemove("slot-b")
	n.slots(&nodev1.SlotReport{Uid: "slot-b", Depth: nodev1.SlotDepth_SLOT_DEPTH_CONTAINER})
	w.until(t, "the owner's report", func() bool { return log.has("slot-b Container ") })
	if log.has("slot-b None ") || log.has("slot-b Sandbox ") {
		t.Error("another node's word counted")
	}
}

func TestSlotsGoWithTheSession(t *testing.T) {
	w, _ := newSlotWorld(t)
	w.hub.PushSlot(slotOn("n1", "early"), controlplane.SlotContainer) // nobody is there
	n, sync := w.connect("n1")
	if len(sync.Pods) != 0 {
		t.Errorf("synced %v", names(t, sync))
	}
	w.hub.PushSlot(slotOn("n1", "a"), controlplane.SlotContainer)
	n.expectSlot("slot-a", nodev1.SlotDepth_SLOT_DEPTH_CONTAINER)

	// A session that replaces another finds the slots in its Sync.
	again, sync := w.connect("n1")
	if len(sync.Pods) != 1 || sync.Pods[0].Slot != nodev1.SlotDepth_SLOT_DEPTH_CONTAINER || string(assigned(t, sync.Pods[0]).UID) != "slot-a" {
		t.Errorf("synced %v", sync.Pods)
	}
	again.leave()
	w.until(t, "the node is lost", func() bool { return !w.sched.known()["n1"].Ready && !w.hub.Connected("n1") })

	// One that begins after the node was lost doesn't: the nodelet drops what isn't named.
	if _, sync := w.connect("n1"); len(sync.Pods) != 0 {
		t.Errorf("synced %v", names(t, sync))
	}
}
