package report

import (
	"cmp"
	"maps"
	"slices"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// Resized are the pods that were resized most, as far as the report's time goes.
type Resized struct {
	Pods    []PodSizes
	Resizes int // of all pods
	InAll   int // pods that were resized
}

// PodSizes is the timeline of a pod's size.
type PodSizes struct {
	Project, Pod, UID string
	Sizes             []Size // by time; neighbours differ
	Resizes           int    // also of what isn't in Sizes
	beyond            Size   // the latest that isn't in Sizes
}

// Size is a pod's size for a time.
type Size struct {
	Period
	CPUMilli, MemoryBytes, GPUMilli int64
}

func (s *Size) same(o *Size) bool {
	return s.CPUMilli == o.CPUMilli && s.MemoryBytes == o.MemoryBytes && s.GPUMilli == o.GPUMilli
}

const (
	mostResized = 10
	mostSizes   = 200  // of one pod
	mostPods    = 8192 // that are kept before those with the fewest resizes are forgotten
	keptPods    = mostPods / 2
)

// resizing follows pods' sizes through segments. Which pods are forgotten, where there are more than it keeps,
// depends on the order of the charges: a pod of one size whose next segment comes much later loses a resize.
type resizing struct {
	period  Period
	last    usagev1.ID
	pods    map[string]*PodSizes // by UID
	resizes int                  // of pods that were forgotten
	inAll   int
}

func newResizing(q Query) resizing {
	return resizing{period: Period{q.From.UnixMilli(), q.To.UnixMilli()}, pods: map[string]*PodSizes{}}
}

func (r *resizing) add(c *billing.Charge) {
	s := c.Segment
	if s == nil || c.Kind != billing.Usage || s.ID == r.last {
		return
	}
	r.last = s.ID
	size := Size{Period{max(s.Start.UnixMilli(), r.period.From), r.period.To}, s.CPUMilli, s.MemoryBytes, s.GPU.Milli}
	if !s.Open() {
		size.To = min(s.End.UnixMilli(), r.period.To)
	}
	if size.From >= size.To {
		return
	}
	p := r.pods[s.PodUID]
	if p == nil {
		if len(r.pods) >= mostPods {
			r.forget()
		}
		p = &PodSizes{Project: c.Project, Pod: s.Pod, UID: s.PodUID}
		r.pods[s.PodUID] = p
	}
	p.add(size)
}

// add puts a size into its place: segments come mostly in order.
func (p *PodSizes) add(size Size) {
	at, found := slices.BinarySearchFunc(p.Sizes, size.From, func(s Size, from int64) int { return cmp.Compare(s.From, from) })
	if found {
		return
	}
	if len(p.Sizes) >= mostSizes {
		last := p.beyond
		if last.To == 0 {
			last = p.Sizes[len(p.Sizes)-1]
		}
		if size.From >= last.To {
			if !last.same(&size) {
				p.Resizes++
			}
			p.beyond = size
		}
		return
	}
	p.Sizes = slices.Insert(p.Sizes, at, size)
}

// settle joins neighbours of the same size and counts the resizes.
func (p *PodSizes) settle() {
	joined := p.Sizes[:0]
	for _, s := range p.Sizes {
		if n := len(joined); n > 0 && joined[n-1].same(&s) && joined[n-1].To == s.From {
			joined[n-1].To = s.To
			continue
		}
		joined = append(joined, s)
	}
	p.Sizes = joined
	p.Resizes = p.count()
}

// count is how often the pod was resized, so far.
func (p *PodSizes) count() int {
	n := p.Resizes
	for i := 1; i < len(p.Sizes); i++ {
		if !p.Sizes[i].same(&p.Sizes[i-1]) {
			n++
		}
	}
	return n
}

// forget makes room: pods of one size go first, then those with the fewest resizes.
func (r *resizing) forget() {
	for uid, p := range r.pods {
		if p.count() == 0 {
			delete(r.pods, uid)
		}
	}
	if len(r.pods) <= keptPods {
		return
	}
	for _, p := range byResizes(r.pods)[keptPods:] {
		r.resizes, r.inAll = r.resizes+p.count(), r.inAll+1
		delete(r.pods, p.UID)
	}
}

func byResizes(pods map[string]*PodSizes) []*PodSizes {
	counts := make(map[*PodSizes]int, len(pods))
	for _, p := range pods {
		counts[p] = p.count()
	}
	return slices.SortedFunc(maps.Values(pods), func(x, y *PodSizes) int {
		return cmp.Or(counts[y]-counts[x], cmp.Compare(x.Project, y.Project), cmp.Compare(x.Pod, y.Pod), cmp.Compare(x.UID, y.UID))
	})
}

func (r *resizing) most() Resized {
	out := Resized{Resizes: r.resizes, InAll: r.inAll}
	for _, kept := range byResizes(r.pods) {
		p := *kept
		p.Sizes = slices.Clone(kept.Sizes)
		p.settle()
		if p.Resizes == 0 {
			continue
		}
		out.Resizes, out.InAll = out.Resizes+p.Resizes, out.InAll+1
		if len(out.Pods) < mostResized {
			out.Pods = append(out.Pods, p)
		}
	}
	return out
}
