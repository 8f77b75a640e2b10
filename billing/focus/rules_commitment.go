package focus

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
)

// cc makes a rule of the contract commitment dataset.
func cc(column string, with []string, text string, condition, holds func(*record) bool) rule {
	return when(Version14, ContractCommitment, column, with, text, condition, holds)
}

func ccAllowed(column string, values ...string) rule {
	return allowed(Version14, ContractCommitment, column, values...)
}

var durationForm = regexp.MustCompile(`^[1-9][0-9]* (Minute|Hour|Day|Week|Month|Quarter|Year)s?$`)

var contractCommitmentRules = concat(
	[]rule{
		ccAllowed("ContractCommitmentBenefitCategory", "Discount", "Entitlement", "Availability", "Other"),
		ccAllowed("ContractCommitmentCategory", "Spend", "Usage"),
		ccAllowed("ContractCommitmentFulfillmentInterval", "Hourly", "Daily", "Weekly", "Monthly", "Quarterly", "Semi-Annual", "Annual", "Full Period", "Transactional", "Custom"),
		ccAllowed("ContractCommitmentLifecycleStatus", "Proposed", "Pending", "Active", "Exhausted", "Expired", "Canceled", "Superseded"),
		ccAllowed("ContractCommitmentModel", "Continuous", "Discontinuous"),
		ccAllowed("ContractCommitmentOfferCategory", "Public", "Negotiated"),
		ccAllowed("ContractCommitmentPaymentInterval", "One-Time", "Monthly", "Quarterly", "Semi-Annual", "Annual", "Custom"),
		ccAllowed("ContractCommitmentPaymentModel", "No Upfront", "Partial Upfront", "All Upfront"),
		cc("ContractCommitmentCost", []string{"ContractCommitmentCategory"}, `MUST NOT be null when ContractCommitmentCategory is "Spend"`,
			says("ContractCommitmentCategory", "Spend"), notNull("ContractCommitmentCost")),
		cc("ContractCommitmentQuantity", []string{"ContractCommitmentCategory"}, `MUST NOT be null when ContractCommitmentCategory is "Usage"`,
			says("ContractCommitmentCategory", "Usage"), notNull("ContractCommitmentQuantity")),
		cc("ContractCommitmentDescription", nil, "SHOULD NOT be null", always, notNull("ContractCommitmentDescription")),
		cc("ContractCommitmentDiscountPercentage", []string{"ContractCommitmentBenefitCategory"}, `MUST NOT be null when ContractCommitmentBenefitCategory is "Discount"`,
			says("ContractCommitmentBenefitCategory", "Discount"), notNull("ContractCommitmentDiscountPercentage")),
		cc("ContractCommitmentDiscountPercentage", []string{"ContractCommitmentBenefitCategory"}, `MUST be null when ContractCommitmentBenefitCategory is "Availability"`,
			says("ContractCommitmentBenefitCategory", "Availability"), isNull("ContractCommitmentDiscountPercentage")),
		cc("ContractCommitmentDiscountPercentage", nil, "MUST be a value between 0.0 and 1.0", always, between("ContractCommitmentDiscountPercentage", 0, 1)),
		cc("ContractCommitmentDurationType", nil, `SHOULD be a positive number and a unit of time, such as "3 Months"`,
			notNull("ContractCommitmentDurationType"), func(r *record) bool { return durationForm.MatchString(r.text("ContractCommitmentDurationType")) }),
		cc("ContractCommitmentFulfillmentInterval", []string{"ContractCommitmentModel"}, `MUST NOT be "Full Period" when ContractCommitmentModel is "Continuous"`,
			says("ContractCommitmentModel", "Continuous"), not(says("ContractCommitmentFulfillmentInterval", "Full Period"))),
		cc("ContractCommitmentLastUpdated", []string{"ContractCommitmentCreated"}, "MUST be greater than or equal to ContractCommitmentCreated",
			always, earlier("ContractCommitmentCreated", "ContractCommitmentLastUpdated", true)),
		cc("ContractCommitmentPaymentInterval", []string{"ContractCommitmentPaymentModel"}, `MUST be "One-Time" when ContractCommitmentPaymentModel is "All Upfront"`,
			says("ContractCommitmentPaymentModel", "All Upfront"), says("ContractCommitmentPaymentInterval", "One-Time")),
		cc("ContractCommitmentPaymentUpfrontPercentage", []string{"ContractCommitmentPaymentModel"}, `MUST be 0.0 when ContractCommitmentPaymentModel is "No Upfront"`,
			says("ContractCommitmentPaymentModel", "No Upfront"), zero("ContractCommitmentPaymentUpfrontPercentage")),
		cc("ContractCommitmentPeriodEnd", []string{"ContractCommitmentPeriodStart"}, "MUST be the exclusive end of the commitment's period: after ContractCommitmentPeriodStart",
			always, earlier("ContractCommitmentPeriodStart", "ContractCommitmentPeriodEnd", false)),
		cc("ContractPeriodEnd", []string{"ContractPeriodStart"}, "MUST be the exclusive end of the contract's period: after ContractPeriodStart",
			always, earlier("ContractPeriodStart", "ContractPeriodEnd", false)),
		applicabilityRule("MUST conform to ContractCommitmentApplicabilityObject"),
	},
	nullTogether(Version14, ContractCommitment, "ContractCommitmentUnit", "ContractCommitmentQuantity"),
)

var (
	ruleOperators   = []string{"In", "NotIn", "StartsWith", "NotStartsWith", "Contains", "NotContains", "EndsWith", "Exists", "DoesNotExist"}
	applicabilities = []string{"IsGlobalScope", "IsComplexScope", "Applicability", "InclusionOperator", "Inclusions", "ExclusionOperator", "Exclusions"}
)

// applicabilityRule checks the object that says what a commitment covers.
func applicabilityRule(text string) rule {
	return object(Version14, ContractCommitment, "ContractCommitmentApplicability", nil, text, func(_ *record, o map[string]any) string {
		global, isComplex := o["IsGlobalScope"] == true, o["IsComplexScope"] == true
		_, included := o["Inclusions"]
		switch {
		case global && isComplex:
			return "its scope is global and complex at once"
		case (global || isComplex) && (included || o["InclusionOperator"] != nil):
			return "a global or complex scope has no inclusions"
		case !global && !isComplex && !included:
			return "it has neither inclusions nor a global or complex scope"
		}
		if p := custom(o, applicabilities...); p != "" {
			return p
		}
		if p := applicabilityRange(o); p != "" {
			return p
		}
		for _, kind := range []string{"Inclusion", "Exclusion"} {
			if _, ok := o[kind+"s"]; !ok {
				continue
			}
			if op := o[kind+"Operator"]; op != "And" && op != "Or" {
				return kind + "Operator is neither And nor Or"
			}
			list, problem := entries(o, kind+"s")
			if problem != "" {
				return problem
			}
			for _, e := range list {
				if p := scopeRuleProblem(e); p != "" {
					return p
				}
			}
		}
		return ""
	})
}

func scopeRuleProblem(e map[string]any) string {
	if s, ok := e["Dimension"].(string); !ok || s == "" {
		return "a rule has no Dimension"
	}
	if s, ok := e["Operator"].(string); !ok || !slices.Contains(ruleOperators, s) {
		return fmt.Sprintf("operator %v is none of FOCUS's", e["Operator"])
	}
	values, ok := e["Values"].([]any)
	if !ok || len(values) == 0 {
		return "a rule has no Values"
	}
	if slices.Contains(values, any("*")) && len(values) > 1 {
		return `the wildcard "*" isn't the only value`
	}
	return applicabilityRange(e)
}

// applicabilityRange: the parts of cost and usage that count are between nothing and all.
func applicabilityRange(o map[string]any) string {
	part, ok := o["Applicability"].(map[string]any)
	if !ok {
		return ""
	}
	for _, key := range []string{"Cost", "Usage"} {
		if n, ok := part[key].(json.Number); ok {
			if f, err := n.Float64(); err != nil || f < 0 || f > 1 {
				return fmt.Sprintf("Applicability.%s is %s", key, n)
			}
		}
	}
	return ""
}

// invoiceRules are those of the invoice detail and the billing period datasets.
var invoiceRules = []rule{
	allowed(Version14, InvoiceDetail, "ChargeCategory", "Usage", "Purchase", "Tax", "Credit", "Adjustment"),
	allowed(Version14, InvoiceDetail, "InvoiceIssueStatus", "Open", "Issued", "Voided"),
	when(Version14, InvoiceDetail, "InvoiceDetailDescription", nil, "SHOULD NOT be null", always, notNull("InvoiceDetailDescription")),
	when(Version14, InvoiceDetail, "InvoiceDetailLastUpdated", []string{"InvoiceDetailCreated"}, "MUST be greater than or equal to InvoiceDetailCreated",
		always, earlier("InvoiceDetailCreated", "InvoiceDetailLastUpdated", true)),
	when(Version14, InvoiceDetail, "BillingPeriodEnd", []string{"BillingPeriodStart"}, "MUST be the exclusive end of the billing period: after BillingPeriodStart",
		always, earlier("BillingPeriodStart", "BillingPeriodEnd", false)),
	allowed(Version14, BillingPeriod, "BillingPeriodStatus", "Open", "Closed"),
	when(Version14, BillingPeriod, "BillingPeriodLastUpdated", []string{"BillingPeriodCreated"}, "MUST be greater than or equal to BillingPeriodCreated",
		always, earlier("BillingPeriodCreated", "BillingPeriodLastUpdated", true)),
	when(Version14, BillingPeriod, "BillingPeriodEnd", []string{"BillingPeriodStart"}, "MUST be the exclusive end of the billing period: after BillingPeriodStart",
		always, earlier("BillingPeriodStart", "BillingPeriodEnd", false)),
}
