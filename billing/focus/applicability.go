package focus

import "swell.dev/swell/billing"

// applicability says in FOCUS's form what a plan covers: rules on columns of the cost and usage dataset.
type applicability struct {
	IsGlobalScope     bool           `json:",omitempty"`
	IsComplexScope    bool           `json:",omitempty"`
	InclusionOperator string         `json:",omitempty"`
	Inclusions        []applicableBy `json:",omitempty"`
	ExclusionOperator string         `json:",omitempty"`
	Exclusions        []applicableBy `json:",omitempty"`
}

type applicableBy struct {
	Dimension string
	Operator  string
	Values    []string
}

func in(dimension, value string) applicableBy { return applicableBy{dimension, "In", []string{value}} }

// applicabilityOf: everything of its scope that a discount fits, but for best-effort. Discounts of which none fits
// everything, and that are several, are more than the form can say together with a scope.
func applicabilityOf(p *billing.Plan) applicability {
	a := applicability{ExclusionOperator: "Or", Exclusions: []applicableBy{in("x_SwellQualityOfService", billing.QoSBestEffort)}}
	by := map[string]string{"BillingAccountId": p.Scope.Account, "SubAccountId": p.Scope.Project, "x_SwellComputeClass": p.Scope.Class}
	fitsAll := false
	for _, d := range p.Discounts {
		fitsAll = fitsAll || (d.Class == "" && d.Resource == "" && d.Model == "" && d.Region == "")
	}
	if !fitsAll {
		if len(p.Discounts) != 1 {
			return applicability{IsComplexScope: true}
		}
		d := p.Discounts[0]
		if d.Class != "" {
			if p.Scope.Class != "" && p.Scope.Class != d.Class {
				return applicability{IsComplexScope: true} // nothing is of two classes
			}
			by["x_SwellComputeClass"] = d.Class
		}
		if r, ok := billing.ParseResource(d.Resource); ok {
			by["SkuMeter"] = meters[r]
		}
		by["x_SwellGpuModel"], by["RegionId"] = d.Model, d.Region
	}
	for _, dimension := range []string{"BillingAccountId", "RegionId", "SkuMeter", "SubAccountId", "x_SwellComputeClass", "x_SwellGpuModel"} {
		if by[dimension] != "" {
			a.Inclusions = append(a.Inclusions, in(dimension, by[dimension]))
		}
	}
	if len(a.Inclusions) == 0 {
		a.IsGlobalScope = true
	} else {
		a.InclusionOperator = "And"
	}
	return a
}
