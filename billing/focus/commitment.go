package focus

import (
	"fmt"
	"strings"
	"time"

	"swell.dev/swell/billing"
)

// WriteCommitments writes savings plans as the contract commitment dataset, as they stand at a moment, and closes
// the writer, which was made with Columns(o.Version, ContractCommitment). A plan is a contract of one commitment.
func WriteCommitments(o Options, plans []*billing.Plan, now time.Time, out Writer) error {
	o.fill()
	l := layoutOf(o.Version, ContractCommitment)
	row := make(Row, len(l.columns))
	for _, p := range plans {
		clear(row)
		setCommitment(l, row, &o, p, now)
		if err := out.Write(row); err != nil {
			return err
		}
	}
	return out.Close()
}

func setCommitment(l *layout, row Row, o *Options, p *billing.Plan, now time.Time) {
	set := func(name string, v Value) { l.set(row, name, v) }
	intervals, fulfilment := intervalsOf(p)
	updated := p.Bought
	if !p.Returned.IsZero() {
		updated = p.Returned
	}
	set("BillingCurrency", str(o.Currency))
	set("ContractCommitmentApplicability", str(encode(applicabilityOf(p))))
	set("ContractCommitmentBenefitCategory", str("Discount"))
	set("ContractCommitmentCategory", str("Spend"))
	set("ContractCommitmentCost", num(times(p.Commitment, intervals)))
	set("ContractCommitmentCreated", at(p.Bought.UnixMilli()))
	set("ContractCommitmentDescription", str(describe(p, o.Currency)))
	set("ContractCommitmentDiscountPercentage", num(leastDiscount(p)))
	set("ContractCommitmentDurationType", str(durationOf(p)))
	set("ContractCommitmentFulfillmentInterval", str(fulfilment))
	set("ContractCommitmentId", str(p.UID))
	set("ContractCommitmentLastUpdated", at(updated.UnixMilli()))
	set("ContractCommitmentLifecycleStatus", str(statusOf(p, now)))
	set("ContractCommitmentModel", str("Continuous"))
	set("ContractCommitmentOfferCategory", str("Public"))
	set("ContractCommitmentPaymentInterval", str("Monthly"))
	set("ContractCommitmentPaymentModel", str("No Upfront"))
	set("ContractCommitmentType", str(kindOf(p.Interval)))
	set("ContractId", str(p.UID))
	for _, of := range []string{"Contract", "ContractCommitment"} {
		set(of+"PeriodStart", at(p.Start.UnixMilli()))
		set(of+"PeriodEnd", at(p.End.UnixMilli()))
	}
	set("InvoiceIssuerName", str(o.Provider))
	set("ServiceProviderName", str(o.Provider))
	set("x_SwellCommitment", num(p.Commitment))
	set("x_SwellDiscounts", str(encode(discountsOf(p))))
	set("x_SwellTimeZone", str(p.Zone.String()))
}

// intervalsOf counts the plan's intervals: calendar days of its zone, however long each is, or hours.
func intervalsOf(p *billing.Plan) (int, string) {
	if p.Interval == billing.Hour {
		return int(p.End.Sub(p.Start) / time.Hour), "Hourly"
	}
	return days(p), "Daily"
}

// days between the plan's midnights.
func days(p *billing.Plan) int {
	y, m, d := p.Start.In(p.Zone).Date()
	Y, M, D := p.End.In(p.Zone).Date()
	return int(time.Date(Y, M, D, 0, 0, 0, 0, time.UTC).Sub(time.Date(y, m, d, 0, 0, 0, 0, time.UTC)) / (24 * time.Hour))
}

func times(m billing.Money, n int) billing.Money {
	var sum billing.Money
	for ; n > 0; n /= 2 {
		if n%2 == 1 {
			sum = sum.Plus(m)
		}
		if n > 1 {
			m = m.Plus(m)
		}
	}
	return sum
}

// durationOf is the plan's term in the largest unit that it is whole in.
func durationOf(p *billing.Plan) string {
	y, m, d := p.Start.In(p.Zone).Date()
	Y, M, D := p.End.In(p.Zone).Date()
	months := (Y-y)*12 + int(M-m)
	switch {
	case d == D && months > 0 && months%12 == 0:
		return plural(months/12, "Year")
	case d == D && months > 0:
		return plural(months, "Month")
	}
	return plural(days(p), "Day")
}

func plural(n int, unit string) string {
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}

func statusOf(p *billing.Plan, now time.Time) string {
	switch {
	case !p.Returned.IsZero():
		return "Canceled"
	case now.Before(p.Start):
		return "Pending"
	case now.Before(p.End):
		return "Active"
	}
	return "Expired"
}

func describe(p *billing.Plan, currency string) string {
	var discounts []string
	for _, d := range p.Discounts {
		what := strings.Join(nonEmpty(d.Class, d.Resource, d.Model, d.Region), " ")
		if what == "" {
			what = "anything"
		}
		discounts = append(discounts, d.Discount.String()+" off "+what)
	}
	return fmt.Sprintf("Savings plan %s: %s %s per %s of %s, for %s", p.Name, p.Commitment, currency, p.Interval, p.Zone, strings.Join(discounts, ", "))
}

func nonEmpty(list ...string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// leastDiscount is the one that the plan gives on whatever it covers.
func leastDiscount(p *billing.Plan) billing.Money {
	least := billing.WholeDiscount
	for _, d := range p.Discounts {
		least = min(least, d.Discount)
	}
	return fraction(least)
}

// fraction writes a discount as a number below 1.
func fraction(d billing.Discount) billing.Money {
	return billing.Quantity(d).At(1_000_000_000_000_000) // 1e-9 × 1e-12 × 1e15 is a millionth
}

type discount struct {
	Discount string
	Class    string `json:",omitempty"`
	Resource string `json:",omitempty"`
	GpuModel string `json:",omitempty"`
	RegionID string `json:"RegionId,omitempty"`
}

type discounts struct {
	Discounts []discount
}

func discountsOf(p *billing.Plan) discounts {
	var out discounts
	for _, d := range p.Discounts {
		out.Discounts = append(out.Discounts, discount{Discount: fraction(d.Discount).String(), Class: d.Class, Resource: d.Resource, GpuModel: d.Model, RegionID: d.Region})
	}
	return out
}
