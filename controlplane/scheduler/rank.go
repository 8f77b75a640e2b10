package scheduler

import (
	"math"
	"slices"

	"swell.dev/swell/controlplane"
)

// rank is what decides who gives way to whom: best-effort pods to all others, then lower priorities to
// higher ones.
type rank int64

const (
	// leavingRank is that of pods that are on their way out: they give way to everybody.
	leavingRank rank = math.MinInt64
	// firm is added to the rank of pods that aren't best-effort.
	firm rank = 1 << 33
	// firmest is above every best-effort pod and below every other.
	firmest rank = 1 << 32
)

func rankOf(req *controlplane.PlaceRequest) rank {
	r := rank(req.Priority)
	if !req.BestEffort {
		r += firm
	}
	return r
}

// rankSum is what the pods of one rank hold together.
type rankSum struct {
	rank  rank
	holds controlplane.Demand
	pods  int
}

// addRank adds to the sum of a rank, in a list with the lowest first. Ranks are few.
func addRank(sums []rankSum, r rank, d controlplane.Demand, pods int) []rankSum {
	for i := range sums {
		s := &sums[i]
		if s.rank == r {
			s.holds, s.pods = s.holds.Add(d), s.pods+pods
			if s.pods == 0 {
				return slices.Delete(sums, i, i+1)
			}
			return sums
		}
		if s.rank > r {
			return slices.Insert(sums, i, rankSum{r, d, pods})
		}
	}
	return append(sums, rankSum{r, d, pods})
}

// effective is the rank by which others see the pod; false of a slot, and of one whose room is promised to somebody already.
func (r *reservation) effective() (rank, bool) {
	switch {
	case r.claim != nil, r.gives != nil, r.kin == nil:
		return 0, false
	case r.leaving:
		return leavingRank, true
	}
	return r.rank, true
}

// account adds to the sums in which the pod counts.
func (c *core) account(r *reservation, d controlplane.Demand, pods int) {
	if by, ok := r.effective(); ok {
		r.node.ranks = addRank(r.node.ranks, by, d, pods)
		if pods != 0 {
			c.ranks = addRank(c.ranks, by, controlplane.Demand{}, pods)
		}
	}
}

// regard changes how others see the pod.
func (c *core) regard(r *reservation, change func()) {
	d := r.reserved()
	c.account(r, controlplane.Demand{}.Sub(d), -1)
	change()
	c.account(r, d, 1)
}

// leave notes that a pod is being deleted.
func (c *core) leave(uid string) {
	if r := c.pods[uid]; r != nil && !r.leaving {
		c.regard(r, func() { r.leaving = true })
	}
}
