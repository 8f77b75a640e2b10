package console

import (
	"fmt"
	"io"
	"strings"
)

const barWidth = 30

// Bar passes reads through and shows on a terminal how far they are. Elsewhere it shows nothing.
type Bar struct {
	r     io.Reader
	line  *Line
	label string
	total int64 // bytes; 0 or less if unknown
	read  int64
	shown int64 // percent last drawn; −1 before the first
	size  func(int64) string
}

// NewBar answers a Bar over r; size writes a number of bytes.
func NewBar(r io.Reader, total int64, label string, w io.Writer, terminal bool, size func(int64) string) *Bar {
	b := &Bar{r: r, label: label, total: total, shown: -1, size: size}
	if terminal {
		b.line = NewLine(w, true)
	}
	return b
}

// Read implements io.Reader.
func (b *Bar) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.read += int64(n)
	b.draw()
	return n, err
}

// draw redraws for each percent of a known size, and for each MiB of an unknown one.
func (b *Bar) draw() {
	if b.line == nil {
		return
	}
	if b.total <= 0 {
		if at := b.read >> 20; at != b.shown {
			b.shown = at
			b.line.Say(fmt.Sprintf("%s %s", b.label, b.size(b.read)))
		}
		return
	}
	at := min(b.read*100/b.total, 100)
	if at == b.shown {
		return
	}
	b.shown = at
	filled := int(at * barWidth / 100)
	b.line.Say(fmt.Sprintf("%s [%s%s] %3d%% of %s", b.label,
		strings.Repeat("=", filled), strings.Repeat(" ", barWidth-filled), at, b.size(b.total)))
}

// Clear removes the bar from the terminal.
func (b *Bar) Clear() {
	if b.line != nil {
		b.line.Clear()
	}
}
