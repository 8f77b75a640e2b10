package report

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"swell.dev/swell/billing"
)

//go:embed report.html.tmpl
var pageText string

//go:embed report.css
var pageStyle string

//go:embed report.js
var pageScript string

var page = template.Must(template.New("report").Parse(pageText))

// view is what the page's template shows: everything is text already.
type view struct {
	Style            template.CSS
	Script           template.JS
	StyleSum         template.HTMLAttr // the policy that lets this style and this script run, and nothing else
	Title, Subtitle  string
	Scope            []string
	Made             string
	Currency         string
	Tiles            []tile
	Costs            []*chart
	Plans            []planView
	Movers           []moverTable
	Resized          []lane
	ResizedNote      string
	Keys             []string
	Resources        []string
	Rows             []rowView
	Total            []cellView
	LeftOut          int64
	CostNote, Before string
}

type tile struct{ Name, Value, Unit, Note string }

type planView struct {
	Name, Terms                            string
	Commitment, Used, Unused, Saving, Rate string
	Chart                                  *chart
	Partial                                bool
}

type moverTable struct {
	Title  string
	Movers []moverView
}

type moverView struct {
	Name, Before, Now, Change, Percent string
	X, Width                           px
	Up                                 bool
}

type lane struct {
	Pod, Project, Sizes, Resizes, Title string
	From, To                            string
	CPU, Memory                         string // paths
}

type rowView struct {
	Keys   []string
	Cells  []cellView
	Others bool
}

type cellView struct{ Text, Exact string }

// HTML writes the overview as one page that needs nothing else: style, script and drawings are in it, and its policy
// lets it fetch nothing. All numbers are there without the script, which sorts and filters.
func (o *Overview) HTML(w io.Writer) error {
	v, err := o.view()
	if err != nil {
		return err
	}
	return page.Execute(w, v)
}

func (o *Overview) view() (*view, error) {
	r := o.Report
	q := &r.Query
	places := decimals(r.Total.List)
	v := &view{
		Style: template.CSS(pageStyle), Script: template.JS(pageScript),
		StyleSum: template.HTMLAttr(fmt.Sprintf(`content="default-src 'none'; style-src '%s'; script-src '%s'; img-src data:; base-uri 'none'; form-action 'none'"`,
			digest(pageStyle), digest(pageScript))),
		Title: "Cost report", Currency: r.Currency, LeftOut: r.LeftOut,
		Subtitle: fmt.Sprintf("%s to %s, %s", instant(q.From.UnixMilli(), q.Zone), instant(q.To.UnixMilli(), q.Zone), q.Zone),
		Made:     o.Made.In(q.Zone).Format("2006-01-02 15:04 MST"),
		CostNote: "What use costs when plans' commitments are laid onto what they cover; what a commitment left unused stands by itself.",
		Before:   fmt.Sprintf("%s to %s", instant(o.Before.Query.From.UnixMilli(), q.Zone), instant(o.Before.Query.To.UnixMilli(), q.Zone)),
	}
	for _, m := range q.Match {
		v.Scope = append(v.Scope, m.Of.String()+" "+strings.Join(m.Values, " or "))
	}
	if q.Labels != nil {
		v.Scope = append(v.Scope, "labels "+q.Labels.String())
	}
	v.Tiles = o.tiles(places)
	for _, c := range []struct {
		id, title, none string
		of              *Report
	}{{"project", "Project", "no project", o.ByProject}, {"class", "Compute class", "no pod", o.ByClass}} {
		stacks, periods, err := stacksOf(c.of, c.none)
		if err != nil {
			return nil, err
		}
		v.Costs = append(v.Costs, drawn(c.id, c.title, r.Currency, stacks, periods, axisNames(c.of.Query.Step, q.Zone), places))
	}
	v.Plans = o.plans(places)
	for _, m := range []struct {
		title string
		of    []Mover
	}{{"Projects", o.Projects}, {"Workloads", o.Workloads}} {
		if len(m.of) > 0 {
			v.Movers = append(v.Movers, moverTable{m.title, moversDrawn(m.of, places)})
		}
	}
	o.resizes(v)
	o.table(v, places)
	return v, nil
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (o *Overview) tiles(places int) []tile {
	r := o.Report
	t := &r.Total
	out := []tile{
		{"To be paid", money(t.Billed, places), r.Currency, "purchases of plans included"},
		{"Cost of use", money(t.Effective, places), r.Currency, changeNote(t.Effective, o.Before.Total.Effective, o.Before.Charges > 0)},
		{"At list price", money(t.List, places), r.Currency, ""},
		{"Saved", money(t.Saving(), places), r.Currency, "by plans: " + percent(t.Saving(), t.List) + " of list"},
	}
	if t.List.IsZero() {
		out[3].Note = ""
	}
	var all PlanSums
	for _, p := range o.Plans {
		all.plus(p.PlanSums)
	}
	if !all.Commitment.IsZero() {
		out = append(out, tile{"Plan utilisation", percent(all.Used, all.decided()), "", money(all.Unused, places) + " " + r.Currency + " unused"})
	}
	note := ""
	if o.Resized.Resizes > 0 {
		note = counted(o.Resized.Resizes, "resize")
	}
	return append(out, tile{"Pod-hours", number(podHours(t.Millis, 1)), "", note})
}

func changeNote(now, before billing.Money, known bool) string {
	if !known || before.IsZero() {
		return "nothing to compare with in the time before"
	}
	p := percent(now.Minus(before), before)
	if !strings.HasPrefix(p, "-") {
		p = "+" + p
	}
	return p + " on the time before"
}

func (o *Overview) plans(places int) []planView {
	q := &o.Report.Query
	var out []planView
	for from := 0; from < len(o.Plans); {
		to := from
		plan := o.Plans[from].Plan
		var sum PlanSums
		used, unused := stack{name: "used"}, stack{name: "unused", others: true}
		var days []Period
		for ; to < len(o.Plans) && o.Plans[to].Plan == plan; to++ {
			p := &o.Plans[to]
			sum.plus(p.PlanSums)
			days = append(days, Period{From: p.Day.UnixMilli()})
			used.values, unused.values = append(used.values, p.Used), append(unused.values, p.Unused)
		}
		used.sum, unused.sum = sum.Used, sum.Unused
		from = to
		zone := plan.Zone
		if zone == nil {
			zone = q.Zone
		}
		v := planView{
			Name: plan.Name, Terms: fmt.Sprintf("%s %s per %s, %s", plan.Commitment, o.Report.Currency, plan.Interval, zone),
			Commitment: money(sum.Commitment, places), Used: money(sum.Used, places), Unused: money(sum.Unused, places),
			Saving: money(sum.Saving(), places), Rate: percent(sum.Used, sum.decided()), Partial: sum.Commitment.IsZero(),
		}
		if len(days) > 1 {
			v.Chart = drawn(fmt.Sprint("plan", len(out)), plan.Name, o.Report.Currency, []stack{used, unused}, days, axisNames(Daily, zone), places)
		}
		out = append(out, v)
	}
	return out
}

// moverWidth is half of the drawing of a change.
const moverWidth = 80

func moversDrawn(all []Mover, places int) []moverView {
	largest := magnitude(all[0].Change()).Float()
	var out []moverView
	for i := range all {
		m := &all[i]
		change := m.Change()
		v := moverView{Name: cmp.Or(m.Name, NoneLabel), Before: money(m.Before, places), Now: money(m.Now, places), Change: money(change, places), Up: change.Sign() > 0}
		v.Width = px(moverWidth * magnitude(change).Float() / largest)
		v.X = moverWidth
		if v.Up {
			v.Change = "+" + v.Change
		} else {
			v.X -= v.Width
		}
		switch {
		case m.Before.IsZero():
			v.Percent = "new"
		case m.Now.IsZero():
			v.Percent = "gone"
		default:
			v.Percent = percent(change, m.Before)
		}
		out = append(out, v)
	}
	return out
}

func (o *Overview) table(v *view, places int) {
	r := o.Report
	if r.Query.Step != NoStep {
		v.Keys = append(v.Keys, capital(r.Query.Step.String()))
	}
	for _, d := range r.Query.By {
		v.Keys = append(v.Keys, capital(d.String()))
	}
	for _, of := range r.used() {
		name := of.Unit()
		if of == billing.GPUMemory || of == billing.Storage {
			name = capital(of.String()) + " " + name
		}
		v.Resources = append(v.Resources, name)
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		out := rowView{Others: row.Others, Cells: r.cellViews(&row.Sums, places)}
		if r.Query.Step != NoStep {
			out.Keys = append(out.Keys, row.Period.name(r.Query.Step, r.Query.Zone))
		}
		for j := range r.Query.By {
			out.Keys = append(out.Keys, row.text(j))
		}
		v.Rows = append(v.Rows, out)
	}
	v.Total = r.cellViews(&r.Total, places)
	if len(v.Keys) == 0 {
		v.Rows = nil
	}
}

func (r *Report) cellViews(s *Sums, places int) []cellView {
	out := []cellView{{number(podHours(s.Millis, 3)), podHours(s.Millis, 9)}}
	for _, of := range r.used() {
		out = append(out, cellView{number(hours(s.Quantity[of])), s.Quantity[of].Hours()})
	}
	for _, m := range []billing.Money{s.List, s.Billed, s.Effective, s.Saving()} {
		out = append(out, cellView{money(m, places), m.String()})
	}
	return append(out, cellView{percent(s.Effective, r.Total.Effective), Share(s.Effective, r.Total.Effective)})
}

func podHours(millis int64, places int) string {
	return big.NewRat(millis, 3_600_000).FloatString(places)
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// money writes an amount for reading.
func money(m billing.Money, places int) string { return number(m.Fixed(places)) }

// number sets a comma before each three whole digits.
func number(s string) string {
	whole, fraction, found := strings.Cut(s, ".")
	digits := strings.TrimPrefix(whole, "-")
	var groups []string
	for len(digits) > 3 {
		groups = append(groups, digits[len(digits)-3:])
		digits = digits[:len(digits)-3]
	}
	groups = append(groups, digits)
	slices.Reverse(groups)
	out := strings.Join(groups, ",")
	if strings.HasPrefix(whole, "-") {
		out = "-" + out
	}
	if found {
		out += "." + fraction
	}
	return out
}

// sortStacks puts the dearest first, others last.
func sortStacks(all []stack) {
	slices.SortStableFunc(all, func(x, y stack) int {
		return cmp.Or(b2i(x.others)-b2i(y.others), y.sum.Compare(x.sum), cmp.Compare(x.name, y.name))
	})
}

// A lane's drawing, which is as wide as the page allows.
const (
	laneWidth, laneHeight = 600, 40
	laneTop               = 4
)

func (o *Overview) resizes(v *view) {
	q := &o.Report.Query
	if len(o.Resized.Pods) == 0 {
		return
	}
	for i := range o.Resized.Pods {
		p := &o.Resized.Pods[i]
		l := lane{Pod: p.Pod, Project: p.Project, Resizes: counted(p.Resizes, "resize")}
		from, to := p.Sizes[0].From, p.Sizes[len(p.Sizes)-1].To
		x := func(ms int64) px { return px(laneWidth * float64(ms-from) / float64(to-from)) }
		l.From, l.To = minute(from, q.Zone), minute(to, q.Zone)
		low, high := p.Sizes[0], p.Sizes[0]
		for _, s := range p.Sizes {
			low = Size{CPUMilli: min(low.CPUMilli, s.CPUMilli), MemoryBytes: min(low.MemoryBytes, s.MemoryBytes), GPUMilli: min(low.GPUMilli, s.GPUMilli)}
			high = Size{CPUMilli: max(high.CPUMilli, s.CPUMilli), MemoryBytes: max(high.MemoryBytes, s.MemoryBytes), GPUMilli: max(high.GPUMilli, s.GPUMilli)}
		}
		l.Sizes = between(milli(low.CPUMilli), milli(high.CPUMilli), "vCPU") + ", " + between(gibs(low.MemoryBytes), gibs(high.MemoryBytes), "GiB")
		if high.GPUMilli > 0 {
			l.Sizes += ", " + between(milli(low.GPUMilli), milli(high.GPUMilli), "GPU")
		}
		l.Title = fmt.Sprintf("%s/%s: %s, %s", p.Project, p.Pod, l.Resizes, l.Sizes)
		l.CPU = steps(p.Sizes, x, high.CPUMilli, func(s *Size) int64 { return s.CPUMilli })
		l.Memory = steps(p.Sizes, x, high.MemoryBytes, func(s *Size) int64 { return s.MemoryBytes })
		v.Resized = append(v.Resized, l)
	}
	v.ResizedNote = counted(o.Resized.Resizes, "resize") + " of " + counted(o.Resized.InAll, "pod") + "."
	if o.Resized.InAll > len(o.Resized.Pods) {
		v.ResizedNote += fmt.Sprintf(" Shown are the %d that were resized most.", len(o.Resized.Pods))
	}
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return number(strconv.Itoa(n)) + " " + what
}

func minute(ms int64, zone *time.Location) string {
	return time.UnixMilli(ms).In(zone).Format("2 Jan 15:04")
}

func between(low, high, unit string) string {
	if low == high {
		return low + " " + unit
	}
	return low + "–" + high + " " + unit
}

func milli(v int64) string { return trimmed(thousandths(v, 1)) }

func gibs(bytes int64) string { return trimmed(big.NewRat(bytes, 1<<30).FloatString(3)) }

func trimmed(s string) string { return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") }

// steps draws a size over time, from nothing to the largest.
func steps(sizes []Size, x func(int64) px, largest int64, of func(*Size) int64) string {
	var b strings.Builder
	y := func(v int64) px {
		return laneHeight - 1 - px(float64(laneHeight-1-laneTop)*float64(v)/float64(max(largest, 1)))
	}
	for i := range sizes {
		s := &sizes[i]
		if i > 0 && sizes[i-1].To == s.From {
			fmt.Fprintf(&b, "V%s", y(of(s)))
		} else {
			fmt.Fprintf(&b, "M%s %s", x(s.From), y(of(s)))
		}
		fmt.Fprintf(&b, "H%s", x(s.To))
	}
	return b.String()
}
