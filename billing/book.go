package billing

import (
	"fmt"
	"sync"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// Compute classes and qualities of service that a price book must know.
var (
	Classes = []string{"general-purpose", "performance"}
	QoS     = []string{"default", QoSBestEffort}
)

// ClassGPU is the class of pods with GPUs. A book needs no prices for its CPU and memory: they are
// general-purpose's then.
const ClassGPU = "gpu"

var allClasses = append([]string{ClassGPU}, Classes...)

// Book is one version of what things cost. It doesn't change, and may be used by many at once.
type Book struct {
	Version         string
	Effective       time.Time // from when on it holds
	Currency        string
	Rounding        Rounding      // of quantities and of what invoices come to
	Decimals        int           // of what invoices come to
	MinimumDuration time.Duration // for which a pod is billed at least
	Offers          []Offer
	Text            []byte // of the file
	Digest          string // SHA-256 of Text, in hex

	grid    grid
	rates   map[rateKey]*Rates
	regions map[string]bool
	items   []*Item  // sorted
	late    sync.Map // SKU → *Item, of GPU models that the book doesn't name
}

type rateKey struct{ class, qos, region string }

// Rates are what a book asks of pods of one class and quality of service in one region.
type Rates struct {
	CPU, Memory *Item
	Storage     *Item // nil: it costs nothing
	Included    int64 // bytes of storage that are free
	book        *Book
	key         rateKey
	gpus        map[string]GPURates
	other       *GPURates // of models that aren't named
}

// GPURates are what a share of GPUs of a model costs.
type GPURates struct {
	GPU    *Item
	Memory *Item // nil: it is part of the GPU's price
}

// Rates answers what pods of a class and a quality of service cost in a region. A region that the book doesn't
// name costs what no region does.
func (b *Book) Rates(class, qos, region string) (*Rates, error) {
	if region != "" && !b.regions[region] {
		region = ""
	}
	if r := b.rates[rateKey{class, qos, region}]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("price book %s: no price for class %q with QoS %q", b.Version, class, qos)
}

// GPU answers a model's rates. One that the book has no price for costs nothing and stands on bills all the same.
func (r *Rates) GPU(model string) GPURates {
	if g, ok := r.gpus[model]; ok {
		return g
	}
	var out GPURates
	if r.other == nil {
		out.GPU = r.book.lateItem(SKU{GPU, r.key.class, r.key.qos, model, ""}, 0)
		return out
	}
	out.GPU = r.book.lateItem(SKU{GPU, r.key.class, r.key.qos, model, r.other.GPU.SKU.Region}, r.other.GPU.Price)
	if m := r.other.Memory; m != nil {
		out.Memory = r.book.lateItem(SKU{GPUMemory, r.key.class, r.key.qos, model, m.SKU.Region}, m.Price)
	}
	return out
}

func (b *Book) lateItem(sku SKU, price Price) *Item {
	if v, ok := b.late.Load(sku); ok {
		return v.(*Item)
	}
	v, _ := b.late.LoadOrStore(sku, b.newItem(sku, price))
	return v.(*Item)
}

func (b *Book) newItem(sku SKU, price Price) *Item {
	return &Item{SKU: sku, ID: sku.ID(), Price: price, Version: b.Version}
}

// Items are all that the book names, sorted.
func (b *Book) Items() []*Item { return b.items }

// Billed answers the size that pods of a class are billed for: what the book's grid makes of it. Class gpu has no
// grid, since its sizes go with the GPUs.
func (b *Book) Billed(class string, cpuMilli, memoryBytes int64) (int64, int64) {
	if class == ClassGPU || b.grid == nil {
		return cpuMilli, memoryBytes
	}
	return b.grid.fit(cpuMilli, memoryBytes)
}

// Size is a pod's.
type Size struct {
	CPUMilli     int64
	MemoryBytes  int64
	GPU          usagev1.GPU
	StorageBytes int64
}

// hourMillis are what prices are for.
const hourMillis = 3_600_000

// Meter is how much of an item a size holds while it runs: thousandths of a vCPU or a GPU, bytes of anything else.
type Meter struct {
	Item   *Item
	Amount uint64
}

// In answers what the meter counts in some milliseconds.
func (m Meter) In(ms uint64, mode Rounding) (Quantity, error) {
	if r := m.Item.SKU.Resource; r == CPU || r == GPU {
		return VCPU(m.Amount, ms, mode)
	}
	return GiB(m.Amount, ms, mode)
}

// Meters appends what a size, which holds nothing negative, is billed for: CPU and memory, and at most three more.
func (b *Book) Meters(out []Meter, rates *Rates, s *Size) []Meter {
	cpu, memory := b.Billed(rates.key.class, s.CPUMilli, s.MemoryBytes)
	out = append(out, Meter{rates.CPU, uint64(cpu)}, Meter{rates.Memory, uint64(memory)})
	add := func(i *Item, amount int64) {
		if i != nil && amount > 0 {
			out = append(out, Meter{i, uint64(amount)})
		}
	}
	if s.GPU.Milli > 0 || s.GPU.MemoryMiB > 0 {
		g := rates.GPU(s.GPU.Model)
		add(g.GPU, s.GPU.Milli)
		add(g.Memory, s.GPU.MemoryMiB<<20)
	}
	add(rates.Storage, s.StorageBytes-rates.Included)
	return out
}

// PerHour answers what a size costs for an hour at list.
func (b *Book) PerHour(class, qos, region string, s Size) (Money, error) {
	rates, err := b.Rates(class, qos, region)
	if err != nil {
		return Money{}, err
	}
	var sum Money
	for _, m := range b.Meters(nil, rates, &s) {
		q, err := m.In(hourMillis, b.Rounding)
		if err != nil {
			return Money{}, fmt.Errorf("price per hour: %s: %w", m.Item.ID, err)
		}
		sum = sum.Plus(q.At(m.Item.Price))
	}
	return sum, nil
}
