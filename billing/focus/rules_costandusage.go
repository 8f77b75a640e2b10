package focus

// Conditions that many rules have.
var (
	usage      = says("ChargeCategory", "Usage")
	purchase   = says("ChargeCategory", "Purchase")
	tax        = says("ChargeCategory", "Tax")
	regular    = not(says("ChargeClass", "Correction"))
	committed  = notNull("CommitmentDiscountId")
	unused     = says("CommitmentDiscountStatus", "Unused")
	priced     = all(either(usage, purchase), regular)
	pricedText = `MUST NOT be null when ChargeCategory is "Usage" or "Purchase" and ChargeClass is not "Correction"`
)

// cu makes a rule of the cost and usage dataset.
func cu(in Version, column string, with []string, text string, condition, holds func(*record) bool) rule {
	return when(in, CostAndUsage, column, with, text, condition, holds)
}

var costAndUsageRules = concat(
	allowedRules, periodRules, priceRules, costRules, commitmentRules, namingRules, jsonRules, allocationRules,
)

var allowedRules = []rule{
	allowed(everyVersion, CostAndUsage, "ChargeCategory", "Usage", "Purchase", "Tax", "Credit", "Adjustment"),
	allowed(everyVersion, CostAndUsage, "ChargeClass", "Correction"),
	allowed(everyVersion, CostAndUsage, "ChargeFrequency", "One-Time", "Recurring", "Usage-Based"),
	allowed(everyVersion, CostAndUsage, "CommitmentDiscountCategory", "Spend", "Usage"),
	allowed(everyVersion, CostAndUsage, "CommitmentDiscountStatus", "Used", "Unused"),
	allowed(everyVersion, CostAndUsage, "CapacityReservationStatus", "Used", "Unused"),
	allowed(everyVersion, CostAndUsage, "PricingCategory", "Standard", "Dynamic", "Committed", "Other"),
	allowed(everyVersion, CostAndUsage, "ServiceCategory", serviceCategories()...),
	cu(everyVersion, "ServiceSubcategory", []string{"ServiceCategory"}, "MUST be one of the allowed values, and have the ServiceCategory that they have",
		always, func(r *record) bool {
			parent, ok := serviceSubcategories[r.text("ServiceSubcategory")]
			return r.null("ServiceSubcategory") || (ok && parent == r.text("ServiceCategory"))
		}),
	cu(everyVersion, "ChargeFrequency", []string{"ChargeCategory"}, `MUST NOT be "Usage-Based" when ChargeCategory is "Purchase"`,
		purchase, not(says("ChargeFrequency", "Usage-Based"))),
}

var periodRules = []rule{
	cu(everyVersion, "BillingPeriodEnd", []string{"BillingPeriodStart"}, "MUST be the exclusive end of the billing period: after BillingPeriodStart",
		always, earlier("BillingPeriodStart", "BillingPeriodEnd", false)),
	cu(everyVersion, "ChargePeriodEnd", []string{"ChargePeriodStart"}, "MUST be the exclusive end of the charge period: after ChargePeriodStart",
		always, earlier("ChargePeriodStart", "ChargePeriodEnd", false)),
	// FOCUS leaves when a charge is billed to whoever bills it: this is how Swell does.
	cu(everyVersion, "ChargePeriodStart", []string{"BillingPeriodStart", "BillingPeriodEnd", "ChargeClass"},
		"SHOULD be in the billing period when ChargeClass is not \"Correction\"",
		regular, all(earlier("BillingPeriodStart", "ChargePeriodStart", true), earlier("ChargePeriodStart", "BillingPeriodEnd", false))),
	cu(everyVersion, "ChargePeriodStart", []string{"BillingPeriodStart", "ChargeClass"},
		"SHOULD be before the billing period when ChargeClass is \"Correction\": it corrects what was billed",
		not(regular), earlier("ChargePeriodStart", "BillingPeriodStart", false)),
}

var priceRules = concat(
	nullTogether(everyVersion, CostAndUsage, "PricingUnit", "PricingQuantity"),
	nullTogether(everyVersion, CostAndUsage, "ConsumedUnit", "ConsumedQuantity"),
	pricedRules("PricingQuantity", "PricingCategory", "SkuId", "SkuPriceId", "ListUnitPrice", "ContractedUnitPrice"),
	skuPriceRules("PricingQuantity", "PricingCategory", "ListUnitPrice", "ContractedUnitPrice", "ConsumedQuantity", "CommitmentDiscountQuantity"),
	[]rule{
		nullWithout(everyVersion, CostAndUsage, "SkuMeter", "SkuId"),
		nullWithout(everyVersion, CostAndUsage, "SkuPriceDetails", "SkuPriceId"),
		cu(everyVersion, "SkuMeter", []string{"SkuId"}, "SHOULD NOT be null when SkuId is not null", notNull("SkuId"), notNull("SkuMeter")),
		cu(everyVersion, "ListUnitPrice", nil, "MUST be a non-negative decimal value", always, atLeastZero("ListUnitPrice")),
		cu(everyVersion, "ContractedUnitPrice", nil, "MUST be a non-negative decimal value", always, atLeastZero("ContractedUnitPrice")),
		cu(Version14, "ListUnitPrice", []string{"SkuPriceId"}, "MUST NOT be null when SkuPriceId is not null", notNull("SkuPriceId"), notNull("ListUnitPrice")),
		cu(Version14, "ContractedUnitPrice", []string{"SkuPriceId"}, "MUST NOT be null when SkuPriceId is not null", notNull("SkuPriceId"), notNull("ContractedUnitPrice")),
		cu(everyVersion, "ConsumedQuantity", []string{"ChargeCategory", "CommitmentDiscountStatus"},
			`MUST be null when ChargeCategory is not "Usage" or CommitmentDiscountStatus is "Unused"`, either(not(usage), unused), isNull("ConsumedQuantity")),
		cu(everyVersion, "ConsumedQuantity", []string{"ChargeCategory", "CommitmentDiscountStatus", "ChargeClass"},
			`MUST NOT be null when ChargeCategory is "Usage", CommitmentDiscountStatus is not "Unused" and ChargeClass is not "Correction"`,
			all(usage, not(unused), regular), notNull("ConsumedQuantity")),
	},
)

// pricedRules: columns that what is used or bought has, and taxes haven't.
func pricedRules(columns ...string) []rule {
	var out []rule
	for _, c := range columns {
		out = append(out,
			cu(everyVersion, c, []string{"ChargeCategory", "ChargeClass"}, pricedText, priced, notNull(c)),
			cu(everyVersion, c, []string{"ChargeCategory"}, `MUST be null when ChargeCategory is "Tax"`, tax, isNull(c)))
	}
	return out
}

// skuPriceRules: columns that say nothing without an SKU's price.
func skuPriceRules(columns ...string) []rule {
	var out []rule
	for _, c := range columns {
		out = append(out, nullWithout(Version14, CostAndUsage, c, "SkuPriceId"))
	}
	return out
}

var costRules = []rule{
	product(CostAndUsage, "ListCost", "ListUnitPrice", "PricingQuantity"),
	product(CostAndUsage, "ContractedCost", "ContractedUnitPrice", "PricingQuantity"),
	cu(everyVersion, "ListCost", []string{"ListUnitPrice", "ChargeCategory", "BilledCost"},
		`MUST match BilledCost when ListUnitPrice is null and the charge is unrelated to others ("Credit", "Adjustment")`,
		all(isNull("ListUnitPrice"), says("ChargeCategory", "Credit", "Adjustment")), equal("ListCost", "BilledCost")),
	cu(everyVersion, "ContractedCost", []string{"ContractedUnitPrice", "ChargeCategory", "BilledCost"},
		`MUST match BilledCost when ContractedUnitPrice is null and the charge is unrelated to others ("Credit", "Adjustment")`,
		all(isNull("ContractedUnitPrice"), says("ChargeCategory", "Credit", "Adjustment")), equal("ContractedCost", "BilledCost")),
	cu(everyVersion, "EffectiveCost", []string{"ChargeCategory", "CommitmentDiscountId"},
		`MUST be 0 when ChargeCategory is "Purchase" and the purchase is intended to cover other charges`, all(purchase, committed), zero("EffectiveCost")),
	cu(Version12, "EffectiveCost", []string{"ChargeCategory", "BilledCost"},
		`MUST match BilledCost when the charge is unrelated to others ("Credit", "Adjustment")`, says("ChargeCategory", "Credit", "Adjustment"), equal("EffectiveCost", "BilledCost")),
	cu(Version14, "EffectiveCost", []string{"ChargeCategory", "BilledCost"},
		`MUST equal BilledCost when ChargeCategory is "Tax" or "Credit"`, says("ChargeCategory", "Tax", "Credit"), equal("EffectiveCost", "BilledCost")),
	cu(Version14, "EffectiveCost", []string{"ChargeCategory", "BilledCost", "CommitmentDiscountId"},
		`MUST equal BilledCost when ChargeCategory is "Usage" or "Purchase" and the charge neither covers others nor is covered`,
		all(either(usage, purchase), not(committed)), equal("EffectiveCost", "BilledCost")),
	cu(Version14, "BilledCost", []string{"ChargeCategory", "CommitmentDiscountId"},
		"MUST be 0 for charges that are fully covered by others", all(usage, committed), zero("BilledCost")),
}

var commitmentRules = concat(
	nullTogether(everyVersion, CostAndUsage, "CommitmentDiscountCategory", "CommitmentDiscountId"),
	nullTogether(everyVersion, CostAndUsage, "CommitmentDiscountType", "CommitmentDiscountId"),
	nullTogether(everyVersion, CostAndUsage, "CommitmentDiscountUnit", "CommitmentDiscountQuantity"),
	[]rule{
		nullWithout(everyVersion, CostAndUsage, "CommitmentDiscountName", "CommitmentDiscountId"),
		nullWithout(everyVersion, CostAndUsage, "CommitmentDiscountStatus", "CommitmentDiscountId"),
		cu(everyVersion, "CommitmentDiscountStatus", []string{"CommitmentDiscountId", "ChargeCategory"},
			`MUST NOT be null when CommitmentDiscountId is not null and ChargeCategory is "Usage"`, all(committed, usage), notNull("CommitmentDiscountStatus")),
		cu(everyVersion, "CommitmentDiscountQuantity", []string{"CommitmentDiscountId", "ChargeCategory", "ChargeClass"},
			`MUST NOT be null when CommitmentDiscountId is not null, ChargeCategory is "Usage" or "Purchase" and ChargeClass is not "Correction"`,
			all(committed, priced), notNull("CommitmentDiscountQuantity")),
		cu(everyVersion, "CommitmentDiscountQuantity", []string{"CommitmentDiscountId", "ChargeCategory"},
			`MUST be null when CommitmentDiscountId is null or ChargeCategory is neither "Usage" nor "Purchase"`,
			not(all(committed, either(usage, purchase))), isNull("CommitmentDiscountQuantity")),
		cu(everyVersion, "PricingCategory", []string{"CommitmentDiscountId", "ChargeCategory"},
			`MUST be "Committed" when the charge is subject to a commitment discount and is not its purchase`,
			all(committed, usage), either(isNull("PricingCategory"), says("PricingCategory", "Committed"))),
		cu(everyVersion, "CommitmentDiscountId", []string{"PricingCategory"},
			`MUST NOT be null when PricingCategory is "Committed": the charge is related to a commitment discount`, says("PricingCategory", "Committed"), committed),
		cu(Version14, "CommitmentDiscountId", []string{"ResourceId", "ChargeCategory", "CommitmentDiscountStatus"},
			`MUST be equal to ResourceId when the charge is the commitment discount's purchase or its unused portion`,
			all(committed, either(purchase, unused)), func(r *record) bool { return r.text("CommitmentDiscountId") == r.text("ResourceId") }),
	},
)

var namingRules = concat(
	nullTogether(everyVersion, CostAndUsage, "RegionName", "RegionId"),
	nullTogether(everyVersion, CostAndUsage, "ResourceType", "ResourceId"),
	nullTogether(everyVersion, CostAndUsage, "SubAccountName", "SubAccountId"),
	nullTogether(everyVersion, CostAndUsage, "SubAccountType", "SubAccountId"),
	nullTogether(Version14, CostAndUsage, "InvoiceDetailId", "InvoiceId"),
	[]rule{
		nullWithout(everyVersion, CostAndUsage, "ResourceName", "ResourceId"),
		nullWithout(everyVersion, CostAndUsage, "CapacityReservationStatus", "CapacityReservationId"),
		cu(everyVersion, "CapacityReservationStatus", []string{"CapacityReservationId", "ChargeCategory"},
			`MUST NOT be null when CapacityReservationId is not null and ChargeCategory is "Usage"`,
			all(notNull("CapacityReservationId"), usage), notNull("CapacityReservationStatus")),
		cu(everyVersion, "ChargeDescription", nil, "SHOULD NOT be null", always, notNull("ChargeDescription")),
		cu(Version14, "HostProviderName", []string{"ChargeCategory"}, "MUST NOT be null when the charge is for usage of infrastructure",
			usage, notNull("HostProviderName")),
	},
)

var allocationRules = concat(
	nullTogether(Version14, CostAndUsage, "AllocatedResourceName", "AllocatedResourceId"),
	[]rule{
		nullWithout(Version14, CostAndUsage, "AllocatedResourceId", "AllocatedMethodId"),
		nullWithout(Version14, CostAndUsage, "AllocatedMethodDetails", "AllocatedMethodId"),
		nullWithout(Version14, CostAndUsage, "AllocatedTags", "AllocatedMethodId"),
	},
)
