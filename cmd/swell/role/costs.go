package role

import (
	"context"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/cmd/swell/costs"
)

// openCosts makes the engine that works out bills, and its endpoints. A version of the price book that bills were
// made by stands for the same prices for ever.
func (c *controlPlane) openCosts(ctx context.Context) error {
	for _, b := range c.books.All() {
		if err := c.ledger.RememberBook(ctx, b.Version, b.Digest, string(b.Text)); err != nil {
			return err
		}
	}
	var err error
	if c.costs, err = costs.New(costs.Config{Ledger: c.ledger, Books: c.books, Plans: c.savingsPlans, Account: c.account}); err != nil {
		return err
	}
	c.costs.AddTo(&c.billing)
	c.costs.AddReports(&c.billing)
	c.costs.AddFOCUS(&c.billing, c.version)
	c.costs.AddInvoices(&c.billing, c.ledger)
	return nil
}

// podEnded notes when a pod ran, which its metered time is checked against.
func (c *controlPlane) podEnded(ctx context.Context, l usagev1.Lifecycle) error {
	return c.ledger.RecordLifecycles(ctx, []usagev1.Lifecycle{l})
}
