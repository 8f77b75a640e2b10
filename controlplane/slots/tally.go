package slots

import (
	"maps"
	"time"

	"swell.dev/swell/controlplane"
)

// tally is what metrics are made of, by namespace.
type tally struct {
	hits        map[hitKey]int64
	misses      map[string]int64
	idleSeconds map[string]float64
}

type hitKey struct {
	namespace string
	depth     controlplane.SlotDepth
}

func newTally() tally {
	return tally{hits: map[hitKey]int64{}, misses: map[string]int64{}, idleSeconds: map[string]float64{}}
}

func (t *tally) hit(namespace string, depth controlplane.SlotDepth) {
	t.hits[hitKey{namespace, depth}]++
}

func (t *tally) idle(w *workload, d time.Duration) {
	if len(w.slots) > 0 {
		t.idleSeconds[w.key.Namespace] += float64(len(w.slots)) * d.Seconds()
	}
}

// Hits counts pods that took a slot, by how far that had come.
type Hits struct {
	Namespace string
	Depth     controlplane.SlotDepth
	Count     int64
}

// Stats is what has happened since the start, and what there is.
type Stats struct {
	Hits        []Hits
	Misses      map[string]int64   // by namespace
	IdleSeconds map[string]float64 // slot-seconds that slots were there, by namespace
	Making      map[controlplane.SlotDepth]int
	Ready       map[controlplane.SlotDepth]int
	Workloads   int
	// ForecastError is the mean error of the forecasts over the mean of what came, over all workloads, each
	// by how much came of it.
	ForecastError float64
}

func (c *core) stats() Stats {
	out := Stats{
		Misses: maps.Clone(c.tally.misses), IdleSeconds: maps.Clone(c.tally.idleSeconds), Workloads: len(c.workloads),
		Making: map[controlplane.SlotDepth]int{}, Ready: map[controlplane.SlotDepth]int{},
	}
	for k, n := range c.tally.hits {
		out.Hits = append(out.Hits, Hits{k.namespace, k.depth, n})
	}
	for _, s := range c.slots {
		if s.ready {
			out.Ready[s.depth]++
		} else {
			out.Making[s.depth]++
		}
	}
	var off, came float64
	for _, w := range c.workloads {
		if w.expects == nil {
			continue
		}
		if share, n := w.expects.Error(); n > 0 {
			off += share * w.expects.Level()
			came += w.expects.Level()
		}
	}
	if came > 0 {
		out.ForecastError = off / came
	}
	return out
}
