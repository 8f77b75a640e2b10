package billing

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Rate is what a vCPU and a GiB cost for an hour.
type Rate struct {
	CPU    Price
	Memory Price
}

// PriceBook says what things cost.
type PriceBook struct {
	Currency string
	rates    map[string]Rate // class + "/" + qos
}

// Rate answers the rate for a class and a quality of service. CPU and memory of a pod of class gpu cost what
// they do otherwise.
func (b *PriceBook) Rate(class, qos string) (Rate, error) {
	if class == "gpu" {
		class = "general-purpose"
	}
	r, ok := b.rates[class+"/"+qos]
	if !ok {
		return Rate{}, fmt.Errorf("price book: no price for class %q with QoS %q", class, qos)
	}
	return r, nil
}

//go:embed prices.yaml
var listPrices []byte

// ListPrices is the book that Swell ships: Alibaba Cloud's published list for ACS.
func ListPrices() *PriceBook {
	b, err := parsePrices("prices.yaml", listPrices)
	if err != nil {
		panic(err) // the file is part of the program and a test reads it
	}
	return b
}

// LoadPrices reads a price file.
func LoadPrices(path string) (*PriceBook, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("price file: %w", err)
	}
	return parsePrices(path, data)
}

// parsePrices reads the nodes themselves, so that every complaint has its line.
func parsePrices(path string, data []byte) (*PriceBook, error) {
	p := &priceParser{path: path, book: &PriceBook{rates: map[string]Rate{}}}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("price file %s: %w", path, err)
	}
	if len(doc.Content) != 1 {
		return nil, fmt.Errorf("price file %s: it is empty", path)
	}
	p.fields(doc.Content[0], "", map[string]func(*yaml.Node, string){
		"currency": func(n *yaml.Node, at string) {
			if p.book.Currency = n.Value; !currencyCode.MatchString(n.Value) {
				p.complain(n, at, "%q is not a currency code of three capitals, such as CNY", n.Value)
			}
		},
		"perHour": p.perHour,
	})
	for _, class := range Classes {
		for _, qos := range QoS {
			if _, err := p.book.Rate(class, qos); err != nil && len(p.problems) == 0 {
				p.problems = append(p.problems, fmt.Errorf("price file %s: perHour.%s.%s is missing", path, class, qos))
			}
		}
	}
	return p.book, errors.Join(p.problems...)
}

type priceParser struct {
	path     string
	book     *PriceBook
	problems []error
}

func (p *priceParser) complain(n *yaml.Node, at, format string, args ...any) {
	p.problems = append(p.problems, fmt.Errorf("price file %s:%d: %s: %s", p.path, n.Line, at, fmt.Sprintf(format, args...)))
}

// fields visits a mapping that may and must hold just these keys.
func (p *priceParser) fields(n *yaml.Node, at string, known map[string]func(*yaml.Node, string)) {
	if n.Kind != yaml.MappingNode {
		p.complain(n, strings.TrimPrefix(at, "."), "want a mapping")
		return
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		path := strings.TrimPrefix(at+"."+key.Value, ".")
		visit, ok := known[key.Value]
		switch {
		case !ok:
			p.complain(key, path, "unknown field")
		case seen[key.Value]:
			p.complain(key, path, "given twice")
		default:
			seen[key.Value] = true
			visit(value, path)
		}
	}
	for name := range known {
		if !seen[name] {
			p.complain(n, strings.TrimPrefix(at+"."+name, "."), "missing")
		}
	}
}

func (p *priceParser) perHour(n *yaml.Node, at string) {
	classes := map[string]func(*yaml.Node, string){}
	for _, class := range Classes {
		classes[class] = func(n *yaml.Node, at string) {
			qualities := map[string]func(*yaml.Node, string){}
			for _, qos := range QoS {
				qualities[qos] = func(n *yaml.Node, at string) { p.book.rates[class+"/"+qos] = p.rate(n, at) }
			}
			p.fields(n, at, qualities)
		}
	}
	p.fields(n, at, classes)
}

func (p *priceParser) rate(n *yaml.Node, at string) Rate {
	var r Rate
	price := func(into *Price) func(*yaml.Node, string) {
		return func(n *yaml.Node, at string) {
			var err error
			if n.Kind != yaml.ScalarNode || !slices.Contains([]string{"!!int", "!!float", "!!str"}, n.Tag) {
				p.complain(n, at, "want a price such as 0.06")
			} else if *into, err = ParsePrice(n.Value); err != nil {
				p.complain(n, at, "%v", err)
			}
		}
	}
	p.fields(n, at, map[string]func(*yaml.Node, string){"vcpu": price(&r.CPU), "gib": price(&r.Memory)})
	return r
}
