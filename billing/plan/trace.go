package plan

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"swell.dev/swell/billing"
)

// Trace is a demand over time: what each class asks for from one instant to the next.
type Trace struct {
	From, To int64 // Unix milliseconds
	name     string
	rows     []row
}

// row is what a class asks for until the next instant of the trace.
type row struct {
	from, to int64
	class    string
	milli    uint64 // thousandths of a vCPU
	bytes    uint64
	line     int
}

// What a trace may ask for at once; beyond it, it holds other units than it says.
const (
	maxVCPU = 1e6
	maxGiB  = 1e8
)

// ReadTrace reads a CSV with the columns time, vcpu, gib and, if it has several, class. A row holds until the next
// row's time, the last one for as long as the one before it; a class that has no row at some time asks for nothing
// then. Times are RFC 3339, Unix seconds, or date and time of day in the zone. Lines that begin with # are comments.
func ReadTrace(name string, in io.Reader, zone *time.Location) (*Trace, error) {
	r := csv.NewReader(in)
	r.Comment, r.TrimLeadingSpace, r.ReuseRecord = '#', true, true
	p := &traceParser{name: name, csv: r, zone: zone}
	header, err := r.Read()
	if err != nil {
		return nil, p.explain(err)
	}
	if err := p.header(header); err != nil {
		return nil, err
	}
	t := &Trace{name: name}
	var instants []int64
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, p.explain(err)
		}
		row, err := p.row(record)
		if err != nil {
			return nil, err
		}
		switch last := len(instants) - 1; {
		case last < 0 || row.from > instants[last]:
			instants = append(instants, row.from)
			p.classes = p.classes[:0]
		case row.from < instants[last]:
			return nil, p.complain("time", "%s is before the row above: want them in order", instant(row.from))
		}
		if slices.Contains(p.classes, row.class) {
			return nil, p.complain("time", "%s is given twice for class %q", instant(row.from), row.class)
		}
		p.classes = append(p.classes, row.class)
		t.rows = append(t.rows, row)
	}
	if len(instants) < 2 {
		return nil, fmt.Errorf("trace %s: %d instants: want at least two, so that rows last", name, len(instants))
	}
	last := instants[len(instants)-1]
	t.From, t.To = instants[0], last+last-instants[len(instants)-2]
	instants = append(instants, t.To)
	at := 0
	for i := range t.rows {
		for instants[at] < t.rows[i].from {
			at++
		}
		t.rows[i].to = instants[at+1]
	}
	return t, nil
}

type traceParser struct {
	name                   string
	csv                    *csv.Reader
	zone                   *time.Location
	time, vcpu, gib, class int      // columns; -1: there is none
	classes                []string // of this instant
}

func (p *traceParser) complain(column, format string, args ...any) error {
	line, _ := p.csv.FieldPos(0)
	return fmt.Errorf("trace %s:%d: %s: %s", p.name, line, column, fmt.Sprintf(format, args...))
}

// explain tells the csv package's errors as ours are.
func (p *traceParser) explain(err error) error {
	var parse *csv.ParseError
	switch {
	case errors.Is(err, io.EOF):
		return fmt.Errorf("trace %s: it is empty: want a line with the columns time,vcpu,gib[,class]", p.name)
	case errors.As(err, &parse):
		return fmt.Errorf("trace %s:%d: %w", p.name, parse.Line, parse.Err)
	}
	return fmt.Errorf("trace %s: %w", p.name, err)
}

func (p *traceParser) header(names []string) error {
	columns := map[string]*int{"time": &p.time, "vcpu": &p.vcpu, "gib": &p.gib, "class": &p.class}
	for _, at := range columns {
		*at = -1
	}
	for i, name := range names {
		at, known := columns[strings.TrimSpace(name)]
		switch {
		case !known:
			return p.complain("header", "unknown column %q: want time,vcpu,gib[,class]", name)
		case *at >= 0:
			return p.complain("header", "column %q is there twice", name)
		}
		*at = i
	}
	for _, name := range []string{"time", "vcpu", "gib"} {
		if *columns[name] < 0 {
			return p.complain("header", "column %q is missing: want time,vcpu,gib[,class]", name)
		}
	}
	return nil
}

func (p *traceParser) row(record []string) (r row, err error) {
	at, ok := p.instant(record[p.time])
	if !ok {
		return r, p.complain("time", "%q: want RFC 3339, Unix seconds, or a time of day in the zone such as 2026-11-27 18:00", record[p.time])
	}
	r.from, r.class = at, "general-purpose"
	if p.class >= 0 {
		// The reader's record is used again for the next line: a class is kept.
		r.class = strings.Clone(record[p.class])
	}
	vcpu, ok := amount(record[p.vcpu], maxVCPU)
	if !ok {
		return r, p.complain("vcpu", "%q: want a number between 0 and %.0f", record[p.vcpu], float64(maxVCPU))
	}
	gib, ok := amount(record[p.gib], maxGiB)
	if !ok {
		return r, p.complain("gib", "%q: want a number between 0 and %.0f", record[p.gib], float64(maxGiB))
	}
	r.milli, r.bytes = uint64(math.Round(vcpu*1000)), uint64(math.Round(gib*(1<<30)))
	r.line, _ = p.csv.FieldPos(0)
	return r, nil
}

func amount(s string, most float64) (float64, bool) {
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil && v >= 0 && v <= most
}

// instant reads a time between 1970 and 2100.
func (p *traceParser) instant(s string) (int64, bool) {
	const end = 4_102_444_800
	if seconds, err := strconv.ParseInt(s, 10, 64); err == nil {
		return seconds * 1000, seconds >= 0 && seconds < end
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, p.zone); err == nil {
			return t.UnixMilli(), t.Unix() >= 0 && t.Unix() < end
		}
	}
	return 0, false
}

// Items are what a class's demand costs.
type Items func(class string) (cpu, memory *billing.Item, err error)

// Cells rates the demand, cut at the instants given, which are sorted.
func (t *Trace) Cells(items Items, cuts []int64) ([]billing.Cell, error) {
	var cells []billing.Cell
	for i := range t.rows {
		r := &t.rows[i]
		cpu, memory, err := items(r.class)
		if err != nil {
			return nil, fmt.Errorf("trace %s:%d: class: %w", t.name, r.line, err)
		}
		cut, _ := slices.BinarySearch(cuts, r.from+1)
		var hadCPU, hadMemory billing.Quantity
		for from := r.from; from < r.to; {
			to := r.to
			if cut < len(cuts) && cuts[cut] < to {
				to = cuts[cut]
				cut++
			}
			since := uint64(to - r.from)
			vcpu, err := billing.VCPU(r.milli, since, billing.HalfEven)
			if err != nil {
				return nil, fmt.Errorf("trace %s:%d: %w", t.name, r.line, err)
			}
			gib, err := billing.GiB(r.bytes, since, billing.HalfEven)
			if err != nil {
				return nil, fmt.Errorf("trace %s:%d: %w", t.name, r.line, err)
			}
			cells = append(cells, billing.Cell{From: from, To: to, Item: cpu, Quantity: vcpu - hadCPU},
				billing.Cell{From: from, To: to, Item: memory, Quantity: gib - hadMemory})
			from, hadCPU, hadMemory = to, vcpu, gib
		}
	}
	return cells, nil
}
