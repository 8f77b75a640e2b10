package role

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/cmd/swell/plans"
	"swell.dev/swell/cmd/swell/spending"
	"swell.dev/swell/controlplane"
	"swell.dev/swell/controlplane/apiserver"
	"swell.dev/swell/controlplane/budgets"
	"swell.dev/swell/internal/fixed"
)

// account is whose a project is.
func (c *controlPlane) account(project string) string { return c.accounts.Of(project) }

// newBudgets makes what watches budgets. Its Run begins when the API is there.
func (c *controlPlane) newBudgets() error {
	c.meter = spending.New(spending.Config{Ledger: c.ledger, Books: c.books, Plans: c.savingsPlans, Account: c.account})
	var err error
	c.budgets, err = budgets.New(budgets.Config{
		Store: c.store, Log: c.log, Spending: c.spending, Account: c.account,
		End: func(ctx context.Context, key controlplane.Key, uid, why string) error {
			return c.api.Evict(ctx, controlplane.Eviction{Key: key, UID: uid, Reason: controlplane.Overspent, Message: why})
		},
		Record: func(ctx context.Context, about controlplane.Object, kind, reason, message string) {
			c.log.Warn("budget", "reason", reason, "message", message)
			c.api.RecordBudget(ctx, about, kind, reason, message)
		},
	})
	return err
}

// watchBudgets runs until ctx ends.
func (c *controlPlane) watchBudgets(ctx context.Context) error {
	defer c.meter.Close()
	return c.budgets.Run(ctx)
}

// spending is the meter's, in the unit that budgets count in.
func (c *controlPlane) spending(ctx context.Context, now time.Time, since []time.Time) ([]map[string]budgets.Spending, error) {
	list, err := c.meter.Spending(ctx, now, since)
	if err != nil {
		return nil, err
	}
	out := make([]map[string]budgets.Spending, len(list))
	for i, projects := range list {
		out[i] = make(map[string]budgets.Spending, len(projects))
		for name, p := range projects {
			out[i][name] = budgets.Spending{Spent: millionths(p.Spent), PerHour: millionths(p.PerHour), First: p.First}
		}
	}
	return out, nil
}

// millionths are whole 1e-6 of the currency, rounded down: nothing is spent before it is.
func millionths(m billing.Money) int64 {
	v, err := fixed.Parse(m.FixedBy(6, billing.Down), 6)
	if err != nil {
		return math.MaxInt64
	}
	return v
}

// slotsClosed reports namespaces for which no slots are to be made ready: their pods would be refused.
func (c *controlPlane) slotsClosed(namespace string) bool {
	return c.budgets != nil && c.budgets.Closed(namespace)
}

// market is what savings plans are bought on: what the price book that holds now offers.
func (c *controlPlane) market() plans.Market {
	return plans.Market{Currency: c.books.Currency(), Offers: func() []billing.Offer {
		if b := c.books.At(time.Now().UnixMilli()); b != nil {
			return b.Offers
		}
		return nil
	}}
}

// mayMove answers why a namespace may not be made an account's: what was invoiced to one account can't become another's.
func (c *controlPlane) mayMove(ctx context.Context, namespace, account string) error {
	var since time.Time
	from, known := c.accounts.Known(namespace)
	if ns, ok := c.store.Get(controlplane.Key{Resource: "namespaces", Name: namespace}); ok {
		from, known, since = v1alpha1.AccountOf(ns.GetLabels()), true, ns.GetCreationTimestamp().Time
	}
	if !known || from == account {
		return nil
	}
	invoices, err := c.ledger.Invoices(ctx)
	if err != nil {
		return err
	}
	if err := plans.Invoiced(invoices, since, from, account); err != nil {
		return fmt.Errorf("it is account %s's, and %w: use another namespace for account %s", from, err, account)
	}
	return nil
}

// mayReturn answers why a plan can't be returned: what it has paid for is invoiced.
func (c *controlPlane) mayReturn(ctx context.Context, p *v1alpha1.SavingsPlan) error {
	invoices, err := c.ledger.Invoices(ctx)
	if err != nil {
		return err
	}
	if err := plans.Invoiced(invoices, p.Status.StartTime.Time); err != nil {
		return fmt.Errorf("it has been active, and %w", err)
	}
	return nil
}

// sales sells savings plans, and begins what is told of them.
func (c *controlPlane) sales() apiserver.Sales {
	m := c.market()
	advisor := &plans.Advisor{Market: m, Engine: c.costs, Plans: c.savingsPlans}
	advisor.AddTo(&c.billing)
	c.keeper = plans.NewKeeper(c.store, c.costs, c.log)
	return apiserver.Sales{Complete: m.Complete, Validate: m.Validate, Forecast: advisor.Forecast, MayReturn: c.mayReturn, Changed: c.keeper.Changed}
}

// savingsPlans are those that were bought, returned ones too.
func (c *controlPlane) savingsPlans() []*billing.Plan {
	list, _ := c.store.List("savingsplans", "")
	out := make([]*billing.Plan, 0, len(list))
	for _, o := range list {
		p, err := plans.Plan(o.(*v1alpha1.SavingsPlan))
		if err != nil { // it was validated when it was bought
			c.log.Error("bills are made without a savings plan", "cause", err)
			continue
		}
		out = append(out, p)
	}
	return out
}

// budgetMetrics tells of budgets.
type budgetMetrics struct{ budgets *budgets.Controller }

var (
	budgetLabels    = []string{"kind", "namespace", "budget", "account"}
	budgetAmount    = prometheus.NewDesc("swell_budget_amount", "What a month may cost, in the price book's currency.", budgetLabels, nil)
	budgetSpent     = prometheus.NewDesc("swell_budget_spent", "What the present month has cost.", budgetLabels, nil)
	budgetRatio     = prometheus.NewDesc("swell_budget_spent_ratio", "Spent of the amount.", budgetLabels, nil)
	budgetRefused   = prometheus.NewDesc("swell_budget_refused_total", "Creates and larger sizes that spent budgets refused.", nil, nil)
	budgetPodsEnded = prometheus.NewDesc("swell_budget_pods_ended_total", "Pods that spent budgets ended.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m budgetMetrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements prometheus.Collector.
func (m budgetMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.budgets.Stats()
	for _, b := range s.Budgets {
		kind := "Budget"
		if b.Account != "" {
			kind = "AccountBudget"
		}
		send := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, kind, b.Namespace, b.Name, b.Account)
		}
		send(budgetAmount, float64(b.Amount)/1e6)
		if b.Spent >= 0 {
			send(budgetSpent, float64(b.Spent)/1e6)
			send(budgetRatio, float64(b.Spent)/float64(b.Amount))
		}
	}
	out <- prometheus.MustNewConstMetric(budgetRefused, prometheus.CounterValue, float64(s.Refused))
	out <- prometheus.MustNewConstMetric(budgetPodsEnded, prometheus.CounterValue, float64(s.Ended))
}
