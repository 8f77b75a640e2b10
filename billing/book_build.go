package billing

import (
	"maps"
	"slices"
)

// find answers the price of an SKU, and the SKU that has it: one of the region where the region has a price of its
// own, else the one of all regions.
func (p *bookParser) find(sku SKU) (found SKU, ok bool) {
	if _, ok := p.priceOf(sku); ok {
		return sku, true
	}
	if sku.Region == "" {
		return SKU{}, false
	}
	sku.Region = ""
	_, ok = p.priceOf(sku)
	return sku, ok
}

// priceOf answers what a region (or none) says itself of an SKU.
func (p *bookParser) priceOf(sku SKU) (Price, bool) {
	source := sku
	switch {
	case sku.Resource == Storage:
		source.Class, source.QoS = "", ""
	case sku.Resource == GPU || sku.Resource == GPUMemory:
		source.Class = ClassGPU
	case sku.Class == ClassGPU && !p.gpuClass:
		source.Class = Classes[0]
	}
	if own, ok := p.own[source]; ok {
		return own.price, true
	}
	if source.QoS == QoSBestEffort && p.bestEffort != nil {
		source.QoS = QoS[0]
		if own, ok := p.own[source]; ok {
			return own.price.Off(*p.bestEffort), true
		}
	}
	return 0, false
}

// build makes the items and rates.
func (p *bookParser) build() {
	items := map[SKU]*Item{}
	item := func(r Resource, key rateKey, model string) *Item {
		sku, ok := p.find(SKU{r, key.class, key.qos, model, key.region})
		if !ok {
			return nil
		}
		if items[sku] == nil {
			price, _ := p.priceOf(sku)
			items[sku] = p.book.newItem(sku, price)
		}
		return items[sku]
	}
	for _, region := range append([]string{""}, slices.Collect(maps.Keys(p.book.regions))...) {
		for _, class := range allClasses {
			for _, qos := range QoS {
				key := rateKey{class, qos, region}
				r := &Rates{
					CPU: item(CPU, key, ""), Memory: item(Memory, key, ""), Storage: item(Storage, key, ""),
					Included: p.includedIn(region), book: p.book, key: key, gpus: map[string]GPURates{},
				}
				for _, model := range p.models {
					g := GPURates{item(GPU, key, model), item(GPUMemory, key, model)}
					switch {
					case g.GPU == nil: // another region has it
					case model == anyModel:
						r.other = &g
					default:
						r.gpus[model] = g
					}
				}
				p.book.rates[key] = r
			}
		}
	}
	for _, i := range items {
		if i.SKU.Model != anyModel {
			p.book.items = append(p.book.items, i)
		}
	}
	slices.SortFunc(p.book.items, func(a, b *Item) int {
		if a.Less(b) {
			return -1
		}
		return 1
	})
}

func (p *bookParser) includedIn(region string) int64 {
	if v, ok := p.included[region]; ok {
		return v
	}
	return p.included[""]
}
