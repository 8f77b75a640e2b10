package nodelet

import (
	"context"
	"slices"
	"strings"
	"time"

	nodev1 "swell.dev/swell/api/node/v1"
)

// sample is one reading of a pod's counters.
type sample map[string]Usage

// Usage reads what every running pod uses. Rates are over the time since the last call; a container that
// is read for the first time has none and is left out.
func (n *Nodelet) Usage(ctx context.Context) []*nodev1.PodUsage {
	n.mu.Lock()
	running := make(map[string][]string)
	names := make(map[string]Report)
	for uid, r := range n.reports {
		if list := runningContainers(r); len(list) > 0 {
			running[uid], names[uid] = list, r.Report
		}
	}
	n.mu.Unlock()
	var out []*nodev1.PodUsage
	for uid, containers := range running {
		if ctx.Err() != nil {
			break
		}
		now, err := n.cfg.Cgroups.Usage(uid, containers)
		if err != nil {
			continue // it ended meanwhile; the next report says so
		}
		n.mu.Lock()
		before := n.samples[uid]
		if n.workers[uid] != nil {
			n.samples[uid] = now
			if n.history != nil {
				latest := names[uid]
				n.history.observe(uid, &latest.Status, before, now)
			}
		}
		n.mu.Unlock()
		if p := podUsage(before, now); p != nil {
			p.Uid, p.Namespace, p.Name = uid, names[uid].Namespace, names[uid].Name
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *nodev1.PodUsage) int { return strings.Compare(a.Uid, b.Uid) })
	return out
}

func runningContainers(r *report) []string {
	var out []string
	for i := range r.Status.InitContainerStatuses {
		if s := &r.Status.InitContainerStatuses[i]; s.State.Running != nil {
			out = append(out, s.Name)
		}
	}
	for i := range r.Status.ContainerStatuses {
		if s := &r.Status.ContainerStatuses[i]; s.State.Running != nil {
			out = append(out, s.Name)
		}
	}
	return out
}

// podUsage turns two readings into rates. Counters that went backwards belong to a new instance.
func podUsage(before, now sample) *nodev1.PodUsage {
	var p *nodev1.PodUsage
	var window time.Duration
	for name, u := range now {
		b, ok := before[name]
		elapsed := u.MeasuredAt.Sub(b.MeasuredAt)
		if !ok || elapsed <= 0 || u.CPU < b.CPU {
			continue
		}
		if p == nil {
			p = &nodev1.PodUsage{}
		}
		window = max(window, elapsed)
		p.TimeUnixNano = max(p.TimeUnixNano, u.MeasuredAt.UnixNano())
		p.Containers = append(p.Containers, &nodev1.ContainerUsage{
			Name:                  name,
			CpuNanocores:          int64(float64(u.CPU-b.CPU) / elapsed.Seconds()),
			MemoryWorkingSetBytes: u.Memory,
		})
	}
	if p != nil {
		p.WindowNanos = window.Nanoseconds()
		slices.SortFunc(p.Containers, func(a, b *nodev1.ContainerUsage) int { return strings.Compare(a.Name, b.Name) })
	}
	return p
}
