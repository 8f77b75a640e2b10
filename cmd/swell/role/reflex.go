package role

import (
	"fmt"
	"log/slog"
	"slices"

	"swell.dev/swell/cgroups/throttle"
	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/reflex"
)

// Values of --reflex besides the rungs of package throttle.
const (
	reflexAuto = "auto" // the best rung that the host has
	reflexOff  = "off"
)

func reflexValues() []string {
	out := []string{reflexAuto, reflexOff}
	for _, rung := range throttle.Ladder() {
		out = append(out, string(rung))
	}
	return out
}

// reflexRungs reads --reflex.
func reflexRungs(value string) (rungs []throttle.Rung, on bool, err error) {
	switch {
	case value == reflexAuto, value == "": // swell down has no such flag
		return nil, true, nil
	case value == reflexOff:
		return nil, false, nil
	case slices.Contains(throttle.Ladder(), throttle.Rung(value)):
		return []throttle.Rung{throttle.Rung(value)}, true, nil
	}
	return nil, false, fmt.Errorf("--reflex: %q: must be one of %v", value, reflexValues())
}

// newReflex makes what gives bursts to the pods of a host. bursting tells their owners.
func newReflex(h *host, rungs []throttle.Rung, bursting func(podUID string, s *nodelet.BurstState), log *slog.Logger) *reflex.Reflex {
	return reflex.New(reflex.Config{Tree: h.cgroups, Meter: h.journal.Burst, Tell: bursting, Rungs: rungs, Log: log})
}
