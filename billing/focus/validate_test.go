package focus

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// memory is a file in memory, whose cells tests change.
type memory struct {
	header []string
	rows   [][]string
	at     int
}

func (m *memory) names() []string              { return m.header }
func (m *memory) physical(int) (Type, bool)    { return 0, false }
func (m *memory) column(name string) int       { return slices.Index(m.header, name) }
func (m *memory) get(row int, n string) string { return m.rows[row][m.column(n)] }
func (m *memory) set(row int, n, v string)     { m.rows[row][m.column(n)] = v }

func (m *memory) next() ([]field, error) {
	if m.at == len(m.rows) {
		return nil, io.EOF
	}
	fields := make([]field, len(m.header))
	for i, s := range m.rows[m.at] {
		fields[i] = field{s, s == ""}
	}
	m.at++
	return fields, nil
}

// find answers the first row for which the columns say the values.
func (m *memory) find(t *testing.T, pairs ...string) int {
	t.Helper()
	for row := range m.rows {
		match := true
		for i := 0; i < len(pairs); i += 2 {
			match = match && m.get(row, pairs[i]) == pairs[i+1]
		}
		if match {
			return row
		}
	}
	t.Fatalf("no row with %v", pairs)
	return 0
}

func read(t testing.TB, b []byte) *memory {
	t.Helper()
	all, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return &memory{header: all[0], rows: all[1:]}
}

func violations(t *testing.T, m *memory, v Version, d Dataset) []Violation {
	t.Helper()
	m.at = 0
	r, err := Validate(m, v, d)
	if err != nil {
		t.Fatal(err)
	}
	return r.Violations
}

// TestBrokenRules breaks rules one by one in a file that keeps them all, and wants each found where it is broken.
func TestBrokenRules(t *testing.T) {
	used := []string{"CommitmentDiscountStatus", "Used"}
	left := []string{"CommitmentDiscountStatus", "Unused"}
	bought := []string{"ChargeCategory", "Purchase"}
	plain := []string{"ChargeCategory", "Usage", "CommitmentDiscountId", "", "ChargeClass", "", "InvoiceId", ""}
	given := []string{"ChargeCategory", "Adjustment"}
	corrected := []string{"ChargeClass", "Correction"}
	for _, c := range []struct {
		in     Version
		row    []string
		column string
		value  string
		finds  string // column and part of the rule
	}{
		{everyVersion, plain, "BilledCost", "", "BilledCost MUST NOT be null"},
		{everyVersion, plain, "BilledCost", "1,5", "BilledCost MUST be of type Decimal"},
		{everyVersion, plain, "BilledCost", "+1.5", "BilledCost MUST be of type Decimal"},
		{everyVersion, plain, "BilledCost", "¥1", "BilledCost MUST be of type Decimal"},
		{everyVersion, plain, "BillingCurrency", "yuan", "BillingCurrency MUST conform to CurrencyFormat"},
		{everyVersion, plain, "BillingAccountId", "", "BillingAccountId MUST NOT be null"},
		{everyVersion, plain, "ChargePeriodStart", "2026-10-01", "ChargePeriodStart MUST be of type Date/Time"},
		{everyVersion, plain, "ChargePeriodStart", "2026-10-01T00:00:00+00:00", "ChargePeriodStart MUST be of type Date/Time"},
		{everyVersion, plain, "ChargePeriodStart", "2026-13-01T00:00:00Z", "ChargePeriodStart MUST be of type Date/Time"},
		{everyVersion, plain, "ChargePeriodEnd", "2026-10-01T00:00:00Z", "ChargePeriodEnd MUST be the exclusive end"},
		{everyVersion, plain, "BillingPeriodEnd", "2026-10-01T00:00:00Z", "BillingPeriodEnd MUST be the exclusive end"},
		{everyVersion, plain, "BillingPeriodStart", "2026-10-20T00:00:00Z", "ChargePeriodStart SHOULD be in the billing period"},
		{everyVersion, corrected, "BillingPeriodStart", "2026-09-01T00:00:00Z", "ChargePeriodStart SHOULD be before the billing period"},
		{everyVersion, plain, "ChargeCategory", "Use", "ChargeCategory MUST be one of the allowed values"},
		{everyVersion, corrected, "ChargeClass", "correction", "ChargeClass MUST be one of the allowed values"},
		{everyVersion, plain, "ChargeFrequency", "Daily", "ChargeFrequency MUST be one of the allowed values"},
		{everyVersion, bought, "ChargeFrequency", "Usage-Based", `ChargeFrequency MUST NOT be "Usage-Based"`},
		{everyVersion, plain, "ChargeDescription", "", "ChargeDescription SHOULD NOT be null"},
		{everyVersion, plain, "ServiceCategory", "Computing", "ServiceCategory MUST be one of the allowed values"},
		{everyVersion, plain, "ServiceSubcategory", "Object Storage", "ServiceSubcategory MUST be one of the allowed values, and have the ServiceCategory"},
		{everyVersion, plain, "ListCost", "2.88", "ListCost MUST equal the product of ListUnitPrice and PricingQuantity"},
		{everyVersion, plain, "PricingQuantity", "48.0000000000000001", "ListCost MUST equal the product"},
		{everyVersion, plain, "ContractedUnitPrice", "0.07", "ContractedCost MUST equal the product of ContractedUnitPrice and PricingQuantity"},
		{everyVersion, plain, "ListUnitPrice", "-0.06", "ListUnitPrice MUST be a non-negative"},
		{everyVersion, plain, "ContractedUnitPrice", "-0.06", "ContractedUnitPrice MUST be a non-negative"},
		{everyVersion, plain, "ListUnitPrice", "", "ListUnitPrice MUST NOT be null when ChargeCategory"},
		{everyVersion, plain, "PricingQuantity", "", "PricingQuantity MUST NOT be null when ChargeCategory"},
		{everyVersion, plain, "PricingQuantity", "", "PricingUnit MUST be null when PricingQuantity is null"},
		{everyVersion, plain, "PricingUnit", "", "PricingUnit MUST NOT be null when PricingQuantity is not null"},
		{everyVersion, plain, "PricingCategory", "", "PricingCategory MUST NOT be null when ChargeCategory"},
		{everyVersion, plain, "PricingCategory", "Spot", "PricingCategory MUST be one of the allowed values"},
		{everyVersion, plain, "PricingCategory", "Committed", `CommitmentDiscountId MUST NOT be null when PricingCategory is "Committed"`},
		{everyVersion, used, "PricingCategory", "Standard", `PricingCategory MUST be "Committed"`},
		{everyVersion, plain, "SkuId", "", "SkuId MUST NOT be null"},
		{everyVersion, plain, "SkuId", "", "SkuMeter MUST be null when SkuId is null"},
		{everyVersion, plain, "SkuMeter", "", "SkuMeter SHOULD NOT be null"},
		{everyVersion, plain, "SkuPriceId", "", "SkuPriceId MUST NOT be null"},
		{everyVersion, plain, "SkuPriceId", "", "SkuPriceDetails MUST be null when SkuPriceId is null"},
		{Version14, plain, "SkuPriceId", "", "ConsumedQuantity MUST be null when SkuPriceId is null"},
		{everyVersion, plain, "SkuId", "another", "SkuPriceId MUST have one and only one parent SkuId"},
		{everyVersion, plain, "SkuPriceDetails", `{"CoreCount":4}`, "SkuPriceId MUST have the same SkuPriceDetails"},
		{everyVersion, plain, "SkuPriceDetails", `{"CoreCount":"4"}`, "SkuPriceDetails MUST have keys that FOCUS defines"},
		{everyVersion, plain, "SkuPriceDetails", `{"Cores":4}`, "SkuPriceDetails MUST have keys that FOCUS defines"},
		{everyVersion, plain, "ServiceCategory", "Storage", "ServiceName MUST have one and only one ServiceCategory"},
		{everyVersion, plain, "ConsumedQuantity", "", "ConsumedQuantity MUST NOT be null when"},
		{everyVersion, plain, "ConsumedUnit", "", "ConsumedUnit MUST NOT be null"},
		{everyVersion, left, "ConsumedQuantity", "1", "ConsumedQuantity MUST be null when"},
		{everyVersion, bought, "ConsumedQuantity", "1", "ConsumedQuantity MUST be null when"},
		{everyVersion, bought, "EffectiveCost", "1.5", `EffectiveCost MUST be 0 when ChargeCategory is "Purchase"`},
		{Version14, plain, "EffectiveCost", "1", `EffectiveCost MUST equal BilledCost when ChargeCategory is "Usage" or "Purchase"`},
		{Version12, given, "EffectiveCost", "1", "EffectiveCost MUST match BilledCost"},
		{everyVersion, given, "ListCost", "1", "ListCost MUST match BilledCost"},
		{everyVersion, given, "ContractedCost", "1", "ContractedCost MUST match BilledCost"},
		{Version14, used, "BilledCost", "0.648", "BilledCost MUST be 0 for charges that are fully covered"},
		{everyVersion, used, "EffectiveCost", "0.6480000000000000001", "EffectiveCost MUST be, summed over a commitment's usage, the sum of BilledCost"},
		{everyVersion, bought, "BilledCost", "1.6", "EffectiveCost MUST be, summed over a commitment's usage, the sum of BilledCost"},
		{everyVersion, used, "CommitmentDiscountStatus", "", "EffectiveCost MUST be, summed over a commitment's usage, what is Used"},
		{everyVersion, used, "CommitmentDiscountStatus", "", "CommitmentDiscountStatus MUST NOT be null when CommitmentDiscountId"},
		{everyVersion, used, "CommitmentDiscountStatus", "used", "CommitmentDiscountStatus MUST be one of the allowed values"},
		{everyVersion, plain, "CommitmentDiscountStatus", "Used", "CommitmentDiscountStatus MUST be null when CommitmentDiscountId is null"},
		{everyVersion, plain, "CommitmentDiscountName", "x", "CommitmentDiscountName MUST be null when CommitmentDiscountId is null"},
		{everyVersion, used, "CommitmentDiscountCategory", "", "CommitmentDiscountCategory MUST NOT be null"},
		{everyVersion, used, "CommitmentDiscountCategory", "Money", "CommitmentDiscountCategory MUST be one of the allowed values"},
		{everyVersion, used, "CommitmentDiscountType", "", "CommitmentDiscountType MUST NOT be null"},
		{everyVersion, used, "CommitmentDiscountUnit", "", "CommitmentDiscountUnit MUST NOT be null"},
		{everyVersion, used, "CommitmentDiscountUnit", "Hours", "CommitmentDiscountId MUST have a CommitmentDiscountUnit that remains"},
		{everyVersion, used, "CommitmentDiscountQuantity", "", "CommitmentDiscountQuantity MUST NOT be null"},
		{everyVersion, plain, "CommitmentDiscountQuantity", "1", "CommitmentDiscountQuantity MUST be null when CommitmentDiscountId is null"},
		{Version14, left, "ResourceId", "other", "CommitmentDiscountId MUST be equal to ResourceId"},
		{Version14, bought, "ResourceId", "other", "ContractApplied MUST have the ResourceId"},
		{Version14, used, "ContractApplied", `{"Elements":[]}`, "ContractApplied MUST conform to ContractAppliedObject"},
		{Version14, used, "ContractApplied", `{"Elements":[{"ContractId":"x","ContractCommitmentId":"y"}]}`, "ContractApplied MUST conform to ContractAppliedObject"},
		{Version14, used, "ContractApplied", `{"Elements":[{"ContractId":"x","ContractCommitmentId":"5f0c7c1e-0000-4000-8000-000000000001","ContractCommitmentAppliedCost":1}]}`, "ContractApplied MUST have one and only one ContractId"},
		{Version14, used, "ContractApplied", `[]`, "ContractApplied MUST conform to JsonObjectFormat"},
		{Version14, used, "CommitmentProgramEligibilityDetails", `{"CommitmentPrograms":[{"ProgramType":"Other"}]}`, "CommitmentProgramEligibilityDetails MUST have the CommitmentDiscountType"},
		{Version14, used, "CommitmentProgramEligibilityDetails", `{"CommitmentPrograms":[{"Type":"Other"}]}`, "CommitmentProgramEligibilityDetails MUST conform to CommitmentProgram"},
		{Version14, plain, "HostProviderName", "", "HostProviderName MUST NOT be null"},
		{everyVersion, []string{"RegionId", "eu-1"}, "RegionName", "", "RegionName MUST NOT be null"},
		{everyVersion, []string{"RegionId", "eu-1"}, "RegionId", "", "RegionName MUST be null"},
		{everyVersion, plain, "ResourceType", "", "ResourceType MUST NOT be null"},
		{everyVersion, plain, "ResourceId", "", "ResourceName MUST be null"},
		{everyVersion, plain, "SubAccountName", "", "SubAccountName MUST NOT be null"},
		{everyVersion, plain, "SubAccountId", "", "SubAccountName MUST be null"},
		{Version14, plain, "InvoiceId", "i-1", "InvoiceDetailId MUST NOT be null"},
		{Version14, plain, "InvoiceDetailId", "i-1", "InvoiceDetailId MUST be null"},
		{everyVersion, plain, "Tags", "app=web", "Tags MUST conform to KeyValueFormat"},
		{everyVersion, plain, "Tags", `{"a":{"b":1}}`, "Tags MUST conform to KeyValueFormat"},
		{everyVersion, plain, "Tags", `{"a":[1]}`, "Tags MUST conform to KeyValueFormat"},
		{everyVersion, plain, "Tags", `{"a":1,"a":2}`, "Tags MUST conform to KeyValueFormat"},
		{everyVersion, plain, "Tags", `{"a":1} `, ""},
		{everyVersion, plain, "Tags", `{"a":1}{}`, "Tags MUST conform to KeyValueFormat"},
		{everyVersion, plain, "InvoiceIssuerName", "  ", "InvoiceIssuerName SHOULD conform to StringHandling"},
		{everyVersion, plain, "ResourceName", "N/A", "ResourceName MUST conform to NullHandling"},
		{everyVersion, corrected, "ListCost", "1", "ListCost MUST equal the product"},
	} {
		for _, v := range []Version{Version12, Version14} {
			if c.in&v == 0 {
				continue
			}
			s := october(t)
			s.opts.Version = v
			m := read(t, s.csv(t, s.opts))
			row := m.find(t, c.row...)
			m.set(row, c.column, c.value)
			found := violations(t, m, v, CostAndUsage)
			if c.finds == "" {
				if len(found) > 0 {
					t.Errorf("FOCUS %s: %s %q: found %v", v, c.column, c.value, found)
				}
				continue
			}
			ok := slices.ContainsFunc(found, func(f Violation) bool {
				return strings.HasPrefix(f.Column+" "+f.Rule, c.finds) && (f.Row == row+1 || f.Row == 0 || strings.Contains(f.Rule, "one and only one") || strings.Contains(f.Rule, "same") || strings.Contains(f.Rule, "remains"))
			})
			if !ok {
				t.Errorf("FOCUS %s: %s %q of row %d: found %v, want %s", v, c.column, c.value, row+1, found, c.finds)
			}
		}
	}
}

// TestEveryRuleCanBeBroken: of each rule of rows there are values for which it is found, and only then.
func TestEveryRuleCanBeBroken(t *testing.T) {
	pool := []string{"", "0", "1", "-1", "2", "x", "Usage", "Purchase", "Tax", "Credit", "Adjustment", "Correction", "Used", "Unused", "Committed", "Standard", "Usage-Based",
		"Spend", "Discount", "Availability", "Continuous", "Full Period", "All Upfront", "No Upfront", "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", "{}", `{"a":1}`}
	for _, r := range rules {
		for _, v := range []Version{Version12, Version14} {
			if r.in&v == 0 {
				continue
			}
			c := newChecker(&memory{header: r.columns()}, v, r.dataset)
			fields := make([]field, len(c.names))
			broken, kept := false, false
			var try func(i int)
			try = func(i int) {
				if i == len(fields) {
					if r.broken(&record{c, fields}) != "" {
						broken = true
					} else {
						kept = true
					}
					return
				}
				for _, s := range pool {
					if fields[i] = (field{s, s == ""}); broken && kept {
						return
					}
					try(i + 1)
				}
			}
			try(0)
			if !broken || !kept {
				t.Errorf("FOCUS %s: %s %s: broken %v, kept %v by no values", v, r.column, r.text, broken, kept)
			}
			for _, name := range r.columns() {
				if !slices.ContainsFunc(known(v, r.dataset), func(c Column) bool { return c.Name == name }) {
					t.Errorf("FOCUS %s has no column %s: rule %s", v, name, r.text)
				}
			}
		}
	}
}

// TestHeaders: a file's columns are checked before its rows.
func TestHeaders(t *testing.T) {
	s := october(t)
	s.opts.Version = Version14
	good := read(t, s.csv(t, s.opts))
	for _, col := range Columns(Version14, CostAndUsage) {
		m := &memory{}
		drop := good.column(col.Name)
		m.header = slices.Delete(slices.Clone(good.header), drop, drop+1)
		for _, row := range good.rows {
			m.rows = append(m.rows, slices.Delete(slices.Clone(row), drop, drop+1))
		}
		found := violations(t, m, Version14, CostAndUsage)
		var want []string
		switch col.Level {
		case Mandatory:
			want = []string{rulePresent}
		case Recommended:
			want = []string{ruleRecommended}
		}
		var got []string
		for _, f := range found {
			if f.Column == col.Name {
				got = append(got, f.Rule)
			}
		}
		if !slices.Equal(got, want) || len(found) != len(want) {
			t.Errorf("without %s: %v, want %v", col.Name, found, want)
		}
	}
	for name, c := range map[string]struct{ old, new, rule string }{
		"other version's": {"x_SwellNodeName", "ProviderName", ruleKnown},
		"no prefix":       {"x_SwellNodeName", "NodeName", ruleKnown},
		"form":            {"x_SwellNodeName", "x_swell_node", ruleCustomName},
		"order":           {"Tags", "x_Tags", ruleOrder},
		"twice":           {"RegionName", "RegionId", ruleOnce},
	} {
		m := &memory{header: slices.Clone(good.header), rows: good.rows}
		m.header[good.column(c.old)] = c.new
		if found := violations(t, m, Version14, CostAndUsage); !slices.ContainsFunc(found, func(f Violation) bool { return f.Rule == c.rule }) {
			t.Errorf("%s: %v, want %s", name, found, c.rule)
		}
	}
}

// TestBrokenCommitments breaks rules of the contract commitment dataset.
func TestBrokenCommitments(t *testing.T) {
	s := october(t)
	s.opts.Version = Version14
	for _, c := range []struct{ column, value, finds string }{
		{"ContractCommitmentApplicability", "", "ContractCommitmentApplicability MUST NOT be null"},
		{"ContractCommitmentApplicability", "{}", "ContractCommitmentApplicability MUST conform to ContractCommitmentApplicabilityObject"},
		{"ContractCommitmentApplicability", `{"IsGlobalScope":true,"IsComplexScope":true}`, "ContractCommitmentApplicability MUST conform to ContractCommitmentApplicabilityObject"},
		{"ContractCommitmentApplicability", `{"IsGlobalScope":true,"Applicability":{"Cost":1.5}}`, "ContractCommitmentApplicability MUST conform to ContractCommitmentApplicabilityObject"},
		{"ContractCommitmentApplicability", `{"InclusionOperator":"Xor","Inclusions":[{"Dimension":"SkuId","Operator":"In","Values":["a"]}]}`, "ContractCommitmentApplicability MUST conform to ContractCommitmentApplicabilityObject"},
		{"ContractCommitmentApplicability", `{"InclusionOperator":"And","Inclusions":[{"Dimension":"SkuId","Operator":"Is","Values":["a"]}]}`, "ContractCommitmentApplicability MUST conform to ContractCommitmentApplicabilityObject"},
		{"ContractCommitmentApplicability", `{"InclusionOperator":"And","Inclusions":[{"Dimension":"SkuId","Operator":"In","Values":["*","a"]}]}`, "ContractCommitmentApplicability MUST conform to ContractCommitmentApplicabilityObject"},
		{"ContractCommitmentApplicability", `{"IsComplexScope":true,"Why":"x"}`, "ContractCommitmentApplicability MUST conform to ContractCommitmentApplicabilityObject"},
		{"ContractCommitmentApplicability", `{"IsComplexScope":true,"x_Why":"x"}`, ""},
		{"ContractCommitmentCost", "", "ContractCommitmentCost MUST NOT be null"},
		{"ContractCommitmentDiscountPercentage", "55", "ContractCommitmentDiscountPercentage MUST be a value between"},
		{"ContractCommitmentDurationType", "a month", "ContractCommitmentDurationType SHOULD be a positive number"},
		{"ContractCommitmentFulfillmentInterval", "Full Period", "ContractCommitmentFulfillmentInterval MUST NOT be"},
		{"ContractCommitmentFulfillmentInterval", "Day", "ContractCommitmentFulfillmentInterval MUST be one of"},
		{"ContractCommitmentLastUpdated", "2020-01-01T00:00:00Z", "ContractCommitmentLastUpdated MUST be greater"},
		{"ContractCommitmentPaymentModel", "All Upfront", `ContractCommitmentPaymentInterval MUST be "One-Time"`},
		{"ContractCommitmentPeriodEnd", "2026-10-01T00:00:00Z", "ContractCommitmentPeriodEnd MUST be the exclusive end"},
		{"ContractCommitmentUnit", "Hours", "ContractCommitmentUnit MUST be null"},
		{"ContractCommitmentId", "5f0c7c1e-0000-4000-8000-000000000002", "ContractCommitmentId MUST be a unique identifier"},
	} {
		var b bytes.Buffer
		w, err := NewCSV(&b, Columns(Version14, ContractCommitment))
		if err != nil {
			t.Fatal(err)
		}
		if err := WriteCommitments(s.opts, s.plans, day(10), w); err != nil {
			t.Fatal(err)
		}
		m := read(t, b.Bytes())
		m.set(0, c.column, c.value)
		found := violations(t, m, Version14, ContractCommitment)
		switch {
		case c.finds == "" && len(found) > 0:
			t.Errorf("%s %q: found %v", c.column, c.value, found)
		case c.finds != "" && !slices.ContainsFunc(found, func(f Violation) bool { return strings.HasPrefix(f.Column+" "+f.Rule, c.finds) }):
			t.Errorf("%s %q: found %v, want %s", c.column, c.value, found, c.finds)
		}
	}
}

// TestFilesThatCantBeRead are errors, not violations.
func TestFilesThatCantBeRead(t *testing.T) {
	if _, err := OpenCSV(strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "it is empty") {
		t.Error(err)
	}
	if _, err := OpenParquet(strings.NewReader("not Parquet"), 11); err == nil || !strings.Contains(err.Error(), "Parquet file") {
		t.Error(err)
	}
	table, err := OpenCSV(strings.NewReader("A,B\n1,2\n1,2,3\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Validate(table, Version12, CostAndUsage); err == nil || !strings.Contains(err.Error(), "row 2") {
		t.Error(err)
	}
}

// TestManyViolations: they are told up to a number, and counted.
func TestManyViolations(t *testing.T) {
	m := &memory{header: []string{"BilledCost"}}
	for range 3 * MaxViolations {
		m.rows = append(m.rows, []string{"x"})
	}
	r, err := Validate(m, Version12, CostAndUsage)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Violations) != MaxViolations || r.Musts < 3*MaxViolations || r.Rows != 3*MaxViolations {
		t.Errorf("%d told of %d in %d rows", len(r.Violations), r.Musts, r.Rows)
	}
	if s := fmt.Sprint(r.Violations[MaxViolations-1]); !strings.Contains(s, "row ") || !strings.Contains(s, "BilledCost MUST be of type Decimal") {
		t.Error(s)
	}
}
