package focus

// Type of a column, as FOCUS calls it.
type Type uint8

// The types.
const (
	String Type = iota
	Decimal
	DateTime
	JSON
)

var typeNames = []string{"String", "Decimal", "Date/Time", "JSON"}

func (t Type) String() string { return typeNames[t] }

// Level says who must have a column.
type Level uint8

// The levels; a custom column is the writer's own.
const (
	Mandatory Level = iota
	Conditional
	Recommended
	Custom
)

// Column of a dataset.
type Column struct {
	Name     string
	Type     Type
	Nullable bool
	Level    Level
	in       Version
	written  bool // by us; the others are known to the validator
}

const (
	nullable = true
	required = false
	ours     = true
	others   = false
)

// costAndUsage are the dataset's columns, in the order that FOCUS wants them in: by name, its own ones before
// custom ones. Those that aren't ours say something that Swell doesn't have: charges that are split after they are
// priced, reservations of capacity, kinds of accounts, a second currency. A share of a GPU is a thing with a price,
// not a part of somebody else's charge, hence no Allocated columns.
var costAndUsage = []Column{
	{"AllocatedMethodDetails", JSON, nullable, Recommended, Version14, others},
	{"AllocatedMethodId", String, nullable, Conditional, Version14, others},
	{"AllocatedResourceId", String, nullable, Conditional, Version14, others},
	{"AllocatedResourceName", String, nullable, Conditional, Version14, others},
	{"AllocatedTags", JSON, nullable, Conditional, Version14, others},
	{"AvailabilityZone", String, nullable, Recommended, everyVersion, others},
	{"BilledCost", Decimal, required, Mandatory, everyVersion, ours},
	{"BillingAccountId", String, required, Mandatory, everyVersion, ours},
	{"BillingAccountName", String, nullable, Mandatory, everyVersion, ours},
	{"BillingAccountType", String, required, Conditional, everyVersion, others},
	{"BillingCurrency", String, required, Mandatory, everyVersion, ours},
	{"BillingPeriodEnd", DateTime, required, Mandatory, everyVersion, ours},
	{"BillingPeriodStart", DateTime, required, Mandatory, everyVersion, ours},
	{"CapacityReservationId", String, nullable, Conditional, everyVersion, others},
	{"CapacityReservationStatus", String, nullable, Conditional, everyVersion, others},
	{"ChargeCategory", String, required, Mandatory, everyVersion, ours},
	{"ChargeClass", String, nullable, Mandatory, everyVersion, ours},
	{"ChargeDescription", String, nullable, Mandatory, everyVersion, ours},
	{"ChargeFrequency", String, required, Recommended, everyVersion, ours},
	{"ChargePeriodEnd", DateTime, required, Mandatory, everyVersion, ours},
	{"ChargePeriodStart", DateTime, required, Mandatory, everyVersion, ours},
	{"CommitmentDiscountCategory", String, nullable, Conditional, everyVersion, ours},
	{"CommitmentDiscountId", String, nullable, Conditional, everyVersion, ours},
	{"CommitmentDiscountName", String, nullable, Conditional, everyVersion, ours},
	{"CommitmentDiscountQuantity", Decimal, nullable, Conditional, everyVersion, ours},
	{"CommitmentDiscountStatus", String, nullable, Conditional, everyVersion, ours},
	{"CommitmentDiscountType", String, nullable, Conditional, everyVersion, ours},
	{"CommitmentDiscountUnit", String, nullable, Conditional, everyVersion, ours},
	{"CommitmentProgramEligibilityDetails", JSON, nullable, Conditional, Version14, ours},
	{"ConsumedQuantity", Decimal, nullable, Conditional, everyVersion, ours},
	{"ConsumedUnit", String, nullable, Conditional, everyVersion, ours},
	{"ContractApplied", JSON, nullable, Conditional, Version14, ours},
	{"ContractedCost", Decimal, required, Mandatory, everyVersion, ours},
	{"ContractedUnitPrice", Decimal, nullable, Conditional, everyVersion, ours},
	{"EffectiveCost", Decimal, required, Mandatory, everyVersion, ours},
	{"HostProviderName", String, nullable, Mandatory, Version14, ours},
	{"InvoiceDetailId", String, nullable, Conditional, Version14, ours},
	{"InvoiceId", String, nullable, Conditional, everyVersion, ours},
	{"InvoiceIssuerName", String, required, Mandatory, everyVersion, ours},
	{"ListCost", Decimal, required, Mandatory, everyVersion, ours},
	{"ListUnitPrice", Decimal, nullable, Conditional, everyVersion, ours},
	{"PricingCategory", String, nullable, Conditional, everyVersion, ours},
	{"PricingCurrency", String, nullable, Conditional, Version12, others},
	{"PricingCurrency", String, required, Conditional, Version14, others},
	{"PricingCurrencyContractedUnitPrice", Decimal, nullable, Conditional, everyVersion, others},
	{"PricingCurrencyEffectiveCost", Decimal, nullable, Conditional, Version12, others},
	{"PricingCurrencyEffectiveCost", Decimal, required, Conditional, Version14, others},
	{"PricingCurrencyListUnitPrice", Decimal, nullable, Conditional, everyVersion, others},
	{"PricingQuantity", Decimal, nullable, Mandatory, everyVersion, ours},
	{"PricingUnit", String, nullable, Mandatory, everyVersion, ours},
	{"ProviderName", String, required, Mandatory, Version12, ours},
	{"PublisherName", String, required, Mandatory, Version12, ours},
	{"RegionId", String, nullable, Conditional, everyVersion, ours},
	{"RegionName", String, nullable, Conditional, everyVersion, ours},
	{"ResourceId", String, nullable, Conditional, everyVersion, ours},
	{"ResourceName", String, nullable, Conditional, everyVersion, ours},
	{"ResourceType", String, nullable, Conditional, everyVersion, ours},
	{"ServiceCategory", String, required, Mandatory, everyVersion, ours},
	{"ServiceName", String, required, Mandatory, everyVersion, ours},
	{"ServiceProviderName", String, required, Mandatory, Version14, ours},
	{"ServiceSubcategory", String, required, Recommended, everyVersion, ours},
	{"SkuId", String, nullable, Conditional, everyVersion, ours},
	{"SkuMeter", String, nullable, Conditional, everyVersion, ours},
	{"SkuPriceDetails", JSON, nullable, Conditional, everyVersion, ours},
	{"SkuPriceId", String, nullable, Conditional, everyVersion, ours},
	{"SubAccountId", String, nullable, Conditional, everyVersion, ours},
	{"SubAccountName", String, nullable, Conditional, everyVersion, ours},
	{"SubAccountType", String, nullable, Conditional, everyVersion, others},
	{"Tags", JSON, nullable, Conditional, everyVersion, ours},

	{"x_SwellAdjustmentId", String, nullable, Custom, everyVersion, ours},
	{"x_SwellBurstQuantity", Decimal, nullable, Custom, everyVersion, ours},
	{"x_SwellComputeClass", String, nullable, Custom, everyVersion, ours},
	{"x_SwellCorrectedInvoiceId", String, nullable, Custom, everyVersion, ours},
	{"x_SwellGeneration", Decimal, nullable, Custom, everyVersion, ours},
	{"x_SwellGpuModel", String, nullable, Custom, everyVersion, ours},
	{"x_SwellMinimumDuration", String, nullable, Custom, everyVersion, ours},
	{"x_SwellNodeName", String, nullable, Custom, everyVersion, ours},
	{"x_SwellPriceVersion", String, nullable, Custom, everyVersion, ours},
	{"x_SwellQualityOfService", String, nullable, Custom, everyVersion, ours},
	{"x_SwellSequence", Decimal, nullable, Custom, everyVersion, ours},
}

// contractCommitment are the columns of 1.4's dataset of that name. Payment is never partly upfront, and there is one
// currency.
var contractCommitment = []Column{
	{"BillingCurrency", String, nullable, Mandatory, Version14, ours},
	{"ContractCommitmentApplicability", JSON, required, Mandatory, Version14, ours},
	{"ContractCommitmentBenefitCategory", String, required, Mandatory, Version14, ours},
	{"ContractCommitmentCategory", String, required, Mandatory, Version14, ours},
	{"ContractCommitmentCost", Decimal, nullable, Mandatory, Version14, ours},
	{"ContractCommitmentCreated", DateTime, required, Mandatory, Version14, ours},
	{"ContractCommitmentDescription", String, nullable, Mandatory, Version14, ours},
	{"ContractCommitmentDiscountPercentage", Decimal, nullable, Mandatory, Version14, ours},
	{"ContractCommitmentDurationType", String, required, Mandatory, Version14, ours},
	{"ContractCommitmentFulfillmentInterval", String, required, Mandatory, Version14, ours},
	{"ContractCommitmentId", String, required, Mandatory, Version14, ours},
	{"ContractCommitmentLastUpdated", DateTime, required, Mandatory, Version14, ours},
	{"ContractCommitmentLifecycleStatus", String, required, Mandatory, Version14, ours},
	{"ContractCommitmentModel", String, required, Mandatory, Version14, ours},
	{"ContractCommitmentOfferCategory", String, required, Mandatory, Version14, ours},
	{"ContractCommitmentPaymentInterval", String, required, Mandatory, Version14, ours},
	{"ContractCommitmentPaymentModel", String, required, Mandatory, Version14, ours},
	{"ContractCommitmentPaymentUpfrontPercentage", Decimal, required, Conditional, Version14, others},
	{"ContractCommitmentPeriodEnd", DateTime, required, Mandatory, Version14, ours},
	{"ContractCommitmentPeriodStart", DateTime, required, Mandatory, Version14, ours},
	{"ContractCommitmentQuantity", Decimal, nullable, Mandatory, Version14, ours},
	{"ContractCommitmentType", String, required, Mandatory, Version14, ours},
	{"ContractCommitmentUnit", String, nullable, Mandatory, Version14, ours},
	{"ContractId", String, required, Mandatory, Version14, ours},
	{"ContractPeriodEnd", DateTime, required, Mandatory, Version14, ours},
	{"ContractPeriodStart", DateTime, required, Mandatory, Version14, ours},
	{"InvoiceIssuerName", String, required, Mandatory, Version14, ours},
	{"PricingCurrency", String, required, Conditional, Version14, others},
	{"PricingCurrencyContractCommitmentCost", Decimal, nullable, Conditional, Version14, others},
	{"ServiceProviderName", String, required, Mandatory, Version14, ours},

	{"x_SwellCommitment", Decimal, nullable, Custom, Version14, ours},
	{"x_SwellDiscounts", JSON, nullable, Custom, Version14, ours},
	{"x_SwellTimeZone", String, nullable, Custom, Version14, ours},
}

// invoiceDetail are the columns of 1.4's dataset of that name.
var invoiceDetail = []Column{
	{"BilledCost", Decimal, required, Mandatory, Version14, ours},
	{"BillingAccountId", String, required, Mandatory, Version14, ours},
	{"BillingCurrency", String, required, Mandatory, Version14, ours},
	{"BillingPeriodEnd", DateTime, required, Mandatory, Version14, ours},
	{"BillingPeriodStart", DateTime, required, Mandatory, Version14, ours},
	{"ChargeCategory", String, required, Mandatory, Version14, ours},
	{"InvoiceDetailCreated", DateTime, required, Mandatory, Version14, ours},
	{"InvoiceDetailDescription", String, nullable, Mandatory, Version14, ours},
	{"InvoiceDetailGrain", JSON, nullable, Mandatory, Version14, ours},
	{"InvoiceDetailId", String, required, Mandatory, Version14, ours},
	{"InvoiceDetailLastUpdated", DateTime, required, Mandatory, Version14, ours},
	{"InvoiceId", String, required, Mandatory, Version14, ours},
	{"InvoiceIssueDate", DateTime, nullable, Mandatory, Version14, ours},
	{"InvoiceIssueStatus", String, required, Mandatory, Version14, ours},
	{"InvoiceIssuerName", String, required, Mandatory, Version14, ours},
	{"PaymentCurrency", String, required, Conditional, Version14, others},
	{"PaymentCurrencyBilledCost", Decimal, required, Conditional, Version14, others},
	{"PaymentCurrencyInvoiceDetailId", String, required, Conditional, Version14, others},
	{"PaymentDueDate", DateTime, nullable, Mandatory, Version14, ours},
	{"PaymentTerms", String, required, Mandatory, Version14, ours},
	{"PurchaseOrderNumber", String, nullable, Conditional, Version14, others},
	{"ReferenceInvoiceId", String, required, Mandatory, Version14, ours},
}

// billingPeriod are the columns of 1.4's dataset of that name.
var billingPeriod = []Column{
	{"BillingPeriodCreated", DateTime, required, Mandatory, Version14, ours},
	{"BillingPeriodEnd", DateTime, required, Mandatory, Version14, ours},
	{"BillingPeriodLastUpdated", DateTime, required, Mandatory, Version14, ours},
	{"BillingPeriodStart", DateTime, required, Mandatory, Version14, ours},
	{"BillingPeriodStatus", String, required, Mandatory, Version14, ours},
	{"InvoiceIssuerName", String, required, Mandatory, Version14, ours},
}

// known are the columns that a version of a dataset has.
func known(v Version, d Dataset) []Column {
	var out []Column
	for _, c := range [][]Column{costAndUsage, contractCommitment, invoiceDetail, billingPeriod}[d] {
		if c.in&v != 0 {
			out = append(out, c)
		}
	}
	return out
}

// Columns are those that Swell writes.
func Columns(v Version, d Dataset) []Column {
	var out []Column
	for _, c := range known(v, d) {
		if c.written {
			out = append(out, c)
		}
	}
	return out
}

// layout finds columns by name.
type layout struct {
	columns []Column
	index   map[string]int
}

func layoutOf(v Version, d Dataset) *layout {
	l := &layout{columns: Columns(v, d), index: map[string]int{}}
	for i, c := range l.columns {
		l.index[c.Name] = i
	}
	return l
}

// Row is what is said in each of a layout's columns.
type Row []Value

// set says something in a column; columns that the version doesn't have are left out.
func (l *layout) set(row Row, name string, v Value) {
	if i, ok := l.index[name]; ok {
		row[i] = v
	}
}
