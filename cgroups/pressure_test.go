package cgroups

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestPressure(t *testing.T) {
	_, h := newFake(t, 2)
	g := h.Group("/g")
	if _, err := g.Pressure(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a group that doesn't exist: %v", err)
	}
	must(t, g.Create())
	var none *NoPressureError
	if _, err := g.Pressure(); !errors.As(err, &none) {
		t.Errorf("of a kernel without: %v", err)
	}
	write := func(file, content string) {
		t.Helper()
		must(t, os.WriteFile(filepath.Join(g.dir(""), file), []byte(content), 0o600))
	}
	write("cpu.pressure", "some avg10=12.50 avg60=3.21 avg300=0.10 total=1234567\n") // of a kernel before 5.13
	write("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=8\nfull avg10=1.00 avg60=2.00 avg300=3.00 total=4\n")
	write("io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=100.00 total=9\nlater avg10=x\n")
	want := Pressure{
		CPU:    Stalls{Some: Stall{12.5, 3.21, 0.1, 1234567 * time.Microsecond}},
		Memory: Stalls{Some: Stall{Total: 8 * time.Microsecond}, Full: Stall{1, 2, 3, 4 * time.Microsecond}},
		IO:     Stalls{Full: Stall{Avg300: 100, Total: 9 * time.Microsecond}},
	}
	if got, err := g.Pressure(); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	write("io.pressure", "some avg10=much\n")
	if _, err := g.Pressure(); err == nil || !strings.Contains(err.Error(), "io.pressure") {
		t.Errorf("got %v", err)
	}
}
