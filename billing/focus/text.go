package focus

import (
	"encoding/json"
	"fmt"
	"strings"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// tagPrefix is that of tags that Swell adds. No label's key has a colon, so that none can pretend to be Swell's.
const tagPrefix = "swell:"

// tagsOf are the pod's labels and Swell's own tags. JSON's keys are sorted.
func tagsOf(s *usagev1.Segment) (string, error) {
	tags := make(map[string]string, len(s.Labels)+3)
	for k, v := range s.Labels {
		tags[k] = v
	}
	for k, v := range map[string]string{"node": s.Node, "compute-class": s.ComputeClass, "qos": s.QoS} {
		if v != "" {
			tags[tagPrefix+k] = v
		}
	}
	b, err := json.Marshal(tags)
	return string(b), err
}

// texts are what rows say of items and plans, made once.
type texts struct {
	options *Options
	items   map[*billing.Item]*itemTexts
	plans   map[*billing.Plan]*planTexts
}

type itemTexts struct {
	sku, meter, details, description string
	eligible                         string // for a charge that no plan covers
	covered                          map[string]string
}

type planTexts struct {
	sku, kind, unit, purchase, unused string
}

// meters are what SKUs of the resources meter.
var meters = map[billing.Resource]string{
	billing.CPU: "vCPU", billing.Memory: "Memory", billing.GPU: "GPU", billing.GPUMemory: "GPU Memory", billing.Storage: "Ephemeral Storage",
}

func (t *texts) item(i *billing.Item) *itemTexts {
	x := t.items[i]
	if x == nil {
		// An SKU is the same in all regions; its price isn't.
		anywhere := i.SKU
		anywhere.Region = ""
		x = &itemTexts{sku: anywhere.ID(), meter: meters[i.SKU.Resource], details: priceDetails(i), covered: map[string]string{}}
		x.description = fmt.Sprintf("%s of %s pods (%s) at %s %s per %s", x.meter, i.SKU.Class, i.SKU.QoS, i.Price, t.options.Currency,
			strings.TrimSuffix(i.SKU.Resource.Unit(), "s"))
		x.eligible = t.programs(i, "")
		t.items[i] = x
	}
	return x
}

// priceDetails say what a unit of the SKU is, by FOCUS's names where it has one.
func priceDetails(i *billing.Item) string {
	details := map[string]any{"x_ComputeClass": i.SKU.Class, "x_QualityOfService": i.SKU.QoS}
	switch i.SKU.Resource {
	case billing.CPU:
		details["CoreCount"] = 1
	case billing.Memory:
		details["MemorySize"] = 1
	case billing.GPU:
		details["GpuCount"] = 1
	case billing.GPUMemory:
		details["x_GpuMemorySize"] = 1
	case billing.Storage:
		details["DiskSpace"] = 1
	}
	if i.SKU.Model != "" {
		details["x_GpuModel"] = i.SKU.Model
	}
	return encode(details)
}

// kindOf is what plans of an interval are called.
func kindOf(i billing.Interval) string {
	if i == billing.Hour {
		return "Hourly Savings Plan"
	}
	return "Daily Savings Plan"
}

type programs struct {
	CommitmentPrograms []program
}

type program struct{ ProgramType string }

// programs are the kinds of plans that could cover use of an item, the one that does among them.
func (t *texts) programs(i *billing.Item, covering string) string {
	if i.SKU.QoS == billing.QoSBestEffort {
		return ""
	}
	var list programs
	for _, interval := range []billing.Interval{billing.Day, billing.Hour} {
		kind := kindOf(interval)
		found := kind == covering
		for k := range t.options.Offers {
			if o := &t.options.Offers[k]; o.Interval == interval && !found {
				p := billing.Plan{Discounts: o.Discounts}
				_, found = p.Discount(i)
			}
		}
		if found {
			list.CommitmentPrograms = append(list.CommitmentPrograms, program{kind})
		}
	}
	if len(list.CommitmentPrograms) == 0 {
		return ""
	}
	return encode(list)
}

// eligibility is what programs says, remembered.
func (t *texts) eligibility(i *billing.Item, p *billing.Plan) string {
	x := t.item(i)
	if p == nil {
		return x.eligible
	}
	kind := kindOf(p.Interval)
	s, ok := x.covered[kind]
	if !ok {
		s = t.programs(i, kind)
		x.covered[kind] = s
	}
	return s
}

func (t *texts) plan(p *billing.Plan) *planTexts {
	x := t.plans[p]
	if x == nil {
		x = &planTexts{sku: "savings-plan/" + p.Interval.String(), kind: kindOf(p.Interval), unit: t.options.Currency}
		x.purchase = fmt.Sprintf("Commitment of %s %s per %s of savings plan %s", p.Commitment, x.unit, p.Interval, p.Name)
		x.unused = fmt.Sprintf("What a %s left of the commitment of %s %s of savings plan %s", p.Interval, p.Commitment, x.unit, p.Name)
		t.plans[p] = x
	}
	return x
}

type contractApplied struct {
	Elements []appliedElement
}

// appliedElement says by how much a charge draws on a commitment of money.
type appliedElement struct {
	ContractID   string      `json:"ContractId"`
	CommitmentID string      `json:"ContractCommitmentId"`
	Cost         json.Number `json:"ContractCommitmentAppliedCost"`
}

func applied(p *billing.Plan, cost billing.Money) string {
	return encode(contractApplied{[]appliedElement{{p.UID, p.UID, json.Number(cost.String())}}})
}

// encode writes values of this package, which all have a form.
func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
