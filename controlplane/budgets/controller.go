package budgets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"swell.dev/swell/controlplane"
)

type store interface {
	List(resource, namespace string) ([]controlplane.Object, uint64)
	Items(resource, namespace string) (controlplane.Items, uint64)
	Commit(context.Context, controlplane.Mutation) (controlplane.Object, error)
	Observe(controlplane.Key, func(controlplane.Object) controlplane.Object) (controlplane.Object, error)
}

// Config joins the controller to the rest of the control plane.
type Config struct {
	Store store
	// Spending answers what each project has cost since each of some times, the present included.
	Spending func(ctx context.Context, now time.Time, since []time.Time) ([]map[string]Spending, error)
	// Account answers whose a project is. It is quick.
	Account func(project string) string
	// End ends a pod, with its grace period. One that is gone or ends already is left alone.
	End func(ctx context.Context, key controlplane.Key, uid, why string) error
	// Record makes an event about a budget.
	Record func(ctx context.Context, about controlplane.Object, kind, reason, message string)

	Interval time.Duration // between two looks at the least; default 1 s
	Show     time.Duration // between two statuses that differ in amounts only; default 10 s
	Log      *slog.Logger
}

// Controller watches all budgets.
type Controller struct {
	cfg    Config
	denied atomic.Pointer[denials]
	count  counts
	wake   chan struct{} // holds a token when there is a budget that nothing is known of

	mu   sync.Mutex // guards book, and the order of denied
	book book
	last map[controlplane.Key]outcome // guarded by mu

	// What follows is Run's.
	shown   map[controlplane.Key]time.Time // when each status was written last
	trouble string                         // why spending isn't known, as was logged
}

type counts struct{ refused, ended atomic.Int64 }

// looksPause is how many times as long as a look takes there is at least until the next one.
const looksPause = 10

// New answers a controller that knows the stored budgets: those that were spent deny from here on. Run does the rest.
func New(cfg Config) (*Controller, error) {
	if cfg.Store == nil || cfg.Spending == nil || cfg.Account == nil || cfg.End == nil || cfg.Record == nil {
		return nil, errors.New("budgets: Store, Spending, Account, End and Record are required")
	}
	if cfg.Interval <= 0 {
		cfg.Interval = time.Second
	}
	if cfg.Show <= 0 {
		cfg.Show = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	c := &Controller{cfg: cfg, wake: make(chan struct{}, 1), shown: map[controlplane.Key]time.Time{}}
	c.Reload()
	return c, nil
}

// Spent answers why there may be no more and no larger pods in a namespace, nil if there may. It counts as a refusal.
func (c *Controller) Spent(namespace string) error {
	d := c.denied.Load()
	err := d.projects[namespace]
	if err == nil && len(d.accounts) > 0 {
		err = d.accounts[c.cfg.Account(namespace)]
	}
	if err != nil {
		c.count.refused.Add(1)
	}
	return err
}

// Closed reports that there may be no more and no larger pods in a namespace.
func (c *Controller) Closed(namespace string) bool {
	d := c.denied.Load()
	return d.projects[namespace] != nil || len(d.accounts) > 0 && d.accounts[c.cfg.Account(namespace)] != nil
}

// Reload looks at the budgets, of which one has changed. What is known of the spending is held against them when it
// returns; where nothing is known yet, that follows with the next look.
func (c *Controller) Reload() {
	c.mu.Lock()
	defer c.mu.Unlock()
	projects, _ := c.cfg.Store.List(budgetsResource, "")
	accounts, _ := c.cfg.Store.List(accountBudgetsResource, "")
	for _, err := range c.book.read(append(projects, accounts...)) {
		c.cfg.Log.Error("budget not watched", "cause", err)
	}
	c.lookLocked(time.Now())
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// lookLocked keeps alerts of a look that nobody has seen to yet.
func (c *Controller) lookLocked(now time.Time) {
	before := c.last
	var d *denials
	c.last, d = c.book.look(now, c.cfg.Account)
	for key, out := range c.last {
		if was, ok := before[key]; ok && len(was.alerts) > 0 {
			out.alerts = append(was.alerts, out.alerts...)
			c.last[key] = out
		}
	}
	c.denied.Store(d)
}

// Run looks at the spending until ctx ends. It is called once.
func (c *Controller) Run(ctx context.Context) error {
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		case <-next.C:
		}
		began := time.Now()
		if err := c.step(ctx, began); err != nil && ctx.Err() == nil {
			c.complain(err)
		}
		next.Reset(max(c.cfg.Interval, looksPause*time.Since(began)))
	}
}

func (c *Controller) complain(err error) {
	if text := err.Error(); text != c.trouble {
		c.trouble = text
		c.cfg.Log.Error("budgets", "cause", err)
	}
}

// step asks for the spending and does what follows from it.
func (c *Controller) step(ctx context.Context, now time.Time) error {
	c.mu.Lock()
	months := c.book.months(now)
	c.mu.Unlock()
	if len(months) == 0 {
		return nil
	}
	known, unknown := c.ask(ctx, now, months)
	c.mu.Lock()
	if unknown == nil {
		c.book.known = known
	}
	c.lookLocked(now)
	outcomes := c.last
	c.last = withoutAlerts(outcomes)
	c.mu.Unlock()
	if unknown == nil {
		c.trouble = ""
	}
	errs := []error{unknown}
	for key, out := range outcomes {
		if unknown != nil {
			out.status.UnknownReason = unknown.Error()
		}
		errs = append(errs, c.show(ctx, now, key, out))
		if out.stop {
			errs = append(errs, c.end(ctx, key, out.denied))
		}
	}
	return errors.Join(errs...)
}

func withoutAlerts(outcomes map[controlplane.Key]outcome) map[controlplane.Key]outcome {
	out := make(map[controlplane.Key]outcome, len(outcomes))
	for key, o := range outcomes {
		o.alerts = nil
		out[key] = o
	}
	return out
}

func (c *Controller) ask(ctx context.Context, now time.Time, months []time.Time) (map[time.Time]map[string]Spending, error) {
	list, err := c.cfg.Spending(ctx, now, months)
	if err != nil {
		return nil, fmt.Errorf("what was spent isn't known: %w", err)
	}
	known := make(map[time.Time]map[string]Spending, len(months))
	for i, m := range months {
		known[m] = list[i]
	}
	return known, nil
}
