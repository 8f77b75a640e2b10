package billing

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// defaultReturnWindow holds where an offer doesn't say.
const defaultReturnWindow = 24 * time.Hour

// Offer answers one by its name.
func (b *Book) Offer(name string) (*Offer, bool) {
	for i := range b.Offers {
		if b.Offers[i].Name == name {
			return &b.Offers[i], true
		}
	}
	return nil, false
}

func (p *bookParser) offers(n *yaml.Node, at string) {
	p.list(n, at, func(n *yaml.Node, at string) {
		o := Offer{ReturnWindow: defaultReturnWindow}
		p.fields(n, at,
			field{"name", true, func(n *yaml.Node, at string) { value(&p.yamlReader, n, at, "a name", parseName, &o.Name) }},
			field{"interval", true, func(n *yaml.Node, at string) {
				value(&p.yamlReader, n, at, "day or hour", ParseInterval, &o.Interval)
			}},
			field{"term", true, func(n *yaml.Node, at string) {
				value(&p.yamlReader, n, at, "a term such as 30d or 1y", parseTerm, &o.TermDays)
			}},
			field{"returnWindow", false, func(n *yaml.Node, at string) {
				value(&p.yamlReader, n, at, "a duration such as 24h", parseDuration, &o.ReturnWindow)
			}},
			field{"zone", false, func(n *yaml.Node, at string) { value(&p.yamlReader, n, at, "a time zone", ParseZone, &o.Zone) }},
			field{"discounts", true, func(n *yaml.Node, at string) { o.Discounts = p.discounts(n, at) }})
		if slices.ContainsFunc(p.book.Offers, func(other Offer) bool { return other.Name == o.Name }) {
			p.complain(n, below(at, "name"), "%q is offered twice", o.Name)
		}
		p.book.Offers = append(p.book.Offers, o)
	})
}

func (p *bookParser) discounts(n *yaml.Node, at string) (out []PlanDiscount) {
	p.list(n, at, func(n *yaml.Node, at string) {
		var d PlanDiscount
		text := func(name string, into *string, parse func(string) (string, error)) field {
			return field{name, false, func(n *yaml.Node, at string) { value(&p.yamlReader, n, at, "a name", parse, into) }}
		}
		p.fields(n, at,
			text("class", &d.Class, oneOf("class", allClasses)),
			text("resource", &d.Resource, oneOf("resource", resourceNames)),
			text("model", &d.Model, parseName), text("region", &d.Region, parseName),
			field{"discount", true, func(n *yaml.Node, at string) {
				value(&p.yamlReader, n, at, "a percentage such as 55%", ParseDiscount, &d.Discount)
			}})
		out = append(out, d)
	})
	if len(out) == 0 && n.Kind == yaml.SequenceNode {
		p.complain(n, at, "want at least one")
	}
	return out
}

// ParseInterval knows day and hour.
func ParseInterval(s string) (Interval, error) {
	for _, i := range []Interval{Day, Hour} {
		if s == i.String() {
			return i, nil
		}
	}
	return 0, fmt.Errorf("interval %q: want day or hour", s)
}

// ParseZone reads a name of the IANA's time zone database.
func ParseZone(s string) (*time.Location, error) {
	zone, err := time.LoadLocation(s)
	if err != nil || s == "" || s == "Local" {
		return nil, fmt.Errorf("time zone %q: want a name of the IANA's database, such as Asia/Shanghai", s)
	}
	return zone, nil
}

var termForm = regexp.MustCompile(`^([1-9][0-9]{0,3})([dy])$`)

// parseTerm reads days, or years of 365.
func parseTerm(s string) (int, error) {
	m := termForm.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("term %q: want days or years, such as 30d or 1y", s)
	}
	n, _ := strconv.Atoi(m[1])
	if m[2] == "y" {
		n *= 365
	}
	if n > 3650 {
		return 0, fmt.Errorf("term %q: want at most ten years", s)
	}
	return n, nil
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d%time.Millisecond != 0 || d > 366*24*time.Hour {
		return 0, fmt.Errorf("duration %q: want whole milliseconds, such as 60s or 24h, of at most a year", s)
	}
	return d, nil
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

func parseName(s string) (string, error) {
	if !nameForm.MatchString(s) {
		return "", fmt.Errorf("name %q: want letters, digits, '.', '_' and '-', at most 63", s)
	}
	return s, nil
}

func oneOf(what string, known []string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(known, s) {
			return "", fmt.Errorf("%s %q: want one of %v", what, s, known)
		}
		return s, nil
	}
}
