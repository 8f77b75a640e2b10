package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Pressure is how much a group waits for what it needs: the kernel's pressure stall information.
type Pressure struct{ CPU, Memory, IO Stalls }

// Stalls of one resource: while at least one task waited for it, and while all did.
type Stalls struct{ Some, Full Stall }

// Stall is a share of time in percent, over the last 10, 60 and 300 seconds, and the time in all since the
// group was made.
type Stall struct {
	Avg10, Avg60, Avg300 float64
	Total                time.Duration
}

// NoPressureError says that the kernel doesn't measure pressure for groups.
type NoPressureError struct{}

func (*NoPressureError) Error() string {
	return "pressure stall information needs cgroup v2 and a kernel booted with psi=1"
}

// Pressure reads the group's stalls, or answers a NoPressureError.
func (g *Group) Pressure() (Pressure, error) {
	var p Pressure
	if g.h.version == 1 {
		return p, wrap(g, &NoPressureError{})
	}
	for _, f := range []struct {
		name string
		to   *Stalls
	}{{"cpu.pressure", &p.CPU}, {"memory.pressure", &p.Memory}, {"io.pressure", &p.IO}} {
		s, err := g.read("", f.name)
		if errors.Is(err, fs.ErrNotExist) {
			if _, serr := os.Stat(g.dir("")); serr == nil {
				err = wrap(g, &NoPressureError{})
			}
		} else if errors.Is(err, syscall.EOPNOTSUPP) {
			err = wrap(g, &NoPressureError{})
		}
		if err != nil {
			return Pressure{}, err
		}
		if *f.to, err = parseStalls(s); err != nil {
			return Pressure{}, fmt.Errorf("cgroup %s: %s: %w", g.path, f.name, err)
		}
	}
	return p, nil
}

// parseStalls reads lines such as "some avg10=0.00 avg60=0.12 avg300=0.05 total=123456", in µs. Kernels
// before 5.13 have no full line for CPU.
func parseStalls(s string) (Stalls, error) {
	var out Stalls
	for line := range strings.Lines(s) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		var stall *Stall
		switch fields[0] {
		case "some":
			stall = &out.Some
		case "full":
			stall = &out.Full
		default:
			continue
		}
		for _, field := range fields[1:] {
			name, value, _ := strings.Cut(field, "=")
			var err error
			switch name {
			case "avg10":
				stall.Avg10, err = strconv.ParseFloat(value, 64)
			case "avg60":
				stall.Avg60, err = strconv.ParseFloat(value, 64)
			case "avg300":
				stall.Avg300, err = strconv.ParseFloat(value, 64)
			case "total":
				var us int64
				us, err = strconv.ParseInt(value, 10, 64)
				stall.Total = time.Duration(us) * time.Microsecond
			}
			if err != nil {
				return Stalls{}, fmt.Errorf("%q: %w", field, err)
			}
		}
	}
	return out, nil
}
