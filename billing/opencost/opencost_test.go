package opencost

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

var update = flag.Bool("update", false, "write the goldens")

// now is a Friday.
var now = time.Date(2026, 11, 27, 9, 30, 15, 500_000_000, time.UTC)

func TestWindows(t *testing.T) {
	for s, want := range map[string][2]string{
		"today": {"2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z"}, "yesterday": {"2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z"},
		"week": {"2026-11-22T00:00:00Z", "2026-11-27T09:30:15.5Z"}, "lastweek": {"2026-11-15T00:00:00Z", "2026-11-22T00:00:00Z"},
		"month": {"2026-11-01T00:00:00Z", "2026-11-27T09:30:15.5Z"}, "lastmonth": {"2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"},
		"7d": {"2026-11-21T00:00:00Z", "2026-11-28T00:00:00Z"}, "24h": {"2026-11-26T10:00:00Z", "2026-11-27T10:00:00Z"},
		"30m": {"2026-11-27T09:01:00Z", "2026-11-27T09:31:00Z"}, "2w": {"2026-11-14T00:00:00Z", "2026-11-28T00:00:00Z"},
		"2026-10-01T00:00:00Z,2026-11-01T00:00:00+01:00": {"2026-10-01T00:00:00Z", "2026-10-31T23:00:00Z"},
		"1578002645,1580681045":                          {"2020-01-02T22:04:05Z", "2020-02-02T22:04:05Z"},
		"1578002645-1580681045":                          {"2020-01-02T22:04:05Z", "2020-02-02T22:04:05Z"},
	} {
		w, err := parseWindow(s, now)
		if got := [2]string{w.Start.Format(time.RFC3339Nano), w.End.Format(time.RFC3339Nano)}; err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", s, got, err, want)
		}
	}
}

func TestParseComplains(t *testing.T) {
	for params, says := range map[string]string{
		"":                                 `Invalid 'window' parameter: "": want today`,
		"window=0d":                        `"0d"`,
		"window=5":                         `"5"`,
		"window=2026-10-01,2026-10-02":     "want today",
		"window=1580681045,1578002645":     "the end isn't after the beginning",
		"window=1d&aggregate=colour":       `Invalid 'aggregate' parameter: "colour": want one of cluster, node`,
		"window=1d&aggregate=container":    `"container"`,
		"window=1d&aggregate=label":        `"label"`,
		"window=1d&aggregate=pod:x":        `"pod:x"`,
		"window=1d&step=never":             `Invalid 'step' parameter: "never": want a duration`,
		"window=100d&step=1m":              "more than 10000 steps",
		"window=1d&accumulate=perhaps":     `Invalid 'accumulate' parameter: "perhaps"`,
		"window=1d&includeIdle=perhaps":    `Invalid 'includeIdle' parameter: "perhaps": want true or false`,
		"window=1d&shareIdle=true":         `Invalid 'shareIdle' parameter: "true": it isn't offered here: want false`,
		"window=1d&shareNamespaces=a":      `Invalid 'shareNamespaces'`,
		"window=1d&filterServices=a":       `Invalid 'filterServices' parameter: it isn't offered here`,
		"window=1d&filterLabels=a":         `want NAME:VALUE`,
		"window=1d&filter=colour:%22a%22":  "want conditions such as",
		"window=1d&filter=namespace":       "want conditions",
		"window=1d&filter=namespace:a":     "want conditions",
		"window=1d&filter=namespace:%22a":  "want conditions",
		"window=1d&filter=label:%22a%22":   "want conditions",
		"window=1d&filter=label[:%22a%22":  "want conditions",
		"window=1d&filter=pod[x]:%22a%22":  "want conditions",
		"window=1d&filter=pod:%22a%22|pod": "want conditions",
	} {
		v, err := url.ParseQuery(params)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(v, now); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", params, err, says)
		}
	}
}

var (
	vcpu   = &billing.Item{SKU: billing.SKU{Resource: billing.CPU}, ID: "vcpu", Price: 60_000_000_000}
	memory = &billing.Item{SKU: billing.SKU{Resource: billing.Memory}, ID: "memory", Price: 30_000_000_000}
	gpus   = &billing.Item{SKU: billing.SKU{Resource: billing.GPU, Model: "H100"}, ID: "gpu", Price: 18_500_000_000_000}
)

// charges are of two days: a Deployment's two pods and a pod by itself, covered in part by a plan at 55 %.
func charges() []billing.Charge {
	plan := &billing.Plan{Name: "p", Discounts: []billing.PlanDiscount{{Discount: 550_000}}}
	day1 := time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC).UnixMilli()
	var out []billing.Charge
	for i, p := range []struct {
		ns, pod, node string
		labels        map[string]string
		gpu           bool
	}{
		{"shop", "web-6f7c9d8b5-x2x4z", "n1", map[string]string{"pod-template-hash": "6f7c9d8b5", "app.kubernetes.io/name": "web", "team": "a"}, false},
		{"shop", "web-6f7c9d8b5-b4c5d", "n2", map[string]string{"pod-template-hash": "6f7c9d8b5", "app.kubernetes.io/name": "web", "team": "b"}, false},
		{"models", "train", "n2", nil, true},
	} {
		s := &usagev1.Segment{ID: usagev1.ID{PodUID: fmt.Sprint(i), Sequence: 1}, Namespace: p.ns, Pod: p.pod, Node: p.node, Labels: p.labels}
		for d := range int64(2) {
			from := day1 + d*86_400_000 + 3_600_000
			c := billing.Charge{From: from, To: from + 2*3_600_000, Account: "default", Project: p.ns, Segment: s}
			add := func(item *billing.Item, q billing.Quantity, covered bool) {
				c.Item, c.Quantity, c.List, c.Plan = item, q, q.At(item.Price), nil
				c.Billed, c.Effective = c.List, c.List
				if covered {
					c.Plan, c.Billed, c.Effective = plan, billing.Money{}, q.At(item.Price.Off(550_000))
				}
				out = append(out, c)
			}
			add(vcpu, 3_000_000_000, i == 0)
			add(vcpu, 1_000_000_000, false)
			add(memory, 8_000_000_000, false)
			if p.gpu {
				add(gpus, 500_000_000, false)
			}
		}
	}
	for d := range int64(2) {
		from := day1 + d*86_400_000
		out = append(out,
			billing.Charge{Kind: billing.Purchase, From: from, To: from + 86_400_000, Account: "default", Plan: plan, Billed: billing.MustMoney("1")},
			billing.Charge{Kind: billing.Unused, From: from, To: from + 86_400_000, Account: "default", Plan: plan, Effective: billing.MustMoney("0.919")})
	}
	return append(out, billing.Charge{Kind: billing.Adjustment, From: day1, To: day1, Account: "default", Project: "shop", Adjustment: "credit", List: billing.MustMoney("-0.1"), Billed: billing.MustMoney("-0.1"), Effective: billing.MustMoney("-0.1")})
}

// client is what OpenCost's clients decode of an answer.
type client struct {
	Code    int
	Status  string
	Message string
	Data    []map[string]*struct {
		Name       string
		Properties struct {
			Cluster, Node, Namespace, Controller, ControllerKind, Pod string
			Labels                                                    map[string]string
		}
		Window             struct{ Start, End time.Time }
		Start, End         time.Time
		Minutes            float64
		CPUCoreUsageAvg    float64 `json:"cpuCoreUsageAverage"`
		CPUCores           float64
		CPUCoreHours       float64
		CPUCost            float64
		CPUCostAdjustment  float64
		GPUHours           float64
		GPUCost            float64
		GPUCostAdjustment  float64
		PVCost             float64
		PVCostAdjustment   float64
		RAMByteHours       float64
		RAMBytes           float64
		RAMCost            float64
		RAMCostAdjustment  float64
		NetworkCost        float64
		LoadBalancerCost   float64
		SharedCost         float64
		ExternalCost       float64
		TotalCost          float64
		RAMEfficiency      *float64
		TotalEfficiency    *float64
		CPUCoreRequestMean float64 `json:"cpuCoreRequestAverage"`
	}
}

func ask(t *testing.T, params string) (client, []byte) {
	t.Helper()
	v, err := url.ParseQuery(params)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Parse(v, now)
	if err != nil {
		t.Fatal(err)
	}
	a := New(r, "swell")
	for _, c := range charges() {
		if err := a.Add(&c); err != nil {
			t.Fatal(err)
		}
	}
	w := httptest.NewRecorder()
	if err := a.Write(w); err != nil {
		t.Fatal(err)
	}
	body := slices.Clone(w.Body.Bytes())
	var out client
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatal(err)
	}
	return out, body
}

const days = "window=2026-11-25T00:00:00Z,2026-11-27T00:00:00Z"

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestAllocations(t *testing.T) {
	got, _ := ask(t, days+"&aggregate=namespace")
	if got.Code != 200 || len(got.Data) != 1 || len(got.Data[0]) != 2 {
		t.Fatalf("%+v", got)
	}
	shop := got.Data[0]["shop"]
	// Two pods, two days, 4 vCPU-hours and 8 GiB-hours each; 3 vCPU-hours a day of one pod are covered at 45 %.
	list, adjustment := 16*0.06, -6*0.06*0.55
	if !near(shop.CPUCoreHours, 16) || !near(shop.CPUCost, list) || !near(shop.CPUCostAdjustment, adjustment) || !near(shop.RAMCost, 32*0.03) ||
		!near(shop.RAMByteHours, 32*(1<<30)) || !near(shop.ExternalCost, -0.1) || !near(shop.TotalCost, list+adjustment+32*0.03-0.1) {
		t.Errorf("%+v", shop)
	}
	if shop.Name != "shop" || shop.Properties.Namespace != "shop" || shop.Properties.Node != "" || shop.Properties.Cluster != "swell" || shop.RAMEfficiency != nil {
		t.Errorf("%+v", shop)
	}
	if models := got.Data[0]["models"]; !near(models.GPUHours, 1) || !near(models.GPUCost, 18.5) || models.Properties.Node != "n2" || models.Minutes != 26*60 || !near(models.CPUCores*26, 8) {
		t.Errorf("%+v", models)
	}
	for _, set := range got.Data {
		for name, a := range set {
			if sum := a.CPUCost + a.CPUCostAdjustment + a.GPUCost + a.GPUCostAdjustment + a.RAMCost + a.RAMCostAdjustment + a.PVCost + a.PVCostAdjustment + a.ExternalCost + a.SharedCost + a.NetworkCost + a.LoadBalancerCost; !near(sum, a.TotalCost) {
				t.Errorf("%s: costs sum to %v, the total is %v", name, sum, a.TotalCost)
			}
		}
	}
}

// TestTotals: however it is aggregated, stepped and accumulated, everything sums to what charges come to.
func TestTotals(t *testing.T) {
	var want, idle billing.Money
	for _, c := range charges() {
		if c.Kind == billing.Unused {
			idle = idle.Plus(c.Effective)
			continue
		}
		want = want.Plus(c.Effective)
	}
	for _, params := range []string{"", "&aggregate=pod", "&aggregate=namespace&step=1d", "&aggregate=controller&accumulate=day", "&aggregate=node,namespace&step=1h",
		"&aggregate=label:team", "&aggregate=cluster&step=1d&accumulate=true", "&aggregate=controllerKind", "&aggregate=deployment", "&aggregate=team&step=week&includeIdle=true"} {
		got, _ := ask(t, days+params)
		var sum, unused float64
		for _, set := range got.Data {
			for name, a := range set {
				if name == Idle {
					unused += a.TotalCost
					continue
				}
				sum += a.TotalCost
			}
		}
		if !near(sum, want.Float()) {
			t.Errorf("%s: %v, want %s", params, sum, want)
		}
		if strings.Contains(params, "includeIdle") != near(unused, idle.Float()) {
			t.Errorf("%s: idle %v, of %s", params, unused, idle)
		}
	}
}

func TestNames(t *testing.T) {
	for params, want := range map[string]string{
		"":                                  "swell/__unallocated__/shop/__unallocated__/ swell/n1/shop/web-6f7c9d8b5-x2x4z/ swell/n2/models/train/ swell/n2/shop/web-6f7c9d8b5-b4c5d/",
		"&aggregate=controller":             "__unallocated__ deployment:web",
		"&aggregate=deployment":             "__unallocated__ web",
		"&aggregate=statefulset":            "__unallocated__",
		"&aggregate=controllerKind":         "__unallocated__ deployment",
		"&aggregate=namespace,label:team":   "models/__unallocated__ shop/__unallocated__ shop/a shop/b",
		"&aggregate=namespace&idle=true":    "__idle__ models shop",
		"&aggregate=Namespace,%20namespace": "models shop",
		"&aggregate=label:app_kubernetes_io_name&filter=label[app.kubernetes.io/name]:%22web%22": "web",
		"&aggregate=pod&filter=namespace:%22shop%22%2Bnode!:%22n1%22":                            "__unallocated__ web-6f7c9d8b5-b4c5d",
		"&aggregate=pod&filter=namespace:%22shop%22,%22models%22+node:%22n2%22":                  "train web-6f7c9d8b5-b4c5d",
		"&aggregate=pod&filter=controllerName:%22web%22%2BcontrollerKind:%22deployment%22":       "web-6f7c9d8b5-b4c5d web-6f7c9d8b5-x2x4z",
		"&aggregate=pod&filterPods=train,web*":                                                   "train web-6f7c9d8b5-b4c5d web-6f7c9d8b5-x2x4z",
		"&aggregate=pod&filterLabels=team:a,team:c":                                              "web-6f7c9d8b5-x2x4z",
		"&aggregate=pod&filterNamespaces=models&filterNodes=n1":                                  "",
		"&aggregate=pod&filterNamespaces=":                                                       "__unallocated__ train web-6f7c9d8b5-b4c5d web-6f7c9d8b5-x2x4z",
	} {
		got, _ := ask(t, days+params)
		var names []string
		for name := range got.Data[0] {
			names = append(names, name)
		}
		slices.Sort(names)
		if s := strings.Join(names, " "); s != want {
			t.Errorf("%s: %s, want %s", params, s, want)
		}
	}
}

func TestSteps(t *testing.T) {
	for params, want := range map[string]int{"": 1, "&step=1d": 2, "&step=36h": 2, "&step=1h": 48, "&step=1d&accumulate=true": 1, "&step=1d&accumulate=false": 2,
		"&accumulate=hour": 48, "&accumulate=week": 1, "&accumulate=all": 1, "&step=month": 1} {
		got, _ := ask(t, days+"&aggregate=cluster"+params)
		if len(got.Data) != want {
			t.Errorf("%s: %d sets, want %d", params, len(got.Data), want)
		}
	}
	got, _ := ask(t, days+"&aggregate=pod&step=1d")
	for _, set := range got.Data {
		if a := set["train"]; a == nil || !near(a.CPUCoreHours, 4) || a.Minutes != 120 || !near(a.CPUCores, 2) || a.Window.End.Sub(a.Window.Start) != 24*time.Hour {
			t.Errorf("%+v", a)
		}
	}
	if a := got.Data[0]["web-6f7c9d8b5-x2x4z"]; a.Properties.Labels["app_kubernetes_io_name"] != "web" || a.Properties.Controller != "web" || a.Properties.ControllerKind != "deployment" {
		t.Errorf("%+v", a.Properties)
	}
}

func TestGolden(t *testing.T) {
	_, body := ask(t, days+"&aggregate=namespace,controller&includeIdle=true")
	var indented strings.Builder
	var any any
	if err := json.Unmarshal(body, &any); err != nil {
		t.Fatal(err)
	}
	e := json.NewEncoder(&indented)
	e.SetIndent("", "  ")
	if err := e.Encode(any); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "allocation.json")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(indented.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if indented.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", indented.String(), want)
	}
}

func TestErrorsAndBounds(t *testing.T) {
	w := httptest.NewRecorder()
	if err := WriteError(w, http.StatusBadRequest, "no"); err != nil {
		t.Fatal(err)
	}
	var got client
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 400 || got.Code != 400 || got.Message != "no" || got.Data != nil {
		t.Errorf("%d %s %v", w.Code, w.Body, err)
	}
	r, err := Parse(url.Values{"window": {"1d"}, "aggregate": {"pod"}}, now)
	if err != nil {
		t.Fatal(err)
	}
	a := New(r, "swell")
	a.count = maxAllocations
	c := charges()[0]
	if err := a.Add(&c); err == nil || !strings.Contains(err.Error(), "want them aggregated") {
		t.Errorf("one too many: %v", err)
	}
}

// FuzzParse: whatever a client asks, it is refused or answered, and what is chosen by no filter is everything.
func FuzzParse(f *testing.F) {
	f.Add("window=1d&aggregate=namespace,label:app&filter=namespace:%22a%22,%22b%22%2Blabel[app]!:%22web%22")
	f.Add("window=month&accumulate=day&filterLabels=a:b&includeIdle=1")
	f.Add("window=2026-10-01T00:00:00Z,2026-11-01T00:00:00Z&step=month&filter= pod : ")
	f.Fuzz(func(t *testing.T, params string) {
		v, err := url.ParseQuery(params)
		if err != nil {
			return
		}
		r, err := Parse(v, now)
		if err != nil {
			return
		}
		if last := r.sets[len(r.sets)-1]; !r.sets[0].Start.Equal(r.Window.Start) || !last.End.Equal(r.Window.End) || len(r.Cuts()) != len(r.sets)+1 {
			t.Fatalf("%s: sets from %s to %s in a window from %s to %s", params, r.sets[0].Start, last.End, r.Window.Start, r.Window.End)
		}
		a := New(r, "swell")
		for _, c := range charges() {
			if err := a.Add(&c); err != nil {
				t.Fatal(err)
			}
		}
		if len(r.filters) == 0 && a.count == 0 {
			t.Fatalf("%s: nothing is answered", params)
		}
	})
}
