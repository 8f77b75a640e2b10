package focus

import (
	"fmt"

	"swell.dev/swell/billing"
)

// emit writes what was summed as a row. How what is covered, left over and above the commitment is said is FOCUS's
// way with spend commitments: the purchase bills the commitment and has no effective cost; what it covers has an
// effective cost and isn't billed.
func (e *Exporter) emit(k *rowKey, s *sum) error {
	if k.correction != "" && s.quantity == 0 && s.list.IsZero() && s.billed.IsZero() && s.effective.IsZero() {
		return nil // what was taken and given evens out
	}
	clear(e.row)
	e.set("BillingAccountId", str(k.account))
	e.set("BillingAccountName", str(k.account))
	e.set("BillingCurrency", str(e.opts.Currency))
	e.set("ChargePeriodStart", at(k.from))
	e.set("ChargePeriodEnd", at(ceilSecond(k.to)))
	for _, name := range []string{"HostProviderName", "InvoiceIssuerName", "ProviderName", "PublisherName", "ServiceProviderName"} {
		e.set(name, str(e.opts.Provider))
	}
	e.set("ServiceCategory", str("Compute"))
	e.set("ServiceSubcategory", str("Serverless Compute"))
	e.set("ServiceName", str("Swell"))
	e.set("SubAccountId", str(k.project))
	e.set("SubAccountName", str(k.project))
	e.set("BilledCost", num(s.billed))
	e.set("EffectiveCost", num(s.effective))
	switch k.kind {
	case billing.Usage:
		if err := e.setUsage(k, s); err != nil {
			return err
		}
	case billing.Purchase, billing.Unused:
		e.setPlan(k, s)
	case billing.Adjustment:
		e.set("ChargeCategory", str("Adjustment"))
		e.set("ChargeFrequency", str("One-Time"))
		e.set("ChargeDescription", str("Adjustment "+k.adjustment))
		e.set("ListCost", num(s.billed))
		e.set("ContractedCost", num(s.billed))
		e.set("x_SwellAdjustmentId", str(k.adjustment))
	default:
		return fmt.Errorf("charge of %s from %s: kind %d", k.account, stamp(k.from), k.kind)
	}
	if err := e.setInvoice(k); err != nil {
		return err
	}
	return e.out.Write(e.row)
}

func (e *Exporter) set(name string, v Value) { e.layout.set(e.row, name, v) }

func (e *Exporter) setUsage(k *rowKey, s *sum) error {
	if want := s.quantity.At(k.item.Price); s.list != want {
		return fmt.Errorf("charge of pod %s (%s) from %s: %s at %s is %s at list, not %s", s.pod, k.uid, stamp(k.from), s.quantity.Hours(), k.item.Price, want, s.list)
	}
	x := e.texts.item(k.item)
	e.set("ChargeCategory", str("Usage"))
	e.set("ChargeFrequency", str("Usage-Based"))
	description := x.description
	if k.minimum {
		description += ", up to the minimum duration"
		e.set("x_SwellMinimumDuration", str("true"))
	}
	if k.plan != nil {
		description += ", covered by savings plan " + k.plan.Name
	}
	e.set("ChargeDescription", str(description))
	e.setPrice(x.sku, k.item.ID, x.meter, x.details, price(k.item.Price), hours(s.quantity), k.item.SKU.Resource.Unit())
	e.set("ListCost", num(s.list))
	e.set("ContractedCost", num(s.list))
	e.set("ConsumedQuantity", hours(s.quantity))
	e.set("ConsumedUnit", str(k.item.SKU.Resource.Unit()))
	e.set("CommitmentProgramEligibilityDetails", str(e.texts.eligibility(k.item, k.plan)))
	e.set("PricingCategory", str("Standard"))
	if k.plan != nil {
		e.set("PricingCategory", str("Committed"))
		e.setCommitment(k.plan, "Used", s.effective)
	}
	e.set("RegionId", str(s.region))
	e.set("RegionName", str(s.region))
	e.set("ResourceId", str(k.uid))
	e.set("ResourceName", str(s.pod))
	e.set("ResourceType", str("Pod"))
	e.set("Tags", str(s.tags))
	e.set("x_SwellComputeClass", str(s.class))
	e.set("x_SwellQualityOfService", str(s.qos))
	e.set("x_SwellNodeName", str(s.node))
	e.set("x_SwellPriceVersion", str(k.item.Version))
	e.set("x_SwellGpuModel", str(k.item.SKU.Model))
	if s.burst != 0 {
		e.set("x_SwellBurstQuantity", hours(s.burst))
	}
	if e.opts.Granularity == BySegment {
		e.set("x_SwellGeneration", whole(k.generation))
		e.set("x_SwellSequence", whole(k.sequence))
	}
	return nil
}

// setPlan says what a plan costs in an interval, and what the interval left of it. The unit that is bought is one of
// the currency's.
func (e *Exporter) setPlan(k *rowKey, s *sum) {
	x := e.texts.plan(k.plan)
	if k.kind == billing.Purchase {
		e.set("ChargeCategory", str("Purchase"))
		e.set("ChargeFrequency", str("Recurring"))
		e.set("ChargeDescription", str(x.purchase))
		e.set("PricingCategory", str("Standard"))
		e.setPlanPrice(x, s.billed)
		e.setCommitment(k.plan, "", s.billed)
	} else {
		e.set("ChargeCategory", str("Usage"))
		e.set("ChargeFrequency", str("Usage-Based"))
		e.set("ChargeDescription", str(x.unused))
		e.set("PricingCategory", str("Committed"))
		e.setPlanPrice(x, s.effective)
		e.setCommitment(k.plan, "Unused", s.effective)
	}
	e.set("ResourceId", str(k.plan.UID))
	e.set("ResourceName", str(k.plan.Name))
	e.set("ResourceType", str("Savings Plan"))
}

func (e *Exporter) setPlanPrice(x *planTexts, amount billing.Money) {
	e.setPrice(x.sku, x.sku, "Savings Plan Commitment", "", num(billing.MustMoney("1")), num(amount), x.unit)
	e.set("ListCost", num(amount))
	e.set("ContractedCost", num(amount))
}

func (e *Exporter) setPrice(sku, skuPrice, meter, details string, unitPrice, quantity Value, unit string) {
	e.set("SkuId", str(sku))
	e.set("SkuPriceId", str(skuPrice))
	e.set("SkuMeter", str(meter))
	e.set("SkuPriceDetails", str(details))
	e.set("ListUnitPrice", unitPrice)
	e.set("ContractedUnitPrice", unitPrice)
	e.set("PricingQuantity", quantity)
	e.set("PricingUnit", str(unit))
}

func (e *Exporter) setCommitment(p *billing.Plan, status string, amount billing.Money) {
	x := e.texts.plan(p)
	e.set("CommitmentDiscountCategory", str("Spend"))
	e.set("CommitmentDiscountId", str(p.UID))
	e.set("CommitmentDiscountName", str(p.Name))
	e.set("CommitmentDiscountType", str(x.kind))
	e.set("CommitmentDiscountStatus", str(status))
	e.set("CommitmentDiscountQuantity", num(amount))
	e.set("CommitmentDiscountUnit", str(x.unit))
	e.set("ContractApplied", str(applied(p, amount)))
}

// setInvoice says in which invoice the charge is, if it is in one, and in which period it is billed: that of its
// invoice or, as long as there is none, the month; a correction's is the first that isn't invoiced.
func (e *Exporter) setInvoice(k *rowKey) error {
	if k.correction != "" {
		e.set("ChargeClass", str("Correction"))
		e.set("x_SwellCorrectedInvoiceId", str(k.correction))
	}
	var from, to int64
	switch {
	case k.invoice != "":
		v := e.opts.invoice(k.invoice)
		if v == nil {
			return fmt.Errorf("charge of %s from %s: it is in invoice %s, which is unknown", k.account, stamp(k.from), k.invoice)
		}
		from, to = v.From, v.To
		e.set("InvoiceId", str(v.ID))
		e.set("InvoiceDetailId", str(detailID(k)))
	case k.correction != "":
		from, to = e.opts.openPeriod(k.account, e.opts.open(k.account, k.from))
	default:
		from, to = e.opts.openPeriod(k.account, k.from)
	}
	e.set("BillingPeriodStart", at(from))
	e.set("BillingPeriodEnd", at(to))
	return nil
}

// detailID is the line of an invoice that a charge is in: what a project used of an SKU, a plan, an adjustment.
func detailID(k *rowKey) string {
	switch k.kind {
	case billing.Usage:
		return k.project + "/" + k.item.ID
	case billing.Adjustment:
		return "adjustment/" + k.adjustment
	}
	return "savings-plan/" + k.plan.UID
}

// whole is a number of things: up to nine billion.
func whole(n int64) Value { return hours(billing.Quantity(n * 1_000_000_000)) }

// ceilSecond is the second in which a period ends: FOCUS's moments are whole seconds, and a period isn't empty.
func ceilSecond(ms int64) int64 { return (ms + 999) / 1000 * 1000 }
