package ledger

import (
	"context"
	"fmt"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// Lifecycle is when a pod lived, as its status told the control plane: what metered time is compared with.
type Lifecycle = usagev1.Lifecycle

// RecordLifecycles makes lifecycles of pods that ended durable, each pod's once: the first stands.
func (l *Ledger) RecordLifecycles(ctx context.Context, lives []Lifecycle) error {
	for i := range lives {
		p := &lives[i]
		if p.PodUID == "" || p.Started.IsZero() || p.Ended.Before(p.Started) {
			return fmt.Errorf("lifecycle of pod %s/%s %q: from %s to %s: want a UID and a pod that ended after it started", p.Namespace, p.Pod, p.PodUID,
				p.Started.Format(time.RFC3339Nano), p.Ended.Format(time.RFC3339Nano))
		}
	}
	return l.submit(&call{ctx: ctx, lives: lives})
}

// EachLifecycle calls fn with those that a filter chooses, by the UTC day of the start, then pod UID. They are fn's
// until it returns. Through doesn't count: lifecycles have no record.
func (l *Ledger) EachLifecycle(ctx context.Context, f Filter, fn func(*Lifecycle) error) error {
	snap, err := l.store.snapshot(ctx)
	if err != nil {
		return err
	}
	defer snap.close()
	return snap.lifecycles(ctx, &f, fn)
}

func (f *Filter) matchesLife(p *Lifecycle) bool {
	return (f.UID == "" || p.PodUID == f.UID) && (f.Namespace == "" || p.Namespace == f.Namespace) && (f.Pod == "" || p.Pod == f.Pod) &&
		f.touches(p.Started, p.Ended)
}
