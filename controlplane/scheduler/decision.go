package scheduler

import (
	"time"

	"swell.dev/swell/controlplane"
)

// decision is something that the core decided without being asked for it.
type decision struct {
	kind    kind
	uid     string
	key     controlplane.Key
	node    string
	request *controlplane.PlaceRequest // bound, nominated, explained
	resize  controlplane.Demand        // resized, judged
	verdict controlplane.ResizeVerdict // judged
	grant   controlplane.PoolGrant     // granted
	ask     int64                      // boosted
	boost   int64                      // boosted
	reason  controlplane.EvictReason   // evicted
	message string                     // evicted, explained, judged
	after   time.Duration              // expelled
	doom    uint16                     // expelled
}

type kind uint8

const (
	bound     kind = iota + 1 // a pending pod got its node
	resized                   // a deferred resize was admitted
	boosted                   // a boost that waited was granted
	nominated                 // room is being made for a pending pod on that node
	evicted                   // a pod has to go
	expelled                  // a pod has to go after a while, unless its node's taints change
	explained                 // why a pod waits
	givenUp                   // a slot has lost its room
	judged                    // of a resize that waits something else holds now: that it is infeasible, or that it isn't
	granted                   // how much a node's reflex pool has
)

func (c *core) take() []decision {
	c.lend()
	out := c.decisions
	c.decisions = nil
	return out
}
