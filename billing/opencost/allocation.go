package opencost

import (
	"math"
	"strings"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// Names of what has no owner.
const (
	Idle        = "__idle__"
	Unallocated = "__unallocated__"
)

// subject is what a charge is for, as OpenCost tells things apart.
type subject struct {
	cluster, node, namespace, pod string
	workload                      billing.Workload
	labels                        map[string]string
}

func (s *subject) kind() string {
	if s.workload.Kind == billing.WorkloadApp || s.workload.Kind == billing.WorkloadPod {
		return "" // not a controller
	}
	return strings.ToLower(s.workload.Kind)
}

func (s *subject) controller() string {
	if s.kind() == "" {
		return ""
	}
	return s.workload.Name
}

// valueOf is what a filter compares; empty if there is none.
func (p property) valueOf(s *subject) string {
	switch p.name {
	case "cluster":
		return s.cluster
	case "node":
		return s.node
	case "namespace":
		return s.namespace
	case "pod":
		return s.pod
	case "controller":
		return s.controller()
	case "controllerKind":
		return s.kind()
	case "deployment", "statefulset", "daemonset", "job":
		if s.kind() == p.name {
			return s.controller()
		}
	case "label":
		return labelOf(s.labels, p.label)
	default:
		return labelOf(s.labels, aliases[p.name])
	}
	return ""
}

// named is a property's part of an allocation's name.
func (p property) named(s *subject) string {
	v := p.valueOf(s)
	switch {
	case p.name == "container":
		return ""
	case v == "":
		return Unallocated
	case p.name == "controller":
		return s.kind() + ":" + v
	}
	return v
}

// labelOf finds a label by its name, or by the name that Prometheus makes of it.
func labelOf(labels map[string]string, name string) string {
	if v, ok := labels[name]; ok {
		return v
	}
	for k, v := range labels {
		if prometheusName(k) == name {
			return v
		}
	}
	return ""
}

// prometheusName is a label's name as Prometheus and so OpenCost's clients write it.
func prometheusName(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') {
			return r
		}
		return '_'
	}, s)
}

// Properties say what an allocation's charges have in common.
type Properties struct {
	Cluster        string            `json:"cluster,omitempty"`
	Node           string            `json:"node,omitempty"`
	Controller     string            `json:"controller,omitempty"`
	ControllerKind string            `json:"controllerKind,omitempty"`
	Namespace      string            `json:"namespace,omitempty"`
	Pod            string            `json:"pod,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
}

func propertiesOf(s *subject) Properties {
	out := Properties{Cluster: s.cluster, Node: s.node, Controller: s.controller(), ControllerKind: s.kind(), Namespace: s.namespace, Pod: s.pod}
	if len(s.labels) > 0 {
		out.Labels = make(map[string]string, len(s.labels))
		for k, v := range s.labels {
			out.Labels[prometheusName(k)] = v
		}
	}
	return out
}

// narrow leaves what another subject has as well.
func (p *Properties) narrow(s *subject) {
	for of, v := range map[*string]string{&p.Cluster: s.cluster, &p.Node: s.node, &p.Namespace: s.namespace, &p.Pod: s.pod} {
		if *of != v {
			*of = ""
		}
	}
	if p.Controller != s.controller() || p.ControllerKind != s.kind() {
		p.Controller, p.ControllerKind = "", ""
	}
	if len(p.Labels) == 0 {
		return
	}
	theirs := propertiesOf(s).Labels
	for k, v := range p.Labels {
		if theirs[k] != v {
			delete(p.Labels, k)
		}
	}
}

// sums are an allocation's charges, exactly.
type sums struct {
	properties Properties
	last       usagev1.ID // of the segment that properties have seen
	from, to   int64
	quantity   [5]billing.Quantity
	list       [5]billing.Money // by resource
	effective  [5]billing.Money
	external   billing.Money // without a resource
}

func (a *sums) add(c *billing.Charge, s *subject) {
	if a.from == 0 && a.to == 0 {
		a.properties, a.from, a.to = propertiesOf(s), c.From, c.To
	}
	if c.Segment != nil && a.last != c.Segment.ID {
		a.last = c.Segment.ID
		a.properties.narrow(s)
	}
	a.from, a.to = min(a.from, c.From), max(a.to, c.To)
	if c.Item == nil {
		a.external = a.external.Plus(c.Effective)
		return
	}
	of := c.Item.SKU.Resource
	a.quantity[of] += c.Quantity
	a.list[of], a.effective[of] = a.list[of].Plus(c.List), a.effective[of].Plus(c.Effective)
}

// Allocation is one of the answer's, in OpenCost's form. Null is what isn't metered.
type Allocation struct {
	Name                  string     `json:"name"`
	Properties            Properties `json:"properties"`
	Window                Window     `json:"window"`
	Start                 string     `json:"start"`
	End                   string     `json:"end"`
	Minutes               float64    `json:"minutes"`
	CPUCores              float64    `json:"cpuCores"`
	CPUCoreRequestAverage float64    `json:"cpuCoreRequestAverage"`
	CPUCoreUsageAverage   *float64   `json:"cpuCoreUsageAverage"`
	CPUCoreHours          float64    `json:"cpuCoreHours"`
	CPUCost               float64    `json:"cpuCost"`
	CPUCostAdjustment     float64    `json:"cpuCostAdjustment"`
	CPUEfficiency         *float64   `json:"cpuEfficiency"`
	GPUCount              float64    `json:"gpuCount"`
	GPUHours              float64    `json:"gpuHours"`
	GPUCost               float64    `json:"gpuCost"`
	GPUCostAdjustment     float64    `json:"gpuCostAdjustment"`
	NetworkTransferBytes  float64    `json:"networkTransferBytes"`
	NetworkReceiveBytes   float64    `json:"networkReceiveBytes"`
	NetworkCost           float64    `json:"networkCost"`
	LoadBalancerCost      float64    `json:"loadBalancerCost"`
	PVBytes               float64    `json:"pvBytes"`
	PVByteHours           float64    `json:"pvByteHours"`
	PVCost                float64    `json:"pvCost"`
	PVCostAdjustment      float64    `json:"pvCostAdjustment"`
	RAMBytes              float64    `json:"ramBytes"`
	RAMByteRequestAverage float64    `json:"ramByteRequestAverage"`
	RAMByteUsageAverage   *float64   `json:"ramByteUsageAverage"`
	RAMByteHours          float64    `json:"ramByteHours"`
	RAMCost               float64    `json:"ramCost"`
	RAMCostAdjustment     float64    `json:"ramCostAdjustment"`
	RAMEfficiency         *float64   `json:"ramEfficiency"`
	ExternalCost          float64    `json:"externalCost"`
	SharedCost            float64    `json:"sharedCost"`
	TotalCost             float64    `json:"totalCost"`
	TotalEfficiency       *float64   `json:"totalEfficiency"`
}

// allocation is the sums as floats, which is what OpenCost's clients read.
func (a *sums) allocation(name string, w Window) Allocation {
	const bytes = 1 << 30
	hours := float64(a.to-a.from) / 3_600_000
	average := func(unitHours float64) float64 {
		if hours == 0 {
			return 0
		}
		return unitHours / hours
	}
	quantity := func(of billing.Resource) float64 { return float64(a.quantity[of]) / 1e9 }
	total := a.external
	for _, m := range a.effective {
		total = total.Plus(m)
	}
	gpu := a.list[billing.GPU].Plus(a.list[billing.GPUMemory])
	saved := func(of ...billing.Resource) float64 {
		var sum billing.Money
		for _, r := range of {
			sum = sum.Plus(a.effective[r]).Minus(a.list[r])
		}
		return sum.Float()
	}
	out := Allocation{
		Name: name, Properties: a.properties, Window: w, Start: stamp(a.from), End: stamp(a.to), Minutes: float64(a.to-a.from) / 60_000,
		CPUCoreHours: quantity(billing.CPU), CPUCost: a.list[billing.CPU].Float(), CPUCostAdjustment: saved(billing.CPU),
		GPUHours: quantity(billing.GPU), GPUCost: gpu.Float(), GPUCostAdjustment: saved(billing.GPU, billing.GPUMemory),
		PVByteHours: math.Round(quantity(billing.Storage) * bytes), PVCost: a.list[billing.Storage].Float(), PVCostAdjustment: saved(billing.Storage),
		RAMByteHours: math.Round(quantity(billing.Memory) * bytes), RAMCost: a.list[billing.Memory].Float(), RAMCostAdjustment: saved(billing.Memory),
		ExternalCost: a.external.Float(), TotalCost: total.Float(),
	}
	out.CPUCores, out.GPUCount = average(out.CPUCoreHours), average(out.GPUHours)
	out.RAMBytes, out.PVBytes = average(out.RAMByteHours), average(out.PVByteHours)
	out.CPUCoreRequestAverage, out.RAMByteRequestAverage = out.CPUCores, out.RAMBytes
	return out
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
