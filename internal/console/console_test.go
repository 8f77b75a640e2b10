package console

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestLine(t *testing.T) {
	for _, c := range []struct {
		terminal bool
		want     string
	}{
		{true, "\r\x1b[Kpulling\r\x1b[Kstarted\r\x1b[K"},
		{false, "pulling\nstarted\n"},
	} {
		var out strings.Builder
		l := NewLine(&out, c.terminal)
		l.Say("pulling")
		l.Say("pulling")
		l.Say("started")
		l.Clear()
		l.Clear()
		if out.String() != c.want {
			t.Errorf("terminal %v: %q, want %q", c.terminal, out.String(), c.want)
		}
	}
}

func TestBar(t *testing.T) {
	size := func(n int64) string { return strconv.FormatInt(n, 10) }
	data := bytes.Repeat([]byte("x"), 1<<16)
	var out strings.Builder
	b := NewBar(bytes.NewReader(data), int64(len(data)), "n1", &out, true, size)
	if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, b, make([]byte, 16)); err != nil || n != int64(len(data)) {
		t.Fatal(n, err)
	}
	if draws := strings.Count(out.String(), "\r"); draws != 101 {
		t.Errorf("drawn %d times, want once per percent", draws)
	}
	if want := "n1 [" + strings.Repeat("=", barWidth) + "] 100% of 65536"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("ends with %q, want %q", out.String()[len(out.String())-60:], want)
	}
	out.Reset()
	b = NewBar(bytes.NewReader(data), 0, "n1", &out, false, size)
	if _, err := io.Copy(io.Discard, b); err != nil || out.Len() != 0 {
		t.Errorf("not a terminal: %q, %v", out.String(), err)
	}
}

func TestIsTerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if IsTerminal(f) || IsTerminal(&bytes.Buffer{}) {
		t.Error("a file and a buffer are no terminals")
	}
}
