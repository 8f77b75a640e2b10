package focus

import (
	"fmt"
	"math/big"
	"slices"
)

// fileRule is one that rows keep together. It remembers little: a sum or a name for each commitment, SKU, invoice.
type fileRule interface {
	needs() []string
	add(*record)
	done(report func(Violation))
}

func fileRules(v Version, d Dataset) []fileRule {
	switch d {
	case CostAndUsage:
		list := []fileRule{
			&parent{child: "SkuPriceId", of: "SkuId", rule: "MUST have one and only one parent SkuId"},
			&parent{child: "SkuPriceId", of: "SkuPriceDetails", rule: "MUST have the same SkuPriceDetails in all charges"},
			&parent{child: "ServiceName", of: "ServiceCategory", rule: "MUST have one and only one ServiceCategory"},
			&parent{child: "CommitmentDiscountId", of: "CommitmentDiscountUnit", rule: "MUST have a CommitmentDiscountUnit that remains consistent"},
			&parent{child: "InvoiceId", of: "BillingAccountId", rule: "MUST be associated with one BillingAccountId"},
			&commitmentSums{version: v, by: map[string]*commitmentSum{}},
		}
		if v == Version14 {
			list = append(list, &commitmentParents{contracts: map[string]string{}})
		}
		return list
	case ContractCommitment:
		return []fileRule{&distinct{columns: []string{"ContractCommitmentId"}, rule: "MUST be a unique identifier"}}
	case InvoiceDetail:
		return []fileRule{
			&distinct{columns: []string{"InvoiceDetailId", "InvoiceId", "InvoiceIssuerName"}, rule: "MUST uniquely identify a record within an InvoiceId"},
			&parent{child: "InvoiceId", of: "BillingPeriodStart", rule: "MUST be of one billing period"},
		}
	}
	return []fileRule{&distinct{columns: []string{"BillingPeriodStart", "InvoiceIssuerName"}, rule: "MUST be there once for each InvoiceIssuerName"}}
}

// parent: what a column names has one of another column.
type parent struct {
	child, of, rule string
	parents         map[string]string
	problem         Violation
}

func (p *parent) needs() []string { return []string{p.child, p.of} }

func (p *parent) add(r *record) {
	if r.null(p.child) || r.null(p.of) {
		return
	}
	if p.parents == nil {
		p.parents = map[string]string{}
	}
	child, of := r.text(p.child), r.text(p.of)
	first, ok := p.parents[child]
	switch {
	case !ok:
		p.parents[child] = of
	case first != of && p.problem.Rule == "":
		p.problem = Violation{r.c.report.Rows, p.child, p.rule, fmt.Sprintf("%q has %q here, and %q before", child, of, first)}
	}
}

func (p *parent) done(report func(Violation)) {
	if p.problem.Rule != "" {
		report(p.problem)
	}
}

// distinct: no two rows say the same in some columns.
type distinct struct {
	columns []string
	rule    string
	seen    map[string]int
	problem Violation
}

func (d *distinct) needs() []string { return d.columns }

func (d *distinct) add(r *record) {
	key := r.show(d.columns...)
	if d.seen == nil {
		d.seen = map[string]int{}
	}
	if first, ok := d.seen[key]; !ok {
		d.seen[key] = r.c.report.Rows
	} else if d.problem.Rule == "" {
		d.problem = Violation{r.c.report.Rows, d.columns[0], d.rule, fmt.Sprintf("%s as in row %d", key, first)}
	}
}

func (d *distinct) done(report func(Violation)) {
	if d.problem.Rule != "" {
		report(d.problem)
	}
}

// commitmentSums: what covers costs what is covered. For each commitment discount the effective cost of its use is
// what its purchases are billed.
type commitmentSums struct {
	version Version
	by      map[string]*commitmentSum
}

type commitmentSum struct {
	used, unused, purchased big.Rat
	other                   big.Rat // effective cost of use that is neither used nor unused
	bought                  bool
	from, to                string // the charge periods of purchases
	usedFrom, usedTo        string // those of use
}

func (*commitmentSums) needs() []string {
	return []string{"CommitmentDiscountId", "CommitmentDiscountStatus", "ChargeCategory", "EffectiveCost", "BilledCost", "ChargePeriodStart", "ChargePeriodEnd"}
}

func (s *commitmentSums) add(r *record) {
	if r.null("CommitmentDiscountId") {
		return
	}
	sum := s.by[r.text("CommitmentDiscountId")]
	if sum == nil {
		sum = &commitmentSum{}
		s.by[r.text("CommitmentDiscountId")] = sum
	}
	effective, billed := r.number("EffectiveCost"), r.number("BilledCost")
	if effective == nil || billed == nil {
		return
	}
	from, to := r.text("ChargePeriodStart"), r.text("ChargePeriodEnd")
	switch {
	case purchase(r):
		sum.purchased.Add(&sum.purchased, billed)
		sum.bought = true
		widen(&sum.from, &sum.to, from, to)
		return
	case !usage(r):
		return
	case r.is("CommitmentDiscountStatus", "Used"):
		sum.used.Add(&sum.used, effective)
	case unused(r):
		sum.unused.Add(&sum.unused, effective)
	default:
		sum.other.Add(&sum.other, effective)
	}
	widen(&sum.usedFrom, &sum.usedTo, from, to)
}

func widen(from, to *string, f, t string) {
	if *from == "" || f < *from {
		*from = f
	}
	*to = max(*to, t)
}

// comparable: FOCUS 1.4 lets sums differ where only one side of a commitment is in the file.
func (s *commitmentSums) comparable(sum *commitmentSum) bool {
	return s.version == Version12 || (sum.bought && sum.usedFrom >= sum.from && sum.usedTo <= sum.to)
}

func (s *commitmentSums) done(report func(Violation)) {
	ids := make([]string, 0, len(s.by))
	for id := range s.by {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		sum := s.by[id]
		if sum.other.Sign() != 0 {
			report(Violation{0, "EffectiveCost", "MUST be, summed over a commitment's usage, what is Used and what is Unused", fmt.Sprintf("%q has %s besides", id, exactly(&sum.other))})
		}
		var used big.Rat
		used.Add(&sum.used, &sum.unused)
		used.Add(&used, &sum.other)
		if s.comparable(sum) && used.Cmp(&sum.purchased) != 0 {
			report(Violation{0, "EffectiveCost", "MUST be, summed over a commitment's usage, the sum of BilledCost of its purchases",
				fmt.Sprintf("%q has %s of usage and %s of purchases", id, exactly(&used), exactly(&sum.purchased))})
		}
	}
}

func exactly(r *big.Rat) string { return r.FloatString(scale) }

// commitmentParents: a commitment is of one contract.
type commitmentParents struct {
	contracts map[string]string
	problem   Violation
}

func (*commitmentParents) needs() []string { return []string{"ContractApplied"} }

func (p *commitmentParents) add(r *record) {
	if r.null("ContractApplied") {
		return
	}
	o, err := r.c.objects.parse(r.text("ContractApplied"))
	if err != nil {
		return
	}
	list, _ := entries(o, "Elements")
	for _, e := range list {
		commitment, _ := e["ContractCommitmentId"].(string)
		contract, _ := e["ContractId"].(string)
		first, ok := p.contracts[commitment]
		switch {
		case !ok:
			p.contracts[commitment] = contract
		case first != contract && p.problem.Rule == "":
			p.problem = Violation{r.c.report.Rows, "ContractApplied", "MUST have one and only one ContractId for a ContractCommitmentId",
				fmt.Sprintf("%q is of %q here, and of %q before", commitment, contract, first)}
		}
	}
}

func (p *commitmentParents) done(report func(Violation)) {
	if p.problem.Rule != "" {
		report(p.problem)
	}
}
