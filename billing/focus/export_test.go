package focus

import (
	"bytes"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"swell.dev/swell/billing"
)

var update = flag.Bool("update", false, "rewrite the goldens")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and look at the difference:\n%s", name, got)
	}
}

func (s *sample) csv(t testing.TB, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewCSV(&b, Columns(o.Version, CostAndUsage))
	if err != nil {
		t.Fatal(err)
	}
	s.export(t, o, w)
	return b.Bytes()
}

func (s *sample) parquet(t testing.TB, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewParquet(&b, Columns(o.Version, CostAndUsage), map[string]string{"focus": "x"})
	if err != nil {
		t.Fatal(err)
	}
	s.export(t, o, w)
	return b.Bytes()
}

func (s *sample) export(t testing.TB, o Options, w Writer) {
	t.Helper()
	e := NewExporter(o, w)
	for i := range s.charges {
		if err := e.Add(&s.charges[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// clean fails unless a file keeps every rule, and every recommendation.
func clean(t testing.TB, table Table, v Version, d Dataset) *Report {
	t.Helper()
	r, err := Validate(table, v, d)
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range r.Violations {
		t.Errorf("FOCUS %s, %s: %s", v, d, broken)
	}
	return r
}

func openCSV(t testing.TB, b []byte) Table {
	t.Helper()
	table, err := OpenCSV(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func openParquet(t testing.TB, b []byte) Table {
	t.Helper()
	table, err := OpenParquet(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestGoldenExports(t *testing.T) {
	s := october(t)
	for _, v := range []Version{Version12, Version14} {
		for _, g := range []Granularity{Daily, BySegment} {
			o := s.opts
			o.Version, o.Granularity = v, g
			out := s.csv(t, o)
			golden(t, "cost-and-usage-"+v.String()+"-"+g.String()+".csv", out)
			if r := clean(t, openCSV(t, out), v, CostAndUsage); r.Rows < 10 {
				t.Errorf("%d rows", r.Rows)
			}
		}
	}
}

func TestGoldenCommitments(t *testing.T) {
	s := october(t)
	returned := *s.plans[0]
	returned.UID, returned.Name, returned.Returned = "5f0c7c1e-0000-4000-8000-000000000003", "mistake", day(1)
	o := s.opts
	o.Version = Version14
	var b bytes.Buffer
	w, err := NewCSV(&b, Columns(Version14, ContractCommitment))
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteCommitments(o, append(s.plans, &returned), day(10), w); err != nil {
		t.Fatal(err)
	}
	golden(t, "contract-commitment-1.4.csv", b.Bytes())
	clean(t, openCSV(t, b.Bytes()), Version14, ContractCommitment)
}

func TestGoldenMetadata(t *testing.T) {
	for _, v := range []Version{Version12, Version14} {
		golden(t, "metadata-"+v.String()+".json", MetadataOf(v, CostAndUsage, "0.5.0", day(4), true).MarshalIndent())
	}
}

// TestRandomBills: whatever the bill, both formats keep all rules, say the same, and sum to the charges.
func TestRandomBills(t *testing.T) {
	for seed := range uint64(4) {
		s := random(t, seed)
		for _, v := range []Version{Version12, Version14} {
			for _, g := range []Granularity{Daily, Hourly, BySegment} {
				o := s.opts
				o.Version, o.Granularity = v, g
				text, binary := s.csv(t, o), s.parquet(t, o)
				clean(t, openCSV(t, text), v, CostAndUsage)
				clean(t, openParquet(t, binary), v, CostAndUsage)
				sameTables(t, openCSV(t, text), openParquet(t, binary))
				s.sums(t, openCSV(t, text))
				if t.Failed() {
					t.Fatalf("seed %d, FOCUS %s by %s", seed, v, g)
				}
			}
		}
	}
}

// sums compares a file's totals with the charges'.
func (s *sample) sums(t *testing.T, table Table) {
	t.Helper()
	columns := []string{"BilledCost", "EffectiveCost", "ListCost"}
	var want, got [3]billing.Money
	for i := range s.charges {
		c := &s.charges[i]
		list := c.List
		if c.Kind != billing.Usage {
			list = c.Billed.Plus(c.Effective) // of plans: one of them is nothing
		}
		for k, m := range []billing.Money{c.Billed, c.Effective, list} {
			want[k] = want[k].Plus(m)
		}
	}
	for {
		fields, err := table.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for k, name := range columns {
			m, err := billing.ParseMoney(fields[slices.Index(table.names(), name)].text)
			if err != nil {
				t.Fatal(err)
			}
			got[k] = got[k].Plus(m)
		}
	}
	if got != want {
		t.Errorf("the file's sums of %v are %v, the charges' %v", columns, got, want)
	}
}

func sameTables(t *testing.T, a, b Table) {
	t.Helper()
	if !slices.Equal(a.names(), b.names()) {
		t.Fatalf("columns %v and %v", a.names(), b.names())
	}
	for row := 1; ; row++ {
		x, err := a.next()
		y, other := b.next()
		if err != other {
			t.Fatalf("row %d: %v and %v", row, err, other)
		}
		if err == io.EOF {
			return
		}
		if !slices.Equal(x, y) {
			t.Fatalf("row %d: %v and %v", row, x, y)
		}
	}
}

// TestOrderAndParts: the order in which charges come, and in how many parts, doesn't matter.
func TestOrderAndParts(t *testing.T) {
	s := random(t, 99)
	o := s.opts
	o.Version = Version14
	want := s.csv(t, o)
	r := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		other := &sample{}
		for _, c := range s.charges {
			if c.Kind == billing.Usage && c.Plan == nil && c.Quantity > 1 {
				// Its quantity in two, as if a cut had been there.
				a, b := c, c
				a.Quantity = billing.Quantity(r.Int64N(int64(c.Quantity)))
				b.Quantity -= a.Quantity
				a.Burst, b.Burst = 0, c.Burst
				for _, part := range []*billing.Charge{&a, &b} {
					part.List = part.Quantity.At(c.Item.Price)
					part.Billed, part.Effective = part.List, part.List
				}
				other.charges = append(other.charges, a, b)
				continue
			}
			other.charges = append(other.charges, c)
		}
		r.Shuffle(len(other.charges), func(i, k int) { other.charges[i], other.charges[k] = other.charges[k], other.charges[i] })
		if got := other.csv(t, o); !bytes.Equal(got, want) {
			t.Fatal("another order of charges, and other parts of them, make another file")
		}
	}
}

// TestManyRows: more rows than are held at once are written in parts, and sum to the same.
func TestManyRows(t *testing.T) {
	s := random(t, 5)
	o := s.opts
	o.Version = Version14
	var b bytes.Buffer
	w, err := NewCSV(&b, Columns(o.Version, CostAndUsage))
	if err != nil {
		t.Fatal(err)
	}
	e := NewExporter(o, w)
	e.fold.limit = 7
	most := 0
	for i := range s.charges {
		if err := e.Add(&s.charges[i]); err != nil {
			t.Fatal(err)
		}
		most = max(most, len(e.fold.rows))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if most > 7 {
		t.Errorf("%d rows were held", most)
	}
	clean(t, openCSV(t, b.Bytes()), o.Version, CostAndUsage)
	s.sums(t, openCSV(t, b.Bytes()))
}

func TestChargesThatCantBe(t *testing.T) {
	s := october(t)
	good := s.charges[0]
	for says, change := range map[string]func(*billing.Charge){
		"more than one day":                   func(c *billing.Charge) { c.To += 24 * 3600_000 },
		"usage without a segment":             func(c *billing.Charge) { c.Segment = nil },
		"at list, not 9":                      func(c *billing.Charge) { c.List = billing.MustMoney("9") },
		"invoice 2020-01, which is unknown":   func(c *billing.Charge) { c.Invoice = "2020-01" },
		"kind 17":                             func(c *billing.Charge) { c.Kind = 17 },
		"segment uid-web/1/1: 2026-10-01T00:": func(c *billing.Charge) { c.To += 36 * 3600_000 },
	} {
		c := good
		change(&c)
		e := NewExporter(Options{Version: Version14, Currency: "CNY"}, nullWriter{})
		err := e.Add(&c)
		if err == nil {
			err = e.Close()
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

type nullWriter struct{}

func (nullWriter) Write(Row) error { return nil }
func (nullWriter) Close() error    { return nil }

// TestDaysOfAZone: rows are for the days of the zone, of 23 and 25 hours too, said in UTC.
func TestDaysOfAZone(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for start, hours := range map[time.Time]int{
		time.Date(2026, 10, 25, 0, 0, 0, 0, zone): 25, time.Date(2026, 3, 29, 0, 0, 0, 0, zone): 23, time.Date(2026, 10, 1, 0, 0, 0, 0, zone): 24,
	} {
		f := fold{zone: zone}
		for _, at := range []time.Time{start, start.Add(time.Duration(hours)*time.Hour - time.Millisecond)} {
			from, to := f.period(at.UnixMilli())
			if from != start.UnixMilli() || to-from != int64(hours)*3600_000 {
				t.Errorf("%s is in %s to %s", at, stamp(from), stamp(to))
			}
		}
	}
	o := Options{Zone: zone}
	if from, to := o.month(time.Date(2026, 10, 31, 23, 30, 0, 0, zone).UnixMilli()); stamp(from) != "2026-09-30T22:00:00Z" || stamp(to) != "2026-10-31T23:00:00Z" {
		t.Errorf("October in Berlin is %s to %s", stamp(from), stamp(to))
	}
}

func TestInvoiceLines(t *testing.T) {
	s := october(t)
	var lines InvoiceLines
	var total billing.Money
	for i := range s.charges {
		if c := &s.charges[i]; c.Invoice == "" {
			c.Invoice = "2026-10-acme" // the correction among them
			lines.Add(c)
			total = total.Plus(c.Billed)
		}
	}
	if lines.Total() != total {
		t.Errorf("the lines are %s together, the charges %s", lines.Total(), total)
	}
	o := s.opts
	o.Version = Version14
	v := Invoice{ID: "2026-10-acme", Account: "acme", From: day(1).UnixMilli(), To: day(32).UnixMilli(), Currency: "CNY", Total: total.Round(2, billing.HalfEven), Closed: day(33)}
	var b, p bytes.Buffer
	w, err := NewCSV(&b, Columns(Version14, InvoiceDetail))
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteInvoice(o, v, &lines, w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	golden(t, "invoice-detail-1.4.csv", b.Bytes())
	clean(t, openCSV(t, b.Bytes()), Version14, InvoiceDetail)

	// The lines' ids are those of the charges that are in them.
	o.Invoices = append(o.Invoices, v)
	o.Granularity = BySegment
	ids := map[string]bool{}
	table := openCSV(t, s.csv(t, o))
	for {
		fields, err := table.next()
		if err != nil {
			break
		}
		id, invoice, billed := fields[slices.Index(table.names(), "InvoiceDetailId")], fields[slices.Index(table.names(), "InvoiceId")], fields[slices.Index(table.names(), "BilledCost")]
		if invoice.text == v.ID && billed.text != "0" {
			ids[id.text] = true
		}
	}
	for id := range lines.lines {
		if !ids[id] {
			t.Errorf("no charge is in line %s", id)
		}
		delete(ids, id)
	}
	if len(ids) > 0 {
		t.Errorf("charges are in %v, which the invoice hasn't", ids)
	}

	w, err = NewCSV(&p, Columns(Version14, BillingPeriod))
	if err != nil {
		t.Fatal(err)
	}
	charged := func(from, _ int64) []string {
		if from == day(1).UnixMilli() {
			return []string{"acme"}
		}
		return []string{"acme", "other"}
	}
	if err := WritePeriods(o, time.Date(2026, 9, 3, 0, 0, 0, 0, time.UTC).UnixMilli(), day(40).UnixMilli(), charged, day(35), w); err != nil {
		t.Fatal(err)
	}
	golden(t, "billing-period-1.4.csv", p.Bytes())
	clean(t, openCSV(t, p.Bytes()), Version14, BillingPeriod)
}
