package costs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/billing/plan"
)

// Statement yields the charges that invoices are made of, those that there are and those that there will be. What an
// invoice closed stays as it was; what became known of its time afterwards is a correction, of the charges that have
// changed and by how much, in the next invoice of that account or, as long as there is none, right behind the last.
func (e *Engine) Statement(ctx context.Context, q Query, yield func(*billing.Charge) error) error {
	if err := q.Check(); err != nil {
		return err
	}
	q = e.fix(q)
	invoices, err := e.cfg.Ledger.Invoices(ctx)
	if err != nil {
		return err
	}
	byAccount := map[string][]ledger.Invoice{}
	for _, i := range invoices {
		if q.Account == "" || i.Account == q.Account {
			byAccount[i.Account] = append(byAccount[i.Account], i)
			q.Cuts = append(q.Cuts[:len(q.Cuts):len(q.Cuts)], i.From.UnixMilli(), i.To.UnixMilli())
		}
	}
	if err := e.Charges(ctx, q, func(c *billing.Charge) error {
		for _, i := range byAccount[c.Account] {
			if holds(&i, c.From) {
				return nil
			}
		}
		return yield(c)
	}); err != nil {
		return err
	}
	for _, account := range sortedKeys(byAccount) {
		of := byAccount[account]
		for k := range of {
			part, touches := q.within(&of[k])
			if !touches {
				continue
			}
			part.Through = of[k].Through
			if err := e.Charges(ctx, part, func(c *billing.Charge) error {
				if !holds(&of[k], c.From) {
					return nil
				}
				c.Invoice = of[k].ID
				return yield(c)
			}); err != nil {
				return err
			}
			if k > 0 && !of[k].From.Before(q.From) {
				in := func(c *billing.Charge) error { c.Invoice = of[k].ID; return yield(c) }
				if err := e.corrections(ctx, q, of[:k], of[k-1].Through, of[k].Through, in); err != nil {
					return err
				}
			}
		}
		last := of[len(of)-1]
		if !last.To.Before(q.From) && last.To.Before(q.To) {
			if err := e.corrections(ctx, q, of, last.Through, 0, yield); err != nil {
				return err
			}
		}
	}
	return nil
}

func holds(i *ledger.Invoice, at int64) bool {
	return at >= i.From.UnixMilli() && at < i.To.UnixMilli()
}

// within is a query's part that an invoice is of.
func (q Query) within(i *ledger.Invoice) (Query, bool) {
	q.Account = i.Account
	if i.From.After(q.From) {
		q.From = i.From
	}
	if i.To.Before(q.To) {
		q.To = i.To
	}
	return q, q.From.Before(q.To)
}

// corrections yields how the charges of invoices' periods differ between what was recorded by two records.
func (e *Engine) corrections(ctx context.Context, q Query, invoices []ledger.Invoice, before, after int64, yield func(*billing.Charge) error) error {
	if newest, err := e.cfg.Ledger.Sequence(ctx); err != nil || newest == before {
		return err
	}
	for i := range invoices {
		of := q
		of.Account, of.From, of.To, of.Through = invoices[i].Account, invoices[i].From, invoices[i].To, before
		then := of
		then.Through = after
		if after == 0 { // what is still open in a period that was closed is known when it is recorded
			newest, err := e.cfg.Ledger.Sequence(ctx)
			if err != nil {
				return err
			}
			then.Through = newest
		}
		if err := e.difference(ctx, of, then, func(c *billing.Charge) error {
			c.Correction = invoices[i].ID
			return yield(c)
		}); err != nil {
			return err
		}
	}
	return nil
}

// UnsettledError says why a period can't be invoiced yet.
type UnsettledError struct{ Why string }

func (e *UnsettledError) Error() string { return "the period can't be invoiced yet: " + e.Why }

// settled checks that all facts of a period are there that are to be expected.
func (e *Engine) settled(ctx context.Context, q Query) error {
	if q.To.After(q.now) {
		return &UnsettledError{"it ends at " + q.To.UTC().Format(time.RFC3339)}
	}
	plans, err := plan.Apply(plansOf(q), nil, q.From.UnixMilli(), q.To.UnixMilli())
	if err != nil {
		return err
	}
	for _, u := range plans.Uses {
		if end := time.UnixMilli(u.To); end.After(q.now) && u.From >= q.From.UnixMilli() {
			return &UnsettledError{fmt.Sprintf("the %s of savings plan %s ends at %s", u.Plan.Interval, u.Plan.Name, end.UTC().Format(time.RFC3339))}
		}
	}
	open := 0
	var one usagev1.Segment
	f := q.filter()
	f.Through = 0
	err = e.cfg.Ledger.Each(ctx, f, func(s *usagev1.Segment) error {
		if s.Open() && (q.Account == "" || e.cfg.Account(s.Namespace) == q.Account) {
			open, one = open+1, *s
		}
		return nil
	})
	if err == nil && open > 0 {
		return &UnsettledError{fmt.Sprintf("%d segments that began before its end are still open, one of pod %s/%s on node %s; they end some minutes after midnight UTC",
			open, one.Namespace, one.Pod, one.Node)}
	}
	return err
}

// Draft works out the invoice of an account for a period: what it comes to, through the newest record. Nothing is
// recorded. An UnsettledError says that facts are still to be expected, unless that is forced: what comes later is a
// correction then.
func (e *Engine) Draft(ctx context.Context, account string, from, to time.Time, force bool) (ledger.Invoice, error) {
	if err := (&Query{From: from, To: to}).Check(); err != nil {
		return ledger.Invoice{}, err
	}
	if !force {
		if err := e.settled(ctx, e.fix(Query{From: from, To: to, Account: account})); err != nil {
			return ledger.Invoice{}, err
		}
	}
	through, err := e.cfg.Ledger.Sequence(ctx)
	if err != nil {
		return ledger.Invoice{}, err
	}
	q := e.fix(Query{From: from, To: to, Account: account, Through: through})
	var sum billing.Money
	add := func(c *billing.Charge) error { sum = sum.Plus(c.Billed); return nil }
	if err := e.Charges(ctx, q, add); err != nil {
		return ledger.Invoice{}, err
	}
	invoices, err := e.cfg.Ledger.Invoices(ctx)
	if err != nil {
		return ledger.Invoice{}, err
	}
	invoices = slices.DeleteFunc(invoices, func(i ledger.Invoice) bool { return i.Account != account })
	if n := len(invoices); n > 0 {
		if err := e.corrections(ctx, q, invoices, invoices[n-1].Through, through, add); err != nil {
			return ledger.Invoice{}, err
		}
	}
	book := e.cfg.Books.At(to.UnixMilli() - 1)
	if book == nil {
		return ledger.Invoice{}, e.cfg.Books.Before(to.UnixMilli() - 1)
	}
	return ledger.Invoice{
		Account: account, From: from, To: to, Through: through, Total: sum.Round(book.Decimals, book.Rounding), Currency: book.Currency, Closed: q.now.UTC(),
	}, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare[string])
	return keys
}
