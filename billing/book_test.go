package billing

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

const fullBook = `version: full
effective: 2026-11-01
zone: Asia/Shanghai
currency: CNY
rounding: half-up
decimals: 4
minimumDuration: 60s
bestEffort: 20%
sizeGrid:
  - {vcpu: 0.25, gib: [0.5, 1]}
  - {vcpu: 2, gib: {from: 1, to: 4, step: 0.5}}
  - {vcpu: [4, 8], gib: 16}
prices:
  general-purpose:
    default: {vcpu: 0.06, gib: 0.03}
  performance:
    default: {vcpu: 0.078, gib: 0.039}
    best-effort: {vcpu: 0.05, gib: 0.039}
gpus:
  H100:
    default: {gpu: 30, gib: 0.25}
  "*":
    default: {gpu: 10}
storage: {gib: 0.0005, includedGiB: 30}
regions:
  eu-1:
    prices: {general-purpose: {default: {vcpu: 0.1}}}
    gpus: {H100: {default: {gpu: 40}}}
    storage: {includedGiB: 10}
savingsPlans:
  - name: day-1y
    interval: day
    term: 1y
    returnWindow: 48h
    zone: Asia/Shanghai
    discounts:
      - {class: performance, resource: memory, discount: 12.5%}
      - {discount: 55%}
`

func mustParse(t *testing.T, text string) *Book {
	t.Helper()
	b, err := ParseBook("prices.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestABookSaysWhatThingsCost(t *testing.T) {
	b := mustParse(t, fullBook)
	if b.Version != "full" || !b.Effective.Equal(time.Date(2026, 10, 31, 16, 0, 0, 0, time.UTC)) || b.Currency != "CNY" ||
		b.Rounding != HalfUp || b.Decimals != 4 || b.MinimumDuration != time.Minute || string(b.Text) != fullBook || len(b.Digest) != 64 {
		t.Errorf("%+v", b)
	}
	for _, c := range []struct {
		class, qos, region string
		size               Size
		costs              string
	}{
		{"general-purpose", "default", "", Size{CPUMilli: 2000, MemoryBytes: 4 << 30}, "0.24"},
		{"general-purpose", "best-effort", "", Size{CPUMilli: 2000, MemoryBytes: 4 << 30}, "0.048"},
		{"performance", "best-effort", "", Size{CPUMilli: 2000, MemoryBytes: 4 << 30}, "0.256"},
		{"general-purpose", "default", "", Size{CPUMilli: 300, MemoryBytes: 1100 << 20}, "0.165"},                  // 2 and 1.5
		{"general-purpose", "default", "", Size{CPUMilli: 3000, MemoryBytes: 1 << 30}, "0.72"},                     // 4 and 16
		{"general-purpose", "default", "", Size{CPUMilli: 9000, MemoryBytes: 1 << 30}, "0.57"},                     // beyond
		{"general-purpose", "default", "", Size{CPUMilli: 250, MemoryBytes: 17 << 30}, "0.525"},                    // beyond
		{"gpu", "default", "", Size{CPUMilli: 300, MemoryBytes: 1 << 30}, "0.048"},                                 // no grid
		{"gpu", "default", "", Size{GPU: usagev1.GPU{Model: "H100", Milli: 500, MemoryMiB: 40 << 10}}, "25"},       //
		{"gpu", "best-effort", "", Size{GPU: usagev1.GPU{Model: "H100", Milli: 500, MemoryMiB: 40 << 10}}, "5"},    //
		{"gpu", "default", "", Size{GPU: usagev1.GPU{Model: "B300", Milli: 500, MemoryMiB: 40 << 10}}, "5"},        //
		{"gpu", "default", "eu-1", Size{GPU: usagev1.GPU{Model: "H100", Milli: 500, MemoryMiB: 40 << 10}}, "30"},   //
		{"general-purpose", "default", "eu-1", Size{CPUMilli: 2000, MemoryBytes: 4 << 30}, "0.32"},                 //
		{"gpu", "default", "eu-1", Size{CPUMilli: 2000, MemoryBytes: 4 << 30}, "0.32"},                             //
		{"general-purpose", "best-effort", "eu-1", Size{CPUMilli: 2000, MemoryBytes: 4 << 30}, "0.064"},            //
		{"performance", "default", "eu-1", Size{CPUMilli: 2000, MemoryBytes: 4 << 30}, "0.312"},                    //
		{"general-purpose", "default", "mars", Size{CPUMilli: 2000, MemoryBytes: 4 << 30}, "0.24"},                 //
		{"gpu", "default", "", Size{StorageBytes: 40 << 30}, "0.005"},                                              //
		{"gpu", "default", "eu-1", Size{StorageBytes: 40 << 30}, "0.015"},                                          //
		{"gpu", "default", "", Size{StorageBytes: 30 << 30}, "0"},                                                  //
		{"performance", "default", "", Size{CPUMilli: 1000, MemoryBytes: 1 << 30, StorageBytes: 1 << 30}, "0.195"}, // 2 and 1
	} {
		got, err := b.PerHour(c.class, c.qos, c.region, c.size)
		if err != nil || got.String() != c.costs {
			t.Errorf("%s %s %q %+v: %s (%v), want %s", c.class, c.qos, c.region, c.size, got, err, c.costs)
		}
	}
	rates, err := b.Rates("performance", "default", "eu-1")
	if err != nil {
		t.Fatal(err)
	}
	if everywhere, _ := b.Rates("performance", "default", ""); rates.CPU != everywhere.CPU || rates.CPU.ID != "performance/default/vcpu" {
		t.Errorf("a price that a region doesn't have is another item there: %+v", rates.CPU)
	}
	if o, ok := b.Offer("day-1y"); !ok || o.TermDays != 365 || o.ReturnWindow != 48*time.Hour || o.Zone.String() != "Asia/Shanghai" ||
		len(o.Discounts) != 2 || o.Discounts[0] != (PlanDiscount{Class: "performance", Resource: "memory", Discount: 125_000}) {
		t.Errorf("%+v", o)
	}
	for i, item := range b.Items() {
		if item.Version != "full" || item.ID != item.SKU.ID() || i > 0 && !b.Items()[i-1].Less(item) {
			t.Errorf("item %d: %+v", i, item)
		}
	}
}

// TestBooksAreCheckedByLine changes one thing of a good book at a time.
func TestBooksAreCheckedByLine(t *testing.T) {
	for name, c := range map[string]struct{ old, new, says string }{
		"unknown field":         {"currency: CNY", "currency: CNY\ncolour: red", "prices.yaml:5: colour: unknown field"},
		"twice":                 {"currency: CNY", "currency: CNY\ncurrency: EUR", "prices.yaml:5: currency: given twice"},
		"currency":              {"CNY\n", "yuan\n", "three capitals"},
		"no version":            {"version: full\n", "", "version: missing"},
		"version":               {"full\n", "a b\n", `version: name "a b"`},
		"date":                  {"2026-11-01", "tomorrow", "prices.yaml:2: effective: \"tomorrow\": want a date such as"},
		"zone":                  {"zone: Asia/Shanghai\ncurrency", "zone: Mars\ncurrency", `prices.yaml:3: zone: time zone "Mars"`},
		"rounding":              {"half-up", "sideways", "want one of half-even"},
		"decimals":              {"decimals: 4", "decimals: 13", "from 0 to 12"},
		"minimum":               {"60s", "a minute", "minimumDuration: duration"},
		"negative":              {"vcpu: 0.06", "vcpu: -1", "prices.yaml:15: prices.general-purpose.default.vcpu"},
		"not a number":          {"vcpu: 0.06", "vcpu: much", `"much"`},
		"missing":               {"vcpu: 0.06, ", "", "prices.general-purpose.default.vcpu: missing"},
		"too exact":             {"vcpu: 0.06", "vcpu: 0.0000000000001", "12 decimal places"},
		"a list":                {"{vcpu: 0.06, gib: 0.03}", "[1, 2]", "want a mapping"},
		"not YAML":              {"prices:", "prices: [", "price file prices.yaml: yaml: line 12"},
		"unknown class":         {"  performance:", "  turbo:", "prices.turbo: unknown field; want one of general-purpose, performance, gpu"},
		"boolean":               {"vcpu: 0.06", "vcpu: true", "want a price"},
		"no best-effort":        {"bestEffort: 20%\n", "", "prices.general-purpose.best-effort.vcpu: missing; or say bestEffort: 20%"},
		"best-effort":           {"bestEffort: 20%", "bestEffort: 120%", "at most 100%"},
		"grid":                  {"gib: 16", "gib: none", `sizeGrid[2].gib: "none"`},
		"grid in part of a MiB": {"gib: 16", "gib: 0.0001", "in whole MiB"},
		"range":                 {"from: 1, to: 4", "from: 4, to: 1", "sizeGrid[1].gib: want from at most to"},
		"too large a grid":      {"from: 1, to: 4, step: 0.5", "from: 1, to: 4000000, step: 0.5", "steps"},
		"model":                 {"H100:\n", "H/100:\n", `gpus.H/100: name "H/100"`},
		"GPU":                   {"{gpu: 10}", "{gib: 10}", "gpus.*.default.gpu: missing"},
		"included":              {"includedGiB: 30", "includedGiB: some", "storage.includedGiB"},
		"interval":              {"interval: day", "interval: week", "savingsPlans[0].interval: interval \"week\": want day or hour"},
		"term":                  {"term: 1y", "term: 1 year", "savingsPlans[0].term"},
		"discount":              {"55%", "55", "savingsPlans[0].discounts[1].discount"},
		"discounts":             {"class: performance, ", "class: quick, ", `discounts[0].class: class "quick": want one of`},
		"region's class":        {"{general-purpose: {default: {vcpu: 0.1}}}", "{quick: 1}", "regions.eu-1.prices.quick: unknown field"},
	} {
		text := strings.Replace(fullBook, c.old, c.new, 1)
		if text == fullBook {
			t.Fatalf("%s: nothing was replaced", name)
		}
		if _, err := ParseBook("prices.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	for name, text := range map[string]string{"empty": "", "a list": "[]", "a word": "prices", "an offer twice": fullBook + strings.SplitN(fullBook, "savingsPlans:\n", 2)[1]} {
		if _, err := ParseBook("prices.yaml", []byte(text)); err == nil {
			t.Errorf("%s is a book", name)
		}
	}
}

// FuzzBook: whatever stands in a file, there is a book that answers, or an error.
func FuzzBook(f *testing.F) {
	f.Add(fullBook)
	f.Add("a: &x [*x]")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := ParseBook("prices.yaml", []byte(text))
		if err != nil {
			return
		}
		for _, class := range append([]string{ClassGPU}, Classes...) {
			for _, qos := range QoS {
				if _, err := b.PerHour(class, qos, "eu-1", Size{CPUMilli: 1, MemoryBytes: 1, GPU: usagev1.GPU{Model: "m", Milli: 1}, StorageBytes: 1}); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// Published list: https://www.alibabacloud.com/help/en/cs/product-overview/product-billing-rules
func TestShippedBooks(t *testing.T) {
	for _, name := range Shipped() {
		b, err := ShippedBook(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ class, qos, cost string }{ // of 2 vCPU and 4 GiB for an hour
			{"general-purpose", "default", "0.24"}, {"general-purpose", "best-effort", "0.048"},
			{"performance", "default", "0.312"}, {"performance", "best-effort", "0.0624"}, {"gpu", "default", "0.24"},
		} {
			if got, err := b.PerHour(c.class, c.qos, "", Size{CPUMilli: 2000, MemoryBytes: 4 << 30}); err != nil || got.String() != c.cost {
				t.Errorf("%s: %s %s: %s (%v), want %s", name, c.class, c.qos, got, err, c.cost)
			}
		}
	}
	acs, err := ShippedBook("acs")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ milli, mib, wantMilli, wantMiB int64 }{
		{100, 64, 250, 512}, {250, 1025, 500, 2048}, {300, 512, 500, 1024}, {1000, 1024, 1000, 2048}, {1500, 3072, 2000, 4096},
		{500, 16 << 10, 2000, 16 << 10}, {100, 2048, 500, 2048}, {3000, 64 << 10, 8000, 64 << 10}, {7000, 13 << 10, 8000, 16 << 10}, {65000, 1, 65000, 1},
	} {
		if m, b := acs.Billed("general-purpose", c.milli, c.mib<<20); m != c.wantMilli || b != c.wantMiB<<20 {
			t.Errorf("%dm and %d MiB are billed as %dm and %d MiB, want %dm and %d MiB", c.milli, c.mib, m, b>>20, c.wantMilli, c.wantMiB)
		}
	}
	if _, err := ShippedBook("nobody"); err == nil || !strings.Contains(err.Error(), "acs and exact") {
		t.Error(err)
	}
}

func TestBooksHoldFromTheirDate(t *testing.T) {
	version := func(name, date string) *Book {
		return mustParse(t, strings.NewReplacer("version: full", "version: "+name, "2026-11-01", date).Replace(fullBook))
	}
	one, two, three := version("one", "2026-01-01T00:00:00Z"), version("two", "2026-02-01T00:00:00Z"), version("three", "2026-03-01T00:00:00Z")
	set, err := NewBooks(two, three, one)
	if err != nil {
		t.Fatal(err)
	}
	at := func(b *Book, d time.Duration) int64 { return b.Effective.Add(d).UnixMilli() }
	const ms = time.Millisecond
	for when, want := range map[int64]*Book{at(one, -ms): nil, at(one, 0): one, at(two, -ms): one, at(two, 0): two, at(three, time.Hour): three} {
		if got := set.At(when); got != want {
			t.Errorf("at %d: %v, want %v", when, got, want)
		}
	}
	if got := set.Boundaries(at(one, -ms), at(three, 0)); len(got) != 1 || got[0] != at(two, 0) {
		t.Errorf("boundaries %v", got)
	}
	if next, ok := set.Next(at(two, 0)); !ok || next != at(three, 0) {
		t.Errorf("next %d %v", next, ok)
	}
	if _, ok := set.Next(at(three, 0)); ok {
		t.Error("something follows the last one")
	}
	if err := set.Before(0); !strings.Contains(err.Error(), "one, holds from 2026-01-01T00:00:00Z on") {
		t.Error(err)
	}
	other := mustParse(t, strings.Replace(fullBook, "CNY", "EUR", 1))
	for name, books := range map[string][]*Book{"none": nil, "the same version": {one, one}, "the same date": {one, version("1", "2026-01-01T00:00:00Z")}, "two currencies": {one, other}} {
		if _, err := NewBooks(books...); err == nil {
			t.Errorf("%s: a set", name)
		}
	}
}

func TestLoadBooks(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	file := write("a.yaml", fullBook)
	write("b.yaml", strings.NewReplacer("version: full", "version: next", "2026-11-01", "2026-12-01").Replace(fullBook))
	write("README", "not a book")
	for where, versions := range map[string]int{"acs": 1, "exact": 1, file: 1, dir: 2} {
		if set, err := LoadBooks(where); err != nil || len(set.All()) != versions {
			t.Errorf("%s: %v (%v), want %d versions", where, set, err, versions)
		}
	}
	write("c.yaml", "version: c\n")
	for where, says := range map[string]string{dir: "c.yaml:1: effective: missing", filepath.Join(dir, "none.yaml"): "one of acs, exact", t.TempDir(): "no *.yaml"} {
		if _, err := LoadBooks(where); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", where, err, says)
		}
	}
}
