package slots

import (
	"fmt"
	"testing"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// TestNamespacesShareTheBound: room is for 100 slots of all.
func TestNamespacesShareTheBound(t *testing.T) {
	for _, c := range []struct {
		name string
		mins []int32
		want []int
	}{
		{"all fit", []int32{60, 40}, []int{60, 40}},
		{"one alone has all", []int32{1000}, []int{100}},
		{"a minimum takes no more than an even part", []int32{1000, 50}, []int{50, 50}},
		{"what one doesn't want is the others'", []int32{1000, 10, 400}, []int{45, 10, 45}},
		{"small ones aren't cut", []int32{1000, 5, 5, 5}, []int{85, 5, 5, 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			y := newTrial(t)
			room := controlplane.Demand{CPUMilli: 40_000, MemoryBytes: 1 << 50} // a quarter of it: 100 of 100m
			for i, n := range c.mins {
				p := policyFor("p", "", func(s *v1alpha1.SlotPolicySpec) { s.Min = n })
				p.Namespace = fmt.Sprint("tenant-", i)
				y.policy(p)
				y.create(podOf(p.Namespace, "cart"), 1)
			}
			y.look(y.now, room, nil)
			for i, want := range c.want {
				got := y.workloads[keyOf(podOf(fmt.Sprint("tenant-", i), "cart"))].wanted
				if got < want-1 || got > want {
					t.Errorf("tenant %d of %v: %d slots are wanted, want %d", i, c.mins, got, want)
				}
			}
		})
	}
}
