package costs

import (
	"context"

	"swell.dev/swell/billing"
)

// use yields the charges of use: a line that plans pay for in part is a charge for each part.
func (e *Engine) use(ctx context.Context, q Query, c *coverage, yield func(*billing.Charge) error) error {
	all := q
	all.Cuts = c.atoms
	if len(c.cells) > 0 {
		all.Pod, all.UID = "", "" // what falls to a pod depends on those of its project that share a plan with it
	}
	accounts := map[string]string{}
	var charge billing.Charge
	return e.lines(ctx, all, func(l *billing.Line) error {
		s := l.Segment
		account, known := accounts[s.Namespace]
		if !known {
			account = e.cfg.Account(s.Namespace)
			accounts[s.Namespace] = account
		}
		wanted := (q.Account == "" || account == q.Account) && (q.Pod == "" || s.Pod == q.Pod) && (q.UID == "" || s.PodUID == q.UID)
		left, burst := l.Quantity, l.Burst
		part := func(quantity billing.Quantity, p *billing.Plan, effective billing.Price) error {
			if quantity == 0 || !wanted {
				left -= quantity
				return nil
			}
			charge = billing.Charge{
				Kind: billing.Usage, From: l.From, To: l.To, Account: account, Project: s.Namespace, Segment: s, Item: l.Item,
				Quantity: quantity, Minimum: l.Minimum, Plan: p, List: quantity.At(l.Item.Price), Effective: quantity.At(effective),
			}
			if burst > 0 {
				charge.Burst = burst.Of(uint64(quantity), uint64(left))
				burst -= charge.Burst
			}
			if p == nil {
				charge.Billed = charge.List
			}
			left -= quantity
			return yield(&charge)
		}
		if share := c.cells[cellKey{c.atoms[atomOf(c.atoms, l.From)], s.Namespace, l.Item}]; share != nil {
			for i := range share.covers {
				v := &share.covers[i]
				if err := part(share.shares[i].Next(left), v.Plan, l.Item.Price.Off(v.Discount)); err != nil {
					return err
				}
			}
		}
		return part(left, nil, l.Item.Price)
	})
}

// planCharges yields what plans themselves cost: each interval's commitment when it begins, and when it is over what
// was left of it. What the present interval hasn't drawn yet isn't lost yet.
func (e *Engine) planCharges(q Query, c *coverage, yield func(*billing.Charge) error) error {
	for i := range c.uses {
		u := &c.uses[i]
		account, project := e.payer(u.Plan)
		if (q.Project != "" && project != q.Project) || (q.Account != "" && account != q.Account) || u.From > q.now.UnixMilli() {
			continue
		}
		of := billing.Charge{From: u.From, To: u.To, Account: account, Project: project, Plan: u.Plan}
		purchase := of
		purchase.Kind, purchase.Billed = billing.Purchase, u.Commitment
		if err := yield(&purchase); err != nil {
			return err
		}
		if u.Unused.IsZero() || u.To > q.now.UnixMilli() {
			continue
		}
		unused := of
		unused.Kind, unused.Effective = billing.Unused, u.Unused
		if err := yield(&unused); err != nil {
			return err
		}
	}
	return nil
}

// payer is who a plan's commitment is charged to.
func (e *Engine) payer(p *billing.Plan) (account, project string) {
	switch s := p.Scope; {
	case s.Project != "":
		return e.cfg.Account(s.Project), s.Project
	case s.Account != "":
		return s.Account, ""
	}
	return DefaultAccount, ""
}
