// Package costs is where billing's parts meet: the ledger's segments, the price book and the savings plans become
// charges, a row each, from which every report, export and check is made.
//
// Nothing that is derived is stored. The charges of a period are worked out from facts (segments, corrections, plans,
// adjustments) whenever they are asked for, in a time and a memory that are bounded by what was used: segments are
// streamed, twice where plans have to be laid onto them.
package costs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/ledger"
)

// DefaultAccount is whose projects are that nobody else claims, and the plans that are everybody's.
const DefaultAccount = v1alpha1.DefaultAccount

// facts are what the ledger keeps.
type facts interface {
	Each(context.Context, ledger.Filter, func(*usagev1.Segment) error) error
	Adjustments(ctx context.Context, from, to time.Time) ([]ledger.Adjustment, error)
	Invoices(context.Context) ([]ledger.Invoice, error)
	Sequence(context.Context) (int64, error)
}

// Config joins an engine to what it works on.
type Config struct {
	Ledger facts
	Books  *billing.Books
	// Plans answers the savings plans that there are. Nil: none.
	Plans func() []*billing.Plan
	// Account answers whose a project is. Nil: DefaultAccount.
	Account func(project string) string
	// Now is the time up to which open segments count. Nil: time.Now.
	Now func() time.Time
}

// Engine works out charges. It is safe for concurrent use.
type Engine struct{ cfg Config }

// New makes an engine.
func New(cfg Config) (*Engine, error) {
	if cfg.Ledger == nil || cfg.Books == nil {
		return nil, errors.New("costs: a ledger and price books are required")
	}
	if cfg.Plans == nil {
		cfg.Plans = func() []*billing.Plan { return nil }
	}
	if cfg.Account == nil {
		cfg.Account = func(string) string { return DefaultAccount }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Engine{cfg}, nil
}

// Books are the price books.
func (e *Engine) Books() *billing.Books { return e.cfg.Books }

// Now is the engine's time.
func (e *Engine) Now() time.Time { return e.cfg.Now() }

// Query chooses charges.
type Query struct {
	From, To time.Time // [From, To); what used time crosses a bound counts with the part that is within
	Cuts     []int64   // Unix milliseconds that no charge of use may cross, such as the days of a report
	Project  string    // empty: all; plans' own charges and adjustments are those of the project alone
	Account  string    // empty: all
	Pod, UID string    // empty: all
	Through  int64     // what was recorded up to this record; 0: all, with what is still open

	// What several queries of one answer share.
	plans []*billing.Plan
	now   time.Time
}

// fix makes the plans and the time those of this moment, unless they are fixed.
func (e *Engine) fix(q Query) Query {
	if q.now.IsZero() {
		q.plans, q.now = e.cfg.Plans(), e.cfg.Now()
	}
	return q
}

// Check says what is wrong with a query.
func (q *Query) Check() error {
	switch {
	case q.From.IsZero() || q.To.IsZero():
		return errors.New("from and to: both are required")
	case !q.From.Before(q.To):
		return fmt.Errorf("from %s isn't before to %s", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))
	case q.To.Sub(q.From) > maxPeriod:
		return fmt.Errorf("from %s to %s: a period has %d days at most", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339), maxPeriod/(24*time.Hour))
	}
	return nil
}

// maxPeriod bounds what one query may cost: somewhat more than five years.
const maxPeriod = 1830 * 24 * time.Hour

// Charges works out the charges of a query, in a fixed order: use by the day and pod of its segments, then what plans
// and operators charge. A charge is valid during the call.
func (e *Engine) Charges(ctx context.Context, q Query, yield func(*billing.Charge) error) error {
	if err := q.Check(); err != nil {
		return err
	}
	q = e.fix(q)
	c, err := e.cover(ctx, q)
	if err != nil {
		return err
	}
	if err := e.use(ctx, q, c, yield); err != nil {
		return err
	}
	if q.Pod != "" || q.UID != "" {
		return nil
	}
	if err := e.planCharges(q, c, yield); err != nil {
		return err
	}
	return e.adjustments(ctx, q, yield)
}

// adjustments are what operators gave and took in the period.
func (e *Engine) adjustments(ctx context.Context, q Query, yield func(*billing.Charge) error) error {
	list, err := e.cfg.Ledger.Adjustments(ctx, q.From, q.To)
	if err != nil {
		return err
	}
	for i := range list {
		a := &list[i]
		account := a.Account
		if account == "" {
			account = e.cfg.Account(a.Project)
		}
		if q.Through != 0 && a.Record > q.Through {
			continue
		}
		if (q.Project != "" && a.Project != q.Project) || (q.Account != "" && account != q.Account) {
			continue
		}
		at := a.At.UnixMilli()
		if err := yield(&billing.Charge{
			Kind: billing.Adjustment, From: at, To: at, Account: account, Project: a.Project, Adjustment: a.ID + ": " + a.Reason,
			List: a.Amount, Billed: a.Amount, Effective: a.Amount,
		}); err != nil {
			return err
		}
	}
	return nil
}

func (q *Query) filter() ledger.Filter {
	return ledger.Filter{Namespace: q.Project, Pod: q.Pod, UID: q.UID, From: q.From, To: q.To, Through: q.Through}
}

// cuts are the sorted instants within (from, to) that no line may cross.
func cuts(from, to int64, lists ...[]int64) []int64 {
	all := slices.DeleteFunc(slices.Concat(lists...), func(t int64) bool { return t <= from || t >= to })
	slices.Sort(all)
	return slices.Compact(all)
}
