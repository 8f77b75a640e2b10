package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"swell.dev/swell/billing"
)

// px is a length in a drawing.
type px float64

func (p px) String() string { return strconv.FormatFloat(math.Round(float64(p)*10)/10, 'f', -1, 64) }

// chart is stacked bars over time, ready to be drawn, with the same numbers as a table for those who don't see it.
type chart struct {
	ID, Title, Unit string
	Width, Height   px
	Left, Right     px // of the plot
	Top, Bottom     px
	Ticks           []tick
	Labels          []tick
	Bars            []bar
	Series          []series
	Head            []string
	Body            [][]string
}

type tick struct {
	At    px
	Label string
}

type bar struct {
	X, Y, Width, Height px
	Series              int
	Title               string
}

type series struct {
	Index int
	Name  string
	Sum   string
}

// othersSeries has a colour of its own.
const othersSeries = chartSeries

const (
	chartWidth, chartHeight = 960, 280
	marginLeft, marginRight = 70, 8
	marginTop, marginBottom = 10, 30
	most                    = 16 // labels of a time axis
)

// stack is the values of one name over the periods.
type stack struct {
	name   string
	others bool
	values []billing.Money
	sum    billing.Money
}

// drawn makes a chart of stacks over periods. Negative values (corrections) hang below the axis.
func drawn(id, title, currency string, stacks []stack, periods []Period, names func(Period) (axis, full string), places int) *chart {
	c := &chart{
		ID: id, Title: title, Unit: currency, Width: chartWidth, Height: chartHeight, Left: marginLeft, Right: chartWidth - marginRight,
		Top: marginTop, Bottom: chartHeight - marginBottom, Head: []string{"From"},
	}
	var high, low float64
	for at := range periods {
		var up, down float64
		for _, s := range stacks {
			if v := s.values[at].Float(); v > 0 {
				up += v
			} else {
				down += v
			}
		}
		high, low = max(high, up), min(low, down)
	}
	step := niceStep(high - low)
	high, low = math.Ceil(high/step)*step, math.Floor(low/step)*step
	if high == low {
		high = low + step
	}
	y := func(v float64) px { return c.Bottom - px((v-low)/(high-low))*(c.Bottom-c.Top) }
	for i := 0; i <= int(math.Round((high-low)/step)); i++ {
		v := low + float64(i)*step
		c.Ticks = append(c.Ticks, tick{y(v), number(strconv.FormatFloat(v, 'f', stepPlaces(step), 64))})
	}
	slot := (c.Right - c.Left) / px(len(periods))
	every := (len(periods) + most - 1) / most
	for i, s := range stacks {
		index := i
		if s.others {
			index = othersSeries
		}
		c.Series = append(c.Series, series{index, s.name, money(s.sum, places)})
		c.Head = append(c.Head, s.name)
	}
	for at, p := range periods {
		axis, full := names(p)
		if at%every == 0 {
			c.Labels = append(c.Labels, tick{c.Left + slot*(px(at)+0.5), axis})
		}
		row := []string{full}
		var up, down float64
		for i, s := range stacks {
			v := s.values[at]
			row = append(row, money(v, places))
			if v.IsZero() {
				continue
			}
			f := v.Float()
			b := bar{X: c.Left + slot*(px(at)+0.12), Width: slot * 0.76, Series: c.Series[i].Index, Title: fmt.Sprintf("%s, %s: %s %s", full, s.name, money(v, places), currency)}
			if f > 0 {
				b.Y, b.Height = y(up+f), y(up)-y(up+f)
				up += f
			} else {
				b.Y, b.Height = y(down), y(down+f)-y(down)
				down += f
			}
			c.Bars = append(c.Bars, b)
		}
		c.Body = append(c.Body, row)
	}
	return c
}

// niceStep is a round number of which about five reach as far as the span.
func niceStep(span float64) float64 {
	if span <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(span/5)))
	for _, m := range []float64{1, 2, 2.5, 5} {
		if unit*m*5 >= span {
			return unit * m
		}
	}
	return unit * 10
}

// stepPlaces are the decimal places that a step needs.
func stepPlaces(step float64) int {
	places := 0
	for f := step; places < 12 && math.Abs(f-math.Round(f)) > 1e-9*f; places++ {
		f *= 10
	}
	return places
}

// stacksOf are a report's rows of one dimension, the dearest first and others last.
func stacksOf(r *Report, none string) ([]stack, []Period, error) {
	periods, err := r.Query.Step.periods(r.Query.From, r.Query.To, r.Query.Zone)
	if err != nil {
		return nil, nil, err
	}
	at := map[string]int{}
	var out []stack
	for i := range r.Rows {
		row := &r.Rows[i]
		name := row.text(0)
		if name == NoneLabel {
			name = none
		}
		key := name
		if row.Others {
			key = "\x00"
		}
		if _, ok := at[key]; !ok {
			at[key] = len(out)
			out = append(out, stack{name: name, others: row.Others, values: make([]billing.Money, len(periods))})
		}
		s := &out[at[key]]
		p := periodOf(periods, row.Period.From)
		s.values[p] = s.values[p].Plus(row.Effective)
		s.sum = s.sum.Plus(row.Effective)
	}
	sortStacks(out)
	return out, periods, nil
}

// axisNames answers how a step's periods are called on an axis and in full.
func axisNames(step Step, zone *time.Location) func(Period) (string, string) {
	form := map[Step]string{Hourly: "15:04", Daily: "2 Jan", Monthly: "Jan 2006"}[step]
	return func(p Period) (string, string) {
		return time.UnixMilli(p.From).In(zone).Format(form), p.name(step, zone)
	}
}
