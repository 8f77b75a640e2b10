package plans

import (
	"fmt"
	"time"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
)

// parseZone reads a name of the IANA's time zone database.
func parseZone(name string) (*time.Location, error) {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, fmt.Errorf("time zone %q: want a name of the IANA's database, such as Asia/Shanghai", name)
	}
	return zone, nil
}

// Plan answers a stored plan as bills are made by.
func Plan(p *v1alpha1.SavingsPlan) (*billing.Plan, error) {
	wrong := func(err error) (*billing.Plan, error) { return nil, fmt.Errorf("savings plan %s: %w", p.Name, err) }
	zone, err := parseZone(p.Spec.TimeZone)
	if err != nil {
		return wrong(err)
	}
	commitment, err := billing.ParseMoney(p.Spec.Commitment)
	if err != nil {
		return wrong(err)
	}
	out := &billing.Plan{
		Name: p.Name, UID: string(p.UID), Zone: zone, Start: p.Status.StartTime.Time, End: p.Status.EndTime.Time, Commitment: commitment,
		Scope:  billing.Scope{Account: p.Spec.Scope.Account, Project: p.Spec.Scope.Project, Class: p.Spec.Scope.ComputeClass},
		Bought: p.CreationTimestamp.Time, Returned: p.Status.ReturnedAt.Time,
	}
	if p.Spec.Interval == v1alpha1.SavingsHour {
		out.Interval = billing.Hour
	}
	for _, d := range p.Spec.Discounts {
		discount, err := billing.ParseDiscount(d.Discount)
		if err != nil {
			return wrong(err)
		}
		out.Discounts = append(out.Discounts, billing.PlanDiscount{Class: d.ComputeClass, Resource: d.Resource, Model: d.Model, Region: d.Region, Discount: discount})
	}
	return out, nil
}

// Kept is the part of a plan's status that outlives the control plane: what the purchase and a return fixed.
func Kept(st v1alpha1.SavingsPlanStatus) v1alpha1.SavingsPlanStatus {
	return v1alpha1.SavingsPlanStatus{StartTime: st.StartTime, EndTime: st.EndTime, ReturnableUntil: st.ReturnableUntil, ReturnedAt: st.ReturnedAt}
}
