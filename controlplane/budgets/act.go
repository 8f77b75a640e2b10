package budgets

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// Kept is the part of a status that outlives the control plane.
func Kept(st v1alpha1.BudgetStatus) v1alpha1.BudgetStatus {
	return v1alpha1.BudgetStatus{MonthStart: st.MonthStart, MonthEnd: st.MonthEnd, Crossed: st.Crossed, SpentTime: st.SpentTime, StopTime: st.StopTime}
}

// show writes a status, durably where it has to be, and tells of what has happened.
func (c *Controller) show(ctx context.Context, now time.Time, key controlplane.Key, out outcome) error {
	c.mu.Lock()
	b := c.book.budgets[key]
	var uid types.UID
	if b != nil {
		uid = b.uid
	}
	c.mu.Unlock()
	if b == nil {
		return nil // it is gone meanwhile
	}
	stored := false
	change := func(current controlplane.Object) controlplane.Object {
		stored = false
		if current == nil || current.GetUID() != uid {
			return current
		}
		was := statusOf(current)
		keep := !equality.Semantic.DeepEqual(Kept(*was), Kept(out.status))
		if !keep && (sameButTime(was, &out.status) || was.State == out.status.State && was.UnknownReason == out.status.UnknownReason && now.Sub(c.shown[key]) < c.cfg.Show) {
			return current
		}
		stored = keep
		next := current.DeepCopyObject().(controlplane.Object)
		*statusOf(next) = *out.status.DeepCopy()
		return next
	}
	about, err := c.cfg.Store.Observe(key, func(current controlplane.Object) controlplane.Object {
		if next := change(current); !stored {
			return next
		}
		return current // it has to be committed
	})
	if err == nil && stored {
		about, err = c.cfg.Store.Commit(ctx, controlplane.Mutation{Key: key, Change: func(current controlplane.Object) (controlplane.Object, error) {
			return change(current), nil
		}})
	}
	switch {
	case errors.Is(err, controlplane.ErrNotFound), err == nil && about == nil:
		return nil
	case err != nil:
		c.mu.Lock() // told once it is stored
		if late, ok := c.last[key]; ok {
			late.alerts = append(out.alerts, late.alerts...)
			c.last[key] = late
		}
		c.mu.Unlock()
		return fmt.Errorf("%s: status: %w", key, err)
	}
	if st := statusOf(about); st.ObservedTime.Equal(&out.status.ObservedTime) {
		c.shown[key] = now
	}
	for _, a := range out.alerts {
		c.cfg.Record(ctx, about, a.kind, a.reason, a.message)
	}
	return nil
}

func sameButTime(a, b *v1alpha1.BudgetStatus) bool {
	x := *a
	x.ObservedTime = b.ObservedTime
	return equality.Semantic.DeepEqual(&x, b)
}

func statusOf(o controlplane.Object) *v1alpha1.BudgetStatus {
	if b, ok := o.(*v1alpha1.AccountBudget); ok {
		return &b.Status
	}
	return &o.(*v1alpha1.Budget).Status
}

// end ends the pods of a budget that is spent. A create that was under way when it was is found by a later look.
func (c *Controller) end(ctx context.Context, key controlplane.Key, why error) error {
	namespaces := []string{key.Namespace}
	c.mu.Lock()
	b := c.book.budgets[key]
	c.mu.Unlock()
	if b == nil {
		return nil
	}
	if b.account != "" {
		namespaces = nil
		list, _ := c.cfg.Store.List("namespaces", "")
		for _, ns := range list {
			if c.cfg.Account(ns.GetName()) == b.account {
				namespaces = append(namespaces, ns.GetName())
			}
		}
	}
	var errs []error
	for _, ns := range namespaces {
		pods, _ := c.cfg.Store.Items("pods", ns)
		for i := range pods.Len() {
			pod := pods.Object(i).(*corev1.Pod)
			if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
				continue
			}
			if err := c.cfg.End(ctx, pods.Key(i), string(pod.UID), why.Error()); err != nil {
				errs = append(errs, err)
				continue
			}
			c.count.ended.Add(1)
		}
	}
	return errors.Join(errs...)
}

// Stats is what there is and what was done.
type Stats struct {
	Refused int64 // creates and larger sizes
	Ended   int64 // pods
	Budgets []BudgetStats
}

// BudgetStats is of one budget.
type BudgetStats struct {
	Name, Namespace, Account string
	Amount, Spent            int64 // 1e-6 of the currency; Spent is less than nothing while it isn't known
}

// Stats answers what has happened.
func (c *Controller) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := Stats{Refused: c.count.refused.Load(), Ended: c.count.ended.Load()}
	byAccount := map[time.Time]map[string]Spending{}
	for key, b := range c.book.budgets {
		one := BudgetStats{Name: key.Name, Namespace: key.Namespace, Account: b.account, Amount: b.amount, Spent: -1}
		if projects, known := c.book.known[b.from.UTC()]; known {
			if b.account == "" {
				one.Spent = projects[key.Namespace].Spent
			} else {
				if byAccount[b.from.UTC()] == nil {
					byAccount[b.from.UTC()] = perAccount(projects, c.cfg.Account)
				}
				one.Spent = byAccount[b.from.UTC()][b.account].Spent
			}
		}
		out.Budgets = append(out.Budgets, one)
	}
	return out
}
