package billing

import "strings"

// Resource is what an SKU is a price of.
type Resource uint8

// The resources, and what a Quantity of each counts by the hour.
const (
	CPU       Resource = iota // vCPU
	Memory                    // GiB
	GPU                       // a whole GPU's compute
	GPUMemory                 // GiB of a GPU's memory
	Storage                   // GiB of ephemeral storage, beyond what is included
)

// Resources are all of them.
var Resources = []Resource{CPU, Memory, GPU, GPUMemory, Storage}

var resourceNames = []string{"vcpu", "memory", "gpu", "gpu-memory", "storage"}

// String is the resource's name in price books, SKUs and reports.
func (r Resource) String() string { return resourceNames[r] }

// ParseResource knows the names that String writes.
func ParseResource(s string) (Resource, bool) {
	for i, name := range resourceNames {
		if s == name {
			return Resource(i), true
		}
	}
	return 0, false
}

// Unit is what one hour of a resource is called in bills.
func (r Resource) Unit() string {
	switch r {
	case CPU:
		return "vCPU-Hours"
	case GPU:
		return "GPU-Hours"
	}
	return "GiB-Hours"
}

// SKU is one thing that can be bought.
type SKU struct {
	Resource Resource
	Class    string // compute class
	QoS      string // default or best-effort
	Model    string // of a GPU; empty for other resources
	Region   string // empty: any that has no price of its own
}

// ID names it for ever: general-purpose/default/vcpu, gpu/default/gpu/H100@eu-1.
func (s SKU) ID() string {
	parts := []string{s.Class, s.QoS, s.Resource.String()}
	if s.Model != "" {
		parts = append(parts, s.Model)
	}
	id := strings.Join(parts, "/")
	if s.Region != "" {
		id += "@" + s.Region
	}
	return id
}

// Item is an SKU at the price of one version of the book. Items are made once by their book and compared by
// pointer; the same SKU at two versions' prices is two items.
type Item struct {
	SKU     SKU
	ID      string // SKU.ID()
	Price   Price  // list, per unit and hour
	Version string // of the book
}

// Less orders items by SKU, then version.
func (i *Item) Less(j *Item) bool {
	if i.ID != j.ID {
		return i.ID < j.ID
	}
	return i.Version < j.Version
}
