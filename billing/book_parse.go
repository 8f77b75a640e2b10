package billing

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

var currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)

// anyModel is the name by which a book prices the GPU models that it doesn't name.
const anyModel = "*"

// bookParser collects what a file says by itself; build makes rates of it.
type bookParser struct {
	yamlReader
	book       *Book
	own        map[SKU]priceAt
	bestEffort *Discount // what best-effort has off, if it has no prices of its own
	included   map[string]int64
	models     []string
	gpuClass   bool // the file has CPU and memory prices of class gpu
}

type priceAt struct {
	price Price
	node  *yaml.Node
	at    string
}

// ParseBook reads a price file.
func ParseBook(path string, data []byte) (*Book, error) {
	digest := sha256.Sum256(data)
	p := &bookParser{
		yamlReader: yamlReader{path: path},
		book: &Book{
			Text: data, Digest: hex.EncodeToString(digest[:]), Decimals: 2,
			rates: map[rateKey]*Rates{}, regions: map[string]bool{},
		},
		own: map[SKU]priceAt{}, included: map[string]int64{},
	}
	root, err := p.document(data)
	if err != nil {
		return nil, err
	}
	var effective *yaml.Node
	zone := time.UTC
	b, y := p.book, &p.yamlReader
	p.fields(root, "",
		field{"version", true, func(n *yaml.Node, at string) { value(y, n, at, "a name such as 2026-11", parseName, &b.Version) }},
		field{"effective", true, func(n *yaml.Node, at string) { effective = n }},
		field{"zone", false, func(n *yaml.Node, at string) { value(y, n, at, "a time zone", ParseZone, &zone) }},
		field{"currency", true, func(n *yaml.Node, at string) { value(y, n, at, "a currency", parseCurrency, &b.Currency) }},
		field{"rounding", false, func(n *yaml.Node, at string) { value(y, n, at, "a rounding", ParseRounding, &b.Rounding) }},
		field{"decimals", false, func(n *yaml.Node, at string) { value(y, n, at, "a number", parseDecimals, &b.Decimals) }},
		field{"minimumDuration", false, func(n *yaml.Node, at string) {
			value(y, n, at, "a duration such as 60s", parseDuration, &b.MinimumDuration)
		}},
		field{"bestEffort", false, func(n *yaml.Node, at string) {
			p.bestEffort = new(Discount)
			value(y, n, at, "a share of the default price such as 20%", parseShare, p.bestEffort)
		}},
		field{"sizeGrid", false, p.grid},
		field{"prices", true, func(n *yaml.Node, at string) { p.classes(n, at, "") }},
		field{"gpus", false, func(n *yaml.Node, at string) { p.gpus(n, at, "") }},
		field{"storage", false, func(n *yaml.Node, at string) { p.storage(n, at, "") }},
		field{"regions", false, p.regions},
		field{"savingsPlans", false, p.offers})
	if effective != nil {
		p.effective(effective, zone)
	}
	p.complete(root)
	if err := p.err(); err != nil {
		return nil, err
	}
	p.build()
	return b, nil
}

func (p *bookParser) effective(n *yaml.Node, zone *time.Location) {
	value(&p.yamlReader, n, "effective", "a date", func(s string) (time.Time, error) {
		if t, err := time.Parse(time.RFC3339, s); err == nil && t.Nanosecond()%1e6 == 0 {
			return t.UTC(), nil
		}
		d, err := time.Parse(time.DateOnly, s)
		if err != nil {
			return time.Time{}, fmt.Errorf("%q: want a date such as 2026-11-01, or a time such as 2026-11-01T00:00:00+08:00 in whole milliseconds", s)
		}
		return Midnight(d.Year(), d.Month(), d.Day(), zone).UTC(), nil
	}, &p.book.Effective)
}

func parseCurrency(s string) (string, error) {
	if !currencyCode.MatchString(s) {
		return "", fmt.Errorf("%q is not a currency code of three capitals, such as CNY", s)
	}
	return s, nil
}

func parseDecimals(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > pricePlaces {
		return 0, fmt.Errorf("%q: want a number from 0 to %d", s, pricePlaces)
	}
	return n, nil
}

// parseShare reads what is to be paid into what is off.
func parseShare(s string) (Discount, error) {
	if s == "100%" {
		return 0, nil
	}
	d, err := ParseDiscount(s)
	if err != nil {
		return 0, fmt.Errorf("share %q: want a percentage of at most 100%%, such as 20%%", s)
	}
	return WholeDiscount - d, nil
}

func (p *bookParser) classes(n *yaml.Node, at, region string) {
	var classes []field
	for _, class := range append(slices.Clone(Classes), ClassGPU) {
		classes = append(classes, field{class, region == "" && class != ClassGPU, func(n *yaml.Node, at string) {
			p.gpuClass = p.gpuClass || class == ClassGPU && region == ""
			p.qualities(n, at, func(n *yaml.Node, at, qos string) {
				p.fields(n, at, p.price("vcpu", region == "", SKU{CPU, class, qos, "", region}),
					p.price("gib", region == "", SKU{Memory, class, qos, "", region}))
			})
		}})
	}
	p.fields(n, at, classes...)
}

// qualities reads what has prices for each quality of service.
func (p *bookParser) qualities(n *yaml.Node, at string, read func(n *yaml.Node, at, qos string)) {
	var fields []field
	for _, qos := range QoS {
		fields = append(fields, field{qos, false, func(n *yaml.Node, at string) { read(n, at, qos) }})
	}
	p.fields(n, at, fields...)
}

func (p *bookParser) price(name string, required bool, sku SKU) field {
	return field{name, required, func(n *yaml.Node, at string) {
		own := priceAt{node: n, at: at}
		value(&p.yamlReader, n, at, "a price such as 0.06", ParsePrice, &own.price)
		p.own[sku] = own
	}}
}

func (p *bookParser) gpus(n *yaml.Node, at, region string) {
	p.each(n, at, func(key, n *yaml.Node, at string) {
		model := key.Value
		if _, err := parseName(model); err != nil && model != anyModel {
			p.complain(key, at, "%v, or %s for all others", err, anyModel)
		}
		if !slices.Contains(p.models, model) {
			p.models = append(p.models, model)
		}
		p.qualities(n, at, func(n *yaml.Node, at, qos string) {
			p.fields(n, at, p.price("gpu", region == "", SKU{GPU, ClassGPU, qos, model, region}),
				p.price("gib", false, SKU{GPUMemory, ClassGPU, qos, model, region}))
		})
	})
}

func (p *bookParser) storage(n *yaml.Node, at, region string) {
	p.fields(n, at, p.price("gib", region == "", SKU{Storage, "", "", "", region}),
		field{"includedGiB", false, func(n *yaml.Node, at string) {
			var v int64
			value(&p.yamlReader, n, at, "a size in GiB such as 30", bytesOf, &v)
			p.included[region] = v
		}})
}

func (p *bookParser) regions(n *yaml.Node, at string) {
	p.each(n, at, func(key, n *yaml.Node, at string) {
		region := key.Value
		if _, err := parseName(region); err != nil {
			p.complain(key, at, "%v", err)
		}
		p.book.regions[region] = true
		p.fields(n, at,
			field{"prices", false, func(n *yaml.Node, at string) { p.classes(n, at, region) }},
			field{"gpus", false, func(n *yaml.Node, at string) { p.gpus(n, at, region) }},
			field{"storage", false, func(n *yaml.Node, at string) { p.storage(n, at, region) }})
	})
}

// complete complains of what no price can be found for.
func (p *bookParser) complete(root *yaml.Node) {
	if len(p.problems) > 0 {
		return
	}
	need := func(at, class, qos, model string, resources ...Resource) {
		for _, r := range resources {
			if _, ok := p.find(SKU{r, class, qos, model, ""}); !ok {
				y := below(below(at, qos), map[Resource]string{CPU: "vcpu", Memory: "gib", GPU: "gpu"}[r])
				hint := ""
				if qos == QoSBestEffort {
					hint = `; or say bestEffort: 20% for the whole book`
				}
				p.complain(root, y, "missing%s", hint)
			}
		}
	}
	for _, qos := range QoS {
		for _, class := range append(slices.Clone(Classes), ClassGPU) {
			if class != ClassGPU || p.gpuClass {
				need("prices."+class, class, qos, "", CPU, Memory)
			}
		}
		for _, model := range p.models {
			need("gpus."+model, ClassGPU, qos, model, GPU)
		}
	}
}
