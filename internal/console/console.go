// Package console is what a command shows on a terminal while it waits, and how it hands the terminal
// over to a remote program.
package console

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// IsTerminal reports whether stream is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Line shows what is going on in one line: rewritten in place on a terminal, one line for each change
// elsewhere. For one goroutine.
type Line struct {
	w        io.Writer
	terminal bool
	last     string
}

// NewLine answers a Line on w.
func NewLine(w io.Writer, terminal bool) *Line { return &Line{w: w, terminal: terminal} }

// Say shows text, if it isn't what already stands there.
func (l *Line) Say(text string) {
	if text == l.last {
		return
	}
	l.last = text
	if l.terminal {
		fmt.Fprintf(l.w, "\r\x1b[K%s", text)
		return
	}
	fmt.Fprintln(l.w, text)
}

// Clear removes the line from a terminal, to make room for what comes after; elsewhere it stays.
func (l *Line) Clear() {
	if l.terminal && l.last != "" {
		fmt.Fprint(l.w, "\r\x1b[K")
	}
	l.last = ""
}
