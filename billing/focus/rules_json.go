package focus

import (
	"encoding/json"
	"fmt"
	"strings"
)

// skuProperties are FOCUS's own keys of SkuPriceDetails, and whether their values are numbers.
var skuProperties = map[string]bool{
	"CoreCount": true, "DiskMaxIops": true, "DiskSpace": true, "DiskType": false, "GpuCount": true, "InstanceSeries": false,
	"InstanceType": false, "MemorySize": true, "NetworkMaxIops": true, "NetworkMaxThroughput": true, "OperatingSystem": false,
	"Redundancy": false, "StorageClass": false,
}

// object makes a rule of what a JSON column says; what is no object is left to its form.
func object(in Version, d Dataset, column string, with []string, text string, broken func(*record, map[string]any) string) rule {
	return rule{in, d, column, with, text, func(r *record) string {
		if r.null(column) {
			return ""
		}
		o, err := r.c.objects.parse(r.text(column))
		if err != nil {
			return ""
		}
		return broken(r, o)
	}}
}

// entries are the objects of an array in an object.
func entries(o map[string]any, key string) ([]map[string]any, string) {
	list, ok := o[key].([]any)
	if !ok || len(list) == 0 {
		return nil, fmt.Sprintf("%q is no array of objects", key)
	}
	var out []map[string]any
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			return nil, fmt.Sprintf("%q has something that is no object", key)
		}
		out = append(out, m)
	}
	return out, ""
}

func custom(o map[string]any, own ...string) string {
	for key := range o {
		known := strings.HasPrefix(key, "x_")
		for _, name := range own {
			known = known || key == name
		}
		if !known {
			return fmt.Sprintf("key %q is neither FOCUS's nor begins with x_", key)
		}
	}
	return ""
}

var jsonRules = []rule{
	object(everyVersion, CostAndUsage, "SkuPriceDetails", nil, "MUST have keys that FOCUS defines, with values of their types, or that begin with x_",
		func(_ *record, o map[string]any) string {
			for key, v := range o {
				number, ok := skuProperties[key]
				if !ok {
					if !strings.HasPrefix(key, "x_") {
						return fmt.Sprintf("key %q is neither FOCUS's nor begins with x_", key)
					}
					continue
				}
				if _, isNumber := v.(json.Number); isNumber != number {
					return fmt.Sprintf("%q is %v", key, v)
				}
			}
			return ""
		}),
	object(Version14, CostAndUsage, "CommitmentProgramEligibilityDetails", nil, "MUST conform to CommitmentProgramEligibilityDetailsObject: CommitmentPrograms, each with a ProgramType",
		func(_ *record, o map[string]any) string {
			list, problem := entries(o, "CommitmentPrograms")
			for _, e := range list {
				if s, ok := e["ProgramType"].(string); !ok || s == "" {
					problem = "a program has no ProgramType"
				}
				if p := custom(e, "ProgramType"); p != "" {
					problem = p
				}
			}
			return problem
		}),
	object(Version14, CostAndUsage, "CommitmentProgramEligibilityDetails", []string{"CommitmentDiscountType"},
		"MUST have the CommitmentDiscountType among its programs when that is not null",
		func(r *record, o map[string]any) string {
			if r.null("CommitmentDiscountType") {
				return ""
			}
			list, _ := entries(o, "CommitmentPrograms")
			for _, e := range list {
				if e["ProgramType"] == r.text("CommitmentDiscountType") {
					return ""
				}
			}
			return r.show("CommitmentProgramEligibilityDetails", "CommitmentDiscountType")
		}),
	object(Version14, CostAndUsage, "ContractApplied", nil,
		"MUST conform to ContractAppliedObject: Elements, each with ids of the contract and the commitment, and a cost or a quantity with its unit",
		func(_ *record, o map[string]any) string {
			list, problem := entries(o, "Elements")
			for _, e := range list {
				for _, id := range []string{"ContractId", "ContractCommitmentId"} {
					if s, ok := e[id].(string); !ok || s == "" {
						problem = "an element has no " + id
					}
				}
				_, cost := e["ContractCommitmentAppliedCost"].(json.Number)
				_, quantity := e["ContractCommitmentAppliedQuantity"].(json.Number)
				_, unit := e["ContractCommitmentAppliedUnit"].(string)
				switch {
				case !cost && !quantity:
					problem = "an element has neither a cost nor a quantity that is a number"
				case quantity != unit:
					problem = "an element has a quantity without its unit, or a unit without quantity"
				}
				if p := custom(e, "ContractId", "ContractCommitmentId", "ContractCommitmentAppliedCost", "ContractCommitmentAppliedQuantity", "ContractCommitmentAppliedUnit"); p != "" {
					problem = p
				}
			}
			return problem
		}),
	object(Version14, CostAndUsage, "ContractApplied", []string{"ResourceId", "ChargeCategory", "CommitmentDiscountStatus"},
		"MUST have the ResourceId as a ContractCommitmentId when the charge is the commitment's purchase or its unused portion",
		func(r *record, o map[string]any) string {
			if !purchase(r) && !unused(r) {
				return ""
			}
			list, _ := entries(o, "Elements")
			for _, e := range list {
				if e["ContractCommitmentId"] == r.text("ResourceId") {
					return ""
				}
			}
			return r.show("ContractApplied", "ResourceId")
		}),
	object(Version14, CostAndUsage, "AllocatedMethodDetails", nil, "MUST conform to AllocatedMethodDetailsObject: Elements, each with an AllocatedRatio",
		func(_ *record, o map[string]any) string {
			list, problem := entries(o, "Elements")
			for _, e := range list {
				if _, ok := e["AllocatedRatio"].(json.Number); !ok {
					problem = "an element has no AllocatedRatio that is a number"
				}
			}
			return problem
		}),
}
