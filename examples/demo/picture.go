package main

import (
	"bytes"
	"fmt"
	"html"
	"strings"
	"unicode/utf8"
)

// Sizes in a picture, in pixels.
const (
	charWidth  = 7.8
	lineHeight = 19
	margin     = 18
)

// picture draws a command and what it printed as a terminal, in SVG.
func picture(command, text string) []byte {
	lines := append([]string{"# " + command}, strings.Split(strings.TrimRight(text, "\n"), "\n")...)
	widest := 0
	for _, l := range lines {
		widest = max(widest, utf8.RuneCountInString(l))
	}
	width, height := int(float64(widest)*charWidth)+2*margin, len(lines)*lineHeight+2*margin
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, "<title>What %s prints</title>\n", html.EscapeString(command))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8" fill="#10151c"/>`+"\n", width, height)
	fmt.Fprintln(&b, `<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="13" xml:space="preserve">`)
	for i, l := range lines {
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", margin, margin+13+i*lineHeight, colour(i, l), html.EscapeString(l))
	}
	b.WriteString("</g>\n</svg>\n")
	return b.Bytes()
}

// colour lets the command, the steps and the outcome stand out.
func colour(i int, line string) string {
	switch {
	case i == 0:
		return "#7ee787"
	case strings.HasPrefix(line, "  resize"), strings.HasPrefix(line, "  kept"), strings.HasPrefix(line, "Everything"):
		return "#ffd866"
	case strings.HasPrefix(line, "   "):
		return "#9fb0c0"
	}
	return "#e6edf3"
}
