package crilog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func writeLog(t *testing.T, path string, maxBytes int64, maxFiles int, chunks ...string) {
	t.Helper()
	w, err := NewWriter(path, maxBytes, maxFiles)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chunks {
		if err := w.Copy(Stdout, strings.NewReader(c)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func readLog(t *testing.T, path string, o Options) string {
	t.Helper()
	var out bytes.Buffer
	o.Stdout = &out
	if err := Copy(t.Context(), path, o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pod", "0.log")
	long := strings.Repeat("x", MaxEntry+5)
	writeLog(t, path, 0, 0, "hello\n\n"+long+"\nno newline")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	stamp := `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout `
	want := "^" + stamp + "F hello\n" + stamp + "F \n" + stamp + "P x+\n" + stamp + "F xxxxx\n" + stamp + "P no newline\n$"
	if !regexp.MustCompile(want).Match(raw) {
		t.Errorf("log is\n%.300q", raw)
	}
	if got, want := readLog(t, path, Options{Tail: -1}), "hello\n\n"+long+"\nno newline"; got != want {
		t.Errorf("read back %d bytes, want %d", len(got), len(want))
	}
}

func TestLineAtTheEntryLimit(t *testing.T) {
	for _, n := range []int{MaxEntry - 1, MaxEntry, MaxEntry + 1, 4*MaxEntry - 1, 4 * MaxEntry, 9*MaxEntry + 1} {
		path := filepath.Join(t.TempDir(), "0.log")
		line := strings.Repeat("y", n) + "\n"
		writeLog(t, path, 0, 0, line+line)
		if got := readLog(t, path, Options{Tail: 1}); got != line {
			t.Errorf("a line of %d bytes: the last line reads back with %d", n, len(got)-1)
		}
	}
}

func TestTailOverRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	var all []string
	for i := range 100 {
		all = append(all, fmt.Sprintf("line %03d\n", i))
	}
	writeLog(t, path, 1000, 4, all...) // about 20 entries a file, 80 or so kept
	if _, err := os.Stat(path + ".3"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + ".4"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a fifth file is there: %v", err)
	}
	for _, n := range []int{0, 1, 19, 20, 21, 45, 60} {
		want := strings.Join(all[100-n:], "")
		if got := readLog(t, path, Options{Tail: int64(n)}); got != want {
			t.Errorf("tail %d answers %q", n, got)
		}
	}
	if got := readLog(t, path, Options{Tail: -1}); !strings.HasSuffix(strings.Join(all, ""), got) || len(got) < 60*9 {
		t.Errorf("the whole log is %q", got)
	}
}

func TestOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	entries := "2026-01-02T15:04:05.000000001Z stdout F one\n" +
		"2026-01-02T15:04:06.000000002Z stderr P tw\n" +
		"broken\n" +
		"2026-01-02T15:04:06.000000003Z stderr F o\n" +
		"2026-01-02T15:04:07.000000004Z stdout F three\n" +
		"2026-01-02T15:04:08.0000000"
	if err := os.WriteFile(path, []byte(entries), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		o    Options
		want string
	}{
		"all":        {Options{Tail: -1}, "one\ntwo\nthree\n"},
		"since":      {Options{Tail: -1, Since: time.Date(2026, 1, 2, 15, 4, 6, 2, time.UTC)}, "two\nthree\n"},
		"timestamps": {Options{Tail: 2, Timestamps: true}, "2026-01-02T15:04:06.000000002Z two\n2026-01-02T15:04:07.000000004Z three\n"},
		"limit":      {Options{Tail: -1, LimitBytes: 6}, "one\ntw"},
		"exact":      {Options{Tail: -1, LimitBytes: 14}, "one\ntwo\nthree\n"},
	} {
		var out bytes.Buffer
		tc.o.Stdout, tc.o.Stderr = &out, &out
		if err := Copy(t.Context(), path, tc.o); err != nil {
			t.Fatal(err)
		}
		if out.String() != tc.want {
			t.Errorf("%s: %q, want %q", name, out.String(), tc.want)
		}
	}
	if got := readLog(t, path, Options{Tail: -1}); got != "one\nthree\n" {
		t.Errorf("stdout alone is %q", got)
	}
}

func TestMissing(t *testing.T) {
	if err := Copy(t.Context(), filepath.Join(t.TempDir(), "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing log answers %v", err)
	}
}

// TestSizes: no file grows over its size, however much is written at once.
func TestSizes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	writeLog(t, path, 1000, 3, strings.Repeat("a line of some length\n", 5000))
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != 3 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > 1000 || info.Size() == 0 {
			t.Errorf("%s: %v, %v", f, info.Size(), err)
		}
	}
	if got := readLog(t, path, Options{Tail: 3}); got != strings.Repeat("a line of some length\n", 3) {
		t.Errorf("the log ends %q", got)
	}
}

// TestFollow reads a log while it is written and rotated, and ends with its writer.
func TestFollow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	w, err := NewWriter(path, 2000, 200)
	if err != nil {
		t.Fatal(err)
	}
	pr, pw := io.Pipe()
	read := make(chan error, 1)
	go func() {
		defer pw.Close() //nolint:errcheck // a pipe in memory
		read <- Copy(t.Context(), path, Options{Tail: -1, Follow: true, Stdout: pw})
	}()
	var want strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	in := strings.NewReader(want.String())
	go func() {
		w.Copy(Stdout, slow{in}) //nolint:errcheck // a reader in memory
		w.Close()                //nolint:errcheck // the reader tells
	}()
	got, err := io.ReadAll(pr)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Errorf("followed %d bytes of %d", len(got), want.Len())
	}
	if _, err := os.Stat(path + ".20"); err != nil {
		t.Errorf("the log was hardly rotated: %v", err)
	}
}

// slow hands out little at a time.
type slow struct{ r io.Reader }

func (s slow) Read(b []byte) (int, error) { return s.r.Read(b[:min(len(b), 97)]) }

func TestFollowEndsWithContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	w, err := NewWriter(path, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // temporary
	if err := w.Copy(Stdout, strings.NewReader("ready\n")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	pr, pw := io.Pipe()
	read := make(chan error, 1)
	go func() { read <- Copy(ctx, path, Options{Tail: -1, Follow: true, Stdout: pw}) }()
	if _, err := io.ReadFull(pr, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-read; err != nil {
		t.Errorf("a cancelled follow answers %v", err)
	}
}

// TestLostLines makes writing impossible for a while: the copying goes on and the log says what is missing.
func TestLostLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	w, err := NewWriter(path, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full on this host")
	}
	good := w.file
	w.file = full
	if err := w.Copy(Stdout, strings.NewReader("lost\n")); err != nil {
		t.Fatal(err)
	}
	w.file = good
	if err := w.Copy(Stdout, strings.NewReader("kept\n")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Copy(t.Context(), path, Options{Tail: -1, Stdout: &out, Stderr: &out}); err != nil {
		t.Fatal(err)
	}
	if want := "swell-logger: 5 bytes of log were lost: write /dev/full: no space left on device"; !strings.HasPrefix(out.String(), want) ||
		!strings.HasSuffix(out.String(), "\nkept\n") {
		t.Errorf("the log reads %q", out.String())
	}
}
