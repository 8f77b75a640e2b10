package session

import (
	"errors"
	"testing"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/nodelet"
)

// TestSlots: slots come down like pods, and what becomes of them is told, all of it again after a loss.
func TestSlots(t *testing.T) {
	w := newWorld(t)
	w.pods.setSlot(nodelet.SlotReport{UID: "u1", Depth: nodelet.SlotCapacity})
	w.pods.TakeSlots(batch)
	<-w.pods.changed
	w.run()
	c, hello := w.next()
	if got := describeSlots(hello.Slots); got != " u1=CAPACITY" {
		t.Errorf("hello tells%s", got)
	}
	c.expect("segments", "heartbeat")
	slot := func(depth nodev1.SlotDepth) *nodev1.Assignment {
		a := assign(t, "s")
		a.Slot = depth
		return a
	}
	c.sync(slot(nodev1.SlotDepth_SLOT_DEPTH_CAPACITY), assign(t, "p"))
	w.pods.expect(t, "sync [p slot capacity s]")
	for depth, want := range map[nodev1.SlotDepth]string{
		nodev1.SlotDepth_SLOT_DEPTH_SANDBOX:     "assign slot sandbox s",
		nodev1.SlotDepth_SLOT_DEPTH_CONTAINER:   "assign slot container s",
		nodev1.SlotDepth_SLOT_DEPTH_UNSPECIFIED: "assign s",
		99:                                      "assign slot container s", // of a later version
	} {
		c.send(&nodev1.ToNode{Message: &nodev1.ToNode_Assign{Assign: slot(depth)}})
		w.pods.expect(t, want)
	}
	w.pods.setSlot(nodelet.SlotReport{UID: "u1", Depth: nodelet.SlotSandbox, Message: "no such image"})
	c.expect("slots u1=SANDBOX+no such image")
	w.pods.setSlot(nodelet.SlotReport{UID: "u1"})
	c.expect("slots u1=UNSPECIFIED")
	w.pods.setSlot(nodelet.SlotReport{UID: "u2", Depth: nodelet.SlotContainer})
	c.expect("slots u2=CONTAINER")
	c.end <- errors.New("lost")
	if _, hello = w.next(); describeSlots(hello.Slots) != " u2=CONTAINER" {
		t.Errorf("after a loss hello tells%s", describeSlots(hello.Slots))
	}
}
