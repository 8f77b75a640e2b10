package plans

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/cmd/swell/costs"
	"swell.dev/swell/controlplane"
)

const plansResource = "savingsplans"

type store interface {
	List(resource, namespace string) ([]controlplane.Object, uint64)
	Observe(controlplane.Key, func(controlplane.Object) controlplane.Object) (controlplane.Object, error)
}

// Keeper shows on plans where they are in their life and how much of them is used.
type Keeper struct {
	store  store
	engine engine
	log    *slog.Logger
	wake   chan struct{} // holds a token when a plan was bought or returned

	// What follows is Run's.
	used   map[string]*v1alpha1.SavingsPlanUse // by the plan's UID
	usedAt time.Time                           // when that was summed up
}

// NewKeeper makes a keeper; Run makes it work.
func NewKeeper(s store, e engine, log *slog.Logger) *Keeper {
	return &Keeper{store: s, engine: e, log: log, wake: make(chan struct{}, 1)}
}

// Changed tells that a plan was bought or returned.
func (k *Keeper) Changed() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// usedEvery is how often use is summed up, over usedDays: that reads their segments.
const (
	usedEvery = time.Hour
	usedDays  = 7
)

// Run looks after the statuses until ctx ends. It is called once.
func (k *Keeper) Run(ctx context.Context) error {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.wake:
		case <-next.C:
		}
		now := time.Now()
		again, err := k.look(ctx, now)
		if err != nil && ctx.Err() == nil {
			k.log.Warn("statuses of savings plans", "cause", err)
		}
		next.Reset(max(again.Sub(now), time.Second))
	}
}

// look writes what has changed, and answers when to look again.
func (k *Keeper) look(ctx context.Context, now time.Time) (again time.Time, err error) {
	again = now.Add(usedEvery)
	list, _ := k.store.List(plansResource, "")
	active := slices.ContainsFunc(list, func(o controlplane.Object) bool {
		phase, _ := o.(*v1alpha1.SavingsPlan).PhaseAt(now)
		return phase == v1alpha1.SavingsPlanActive
	})
	if active && now.Sub(k.usedAt) >= usedEvery {
		k.used, err = k.use(ctx, now)
		k.usedAt = now
	}
	errs := []error{err}
	for _, o := range list {
		p := o.(*v1alpha1.SavingsPlan)
		phase, next := p.PhaseAt(now)
		if !next.IsZero() && next.Before(again) {
			again = next
		}
		_, err := k.store.Observe(controlplane.Key{Resource: plansResource, Name: p.Name}, func(current controlplane.Object) controlplane.Object {
			was := current.(*v1alpha1.SavingsPlan)
			if was.UID != p.UID {
				return current
			}
			out := was.DeepCopy()
			out.Status.Phase, _ = was.PhaseAt(now)
			if u, ok := k.used[string(p.UID)]; ok && phase == v1alpha1.SavingsPlanActive {
				out.Status.Utilisation = u
			} else if phase != v1alpha1.SavingsPlanActive && phase != v1alpha1.SavingsPlanEnded {
				out.Status.Utilisation = nil
			}
			if equality.Semantic.DeepEqual(out.Status, was.Status) {
				return current
			}
			return out
		})
		if err != nil && !errors.Is(err, controlplane.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return again, errors.Join(errs...)
}

// use sums up the intervals of each plan that have ended in the last days, by the plan's UID.
func (k *Keeper) use(ctx context.Context, now time.Time) (map[string]*v1alpha1.SavingsPlanUse, error) {
	from := now.AddDate(0, 0, -usedDays)
	uses, err := k.engine.Uses(ctx, costs.Query{From: from, To: now})
	if err != nil {
		return nil, err
	}
	type sum struct {
		committed, used billing.Money
		out             v1alpha1.SavingsPlanUse
	}
	sums := map[string]*sum{}
	for _, u := range uses {
		if u.To > now.UnixMilli() {
			continue
		}
		s := sums[u.Plan.UID]
		if s == nil {
			s = &sum{out: v1alpha1.SavingsPlanUse{From: metav1.NewTime(time.UnixMilli(u.From).UTC())}}
			sums[u.Plan.UID] = s
		}
		s.out.Intervals++
		s.out.To = metav1.NewTime(time.UnixMilli(u.To).UTC())
		s.committed, s.used = s.committed.Plus(u.Commitment), s.used.Plus(u.Used)
	}
	out := map[string]*v1alpha1.SavingsPlanUse{}
	for uid, s := range sums {
		s.out.Committed, s.out.Used, s.out.Unused = s.committed.String(), s.used.String(), s.committed.Minus(s.used).String()
		s.out.Percent = percent(s.used.Float() / s.committed.Float())
		out[uid] = &s.out
	}
	return out, nil
}
