package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// chart is a plot of lines, or of bars with their spread. It is read on a light and on a dark page: its
// colours follow what the reader prefers.
type chart struct {
	title, xLabel, yLabel string // with units
	xLog, yLog            bool
	xTail                 bool // x is a share, drawn by how near it is to 1: 0.9, 0.99, 0.999
	lines                 []curve
	bars                  []chartBar // if there are no lines
}

type chartBar struct {
	name string
	spread
}

// Sizes of a chart, in pixels.
const (
	chartWidth, chartHeight = 720, 340
	plotLeft, plotTop       = 78, 44
	plotWidth, plotHeight   = 612, 232
	barHeight               = 26
	barLeft                 = 300
)

const chartStyle = `text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-size:14px;font-weight:600}.axis{stroke:#1f2328}.grid{stroke:#d0d7de}` +
	`.l0{stroke:#0969da}.l1{stroke:#bc4c00}.l2{stroke:#1a7f37}.l3{stroke:#8250df}.b{fill:#0969da}.w{stroke:#1f2328}` +
	`@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis,.w{stroke:#e6edf3}.grid{stroke:#3d444d}` +
	`.l0{stroke:#58a6ff}.l1{stroke:#f0883e}.l2{stroke:#56d364}.l3{stroke:#d2a8ff}.b{fill:#58a6ff}}`

// svg draws it.
func (c chart) svg() string {
	height := chartHeight
	if len(c.lines) == 0 {
		height = plotTop + len(c.bars)*barHeight + 44
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n", chartWidth, height, chartWidth, height)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", escaped(c.title), chartStyle)
	text(&b, 12, 22, "start", "title", c.title)
	if len(c.lines) == 0 {
		c.drawBars(&b, height)
	} else {
		c.drawLines(&b)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func text(b *strings.Builder, x, y float64, anchor, class, s string) {
	if class != "" {
		class = ` class="` + class + `"`
	}
	fmt.Fprintf(b, `<text x="%s" y="%s" text-anchor="%s"%s>%s</text>`+"\n", px(x), px(y), anchor, class, escaped(s))
}

func line(b *strings.Builder, class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(b, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`+"\n", class, px(x1), px(y1), px(x2), px(y2))
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // into memory
	return b.String()
}

// px leaves out digits that nobody sees, so that a figure's change changes few bytes.
func px(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// drawBars draws one bar for each number, with a whisker from the least to the most.
func (c chart) drawBars(b *strings.Builder, height int) {
	most := 0.0
	for _, one := range c.bars {
		most = max(most, one.Max)
	}
	ticks := ticksOf(0, most, false)
	most = max(most, ticks[len(ticks)-1])
	at := func(v float64) float64 { return barLeft + v/most*(chartWidth-barLeft-70) }
	bottom := float64(height - 40)
	for _, v := range ticks {
		line(b, "grid", at(v), plotTop-6, at(v), bottom)
		text(b, at(v), bottom+14, "middle", "", number(v))
	}
	text(b, at(most/2), bottom+32, "middle", "", c.xLabel)
	for i, one := range c.bars {
		y := float64(plotTop + i*barHeight)
		text(b, barLeft-8, y+13, "end", "", one.name)
		fmt.Fprintf(b, `<rect class="b" x="%d" y="%s" width="%s" height="14"/>`+"\n", barLeft, px(y+2), px(max(at(one.Median)-barLeft, 0)))
		line(b, "w", at(one.Min), y+9, at(one.Max), y+9)
		line(b, "w", at(one.Min), y+4, at(one.Min), y+14)
		line(b, "w", at(one.Max), y+4, at(one.Max), y+14)
		text(b, at(one.Max)+6, y+13, "start", "", number(one.Median))
	}
	line(b, "axis", barLeft, plotTop-6, barLeft, bottom)
}

func (c chart) drawLines(b *strings.Builder) {
	xLow, xHigh, yLow, yHigh := c.bounds()
	yTicks := ticksOf(yLow, yHigh, c.yLog)
	yLow, yHigh = min(yLow, yTicks[0]), max(yHigh, yTicks[len(yTicks)-1])
	xAt := scaleOf(c.xOf(xLow), c.xOf(xHigh), plotLeft, plotLeft+plotWidth)
	yAt := scaleOf(logIf(yLow, c.yLog), logIf(yHigh, c.yLog), plotTop+plotHeight, plotTop)
	for _, v := range yTicks {
		y := yAt(logIf(v, c.yLog))
		line(b, "grid", plotLeft, y, plotLeft+plotWidth, y)
		text(b, plotLeft-6, y+4, "end", "", number(v))
	}
	for _, v := range c.xTicks(xLow, xHigh) {
		x := xAt(c.xOf(v))
		line(b, "grid", x, plotTop, x, plotTop+plotHeight)
		label := number(v)
		if c.xTail {
			label = strconv.FormatFloat(math.Round(v*1e6)/1e4, 'f', -1, 64) + " %"
		}
		text(b, x, plotTop+plotHeight+16, "middle", "", label)
	}
	line(b, "axis", plotLeft, plotTop+plotHeight, plotLeft+plotWidth, plotTop+plotHeight)
	line(b, "axis", plotLeft, plotTop, plotLeft, plotTop+plotHeight)
	text(b, plotLeft+plotWidth/2, plotTop+plotHeight+34, "middle", "", c.xLabel)
	fmt.Fprintf(b, `<text transform="translate(16 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", plotTop+plotHeight/2, escaped(c.yLabel))
	x := float64(plotLeft)
	for i, one := range c.lines {
		class := fmt.Sprintf("l%d", i%4)
		var points []string
		for _, p := range one.Points {
			if c.yLog && p[1] <= 0 {
				continue
			}
			points = append(points, px(xAt(c.xOf(p[0])))+","+px(yAt(logIf(p[1], c.yLog))))
		}
		fmt.Fprintf(b, `<polyline class="%s" fill="none" stroke-width="2" points="%s"/>`+"\n", class, strings.Join(points, " "))
		if len(points) <= 10 {
			for _, p := range points {
				x, y, _ := strings.Cut(p, ",")
				fmt.Fprintf(b, `<circle class="%s" cx="%s" cy="%s" r="3"/>`+"\n", class, x, y)
			}
		}
		fmt.Fprintf(b, `<line class="%s" stroke-width="3" x1="%s" y1="%d" x2="%s" y2="%d"/>`+"\n", class, px(x), chartHeight-12, px(x+18), chartHeight-12)
		text(b, x+24, chartHeight-8, "start", "", one.Name)
		x += 40 + 6.6*float64(len([]rune(one.Name)))
	}
}

// bounds are those of all points; where y isn't logarithmic they begin at 0.
func (c chart) bounds() (xLow, xHigh, yLow, yHigh float64) {
	xLow, yLow = math.Inf(1), math.Inf(1)
	xHigh, yHigh = math.Inf(-1), math.Inf(-1)
	for _, one := range c.lines {
		for _, p := range one.Points {
			xLow, xHigh = min(xLow, p[0]), max(xHigh, p[0])
			if !c.yLog || p[1] > 0 {
				yLow, yHigh = min(yLow, p[1]), max(yHigh, p[1])
			}
		}
	}
	if !c.yLog {
		yLow = min(yLow, 0)
	}
	if yHigh <= yLow {
		yHigh = yLow + 1
	}
	return xLow, xHigh, yLow, yHigh
}

// xOf is where on its axis an x stands, before scaling.
func (c chart) xOf(x float64) float64 {
	if c.xTail {
		return -math.Log10(1 - min(x, 0.999999))
	}
	return logIf(x, c.xLog)
}

func (c chart) xTicks(low, high float64) []float64 {
	var out []float64
	if !c.xTail {
		for _, v := range ticksOf(low, high, c.xLog) {
			if v >= low && v <= high { // the axis ends with the points
				out = append(out, v)
			}
		}
		return out
	}
	for _, v := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 0.9999} {
		if v >= low && v <= high {
			out = append(out, v)
		}
	}
	return out
}

func logIf(v float64, log bool) float64 {
	if log {
		return math.Log10(v)
	}
	return v
}

func scaleOf(low, high, from, to float64) func(float64) float64 {
	if high == low {
		high = low + 1
	}
	return func(v float64) float64 { return from + (v-low)/(high-low)*(to-from) }
}

// ticksOf answers round numbers, some five of them; on a logarithmic axis powers of ten that enclose it.
func ticksOf(low, high float64, log bool) []float64 {
	var out []float64
	if log {
		for e := math.Floor(math.Log10(low)); ; e++ {
			v := math.Pow(10, e)
			out = append(out, v)
			if v >= high {
				return out
			}
		}
	}
	if high <= low {
		high = low + 1
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if (high-low)/(step*m) <= 5 {
			step *= m
			break
		}
	}
	for i := math.Ceil(low / step); i*step <= high*1.0000001; i++ {
		out = append(out, i*step)
	}
	return out
}

// number writes a figure as people read it: three digits that count, thousands apart.
func number(v float64) string {
	abs := math.Abs(v)
	switch {
	case abs >= 100 || v == math.Trunc(v):
		return grouped(int64(math.Round(v)))
	case abs >= 10:
		return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
	default:
		return strconv.FormatFloat(fine(v), 'f', -1, 64)
	}
}

func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
