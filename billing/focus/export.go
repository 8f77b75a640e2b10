package focus

import (
	"time"

	"swell.dev/swell/billing"
)

// Options of an export.
type Options struct {
	Version     Version
	Granularity Granularity
	Zone        *time.Location // whose days and months are days and months; nil: UTC
	Currency    string
	Provider    string          // who provides and invoices; empty: Swell
	Offers      []billing.Offer // that anybody can buy: what charges are eligible for
	Invoices    []Invoice       // that are closed
}

// Invoice is a closed one: what was charged to an account in a month, as it was known when it was closed.
type Invoice struct {
	ID       string
	Account  string
	From, To int64 // Unix milliseconds
	Currency string
	Total    billing.Money // to be paid: rounded
	Closed   time.Time
}

// DefaultProvider is who provides when nobody says.
const DefaultProvider = "Swell"

func (o *Options) fill() {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Provider == "" {
		o.Provider = DefaultProvider
	}
}

// Writer takes rows of the columns it was made with.
type Writer interface {
	Write(Row) error
	Close() error // what was written is whole afterwards; the file below stays open
}

// Exporter writes charges as rows of the cost and usage dataset.
type Exporter struct {
	opts   Options
	out    Writer
	layout *layout
	row    Row
	fold   fold
	texts  texts
}

// NewExporter writes to a writer that was made with Columns(o.Version, CostAndUsage).
func NewExporter(o Options, out Writer) *Exporter {
	o.fill()
	e := &Exporter{opts: o, out: out, layout: layoutOf(o.Version, CostAndUsage)}
	e.row = make(Row, len(e.layout.columns))
	e.texts = texts{options: &e.opts, items: map[*billing.Item]*itemTexts{}, plans: map[*billing.Plan]*planTexts{}}
	e.fold = fold{granularity: o.Granularity, zone: o.Zone, limit: maxOpen, rows: map[rowKey]*sum{}, emit: e.emit, bounds: map[string][]int64{}}
	for _, v := range o.Invoices {
		e.fold.bounds[v.Account] = append(e.fold.bounds[v.Account], v.From, v.To)
	}
	return e
}

// Add takes a charge, which needn't stay valid. Charges of usage don't cross the ends of days or hours, whichever
// rows are for.
func (e *Exporter) Add(c *billing.Charge) error { return e.fold.add(c) }

// Close writes what isn't yet, and closes the writer.
func (e *Exporter) Close() error {
	if err := e.fold.flush(); err != nil {
		return err
	}
	return e.out.Close()
}

// month is the one that holds a moment.
func (o *Options) month(ms int64) (from, to int64) {
	y, m, _ := time.UnixMilli(ms).In(o.Zone).Date()
	return billing.Midnight(y, m, 1, o.Zone).UnixMilli(), billing.Midnight(y, m+1, 1, o.Zone).UnixMilli()
}

// openPeriod is the billing period of a moment that no invoice of the account holds: the month, or what invoices have
// left of it.
func (o *Options) openPeriod(account string, ms int64) (from, to int64) {
	from, to = o.month(ms)
	for i := range o.Invoices {
		if v := &o.Invoices[i]; v.Account == account {
			if v.To <= ms {
				from = max(from, v.To)
			}
			if v.From > ms {
				to = min(to, v.From)
			}
		}
	}
	return from, to
}

// invoice is the closed one of an id.
func (o *Options) invoice(id string) *Invoice {
	for i := range o.Invoices {
		if o.Invoices[i].ID == id {
			return &o.Invoices[i]
		}
	}
	return nil
}

// invoiced reports whether the invoice of an account holds a moment, and when that one was closed.
func (o *Options) invoiced(account string, ms int64) (closed time.Time, ok bool) {
	for i := range o.Invoices {
		if v := &o.Invoices[i]; v.Account == account && v.From <= ms && ms < v.To {
			return v.Closed, true
		}
	}
	return time.Time{}, false
}

// open is the first moment after all invoices of an account: what is found out later is billed from then on.
func (o *Options) open(account string, ms int64) int64 {
	for i := range o.Invoices {
		if v := &o.Invoices[i]; v.Account == account {
			ms = max(ms, v.To)
		}
	}
	return ms
}
