package nodelet

import (
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/cgroups"
)

func TestResizeProgress(t *testing.T) {
	r := resizeState{attempts: 3, since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	inUse := func(path string, usage int64) error {
		return fmt.Errorf("%w: %w", ErrMemoryInUse, &cgroups.MemoryInUseError{Path: path, Limit: 1000, Usage: usage})
	}
	const of = " has more memory in use than the new limit of 1000 bytes allows"
	for _, c := range []struct {
		err            error
		message, cause string
	}{
		{inUse("/swell-1a/pod2/web", 1500), "container web" + of + ": 1500 bytes in use, 500 to be given back; attempt 3 since 2026-01-02T03:04:05Z", "container web" + of},
		{inUse("/swell-1a/pod2", 990), "pod" + of + ": 990 bytes in use, 0 to be given back; attempt 3 since 2026-01-02T03:04:05Z", "pod" + of},
		{errors.New("EIO"), "EIO", "EIO"},
	} {
		if message, cause := r.progress(c.err); message != c.message || cause != c.cause {
			t.Errorf("%v: got %q, %q", c.err, message, cause)
		}
	}
}

// TestBurstsMemory: what a pod keeps that may burst in memory is no resize that was left, where something looks after it.
func TestBurstsMemory(t *testing.T) {
	for value, want := range map[string]bool{"": false, "cpu=2": false, "memory=1Gi": true, "cpu=2,memory=1Gi,budget=5s": true, "memory=": false} {
		pod := &corev1.Pod{}
		if value != "" {
			pod.Annotations = map[string]string{v1alpha1.AnnotationBurst: value}
		}
		for _, there := range []Bursts{nil, struct{ Bursts }{}} {
			m := newMachine(&Config{Bursts: there}, "boot", Assignment{Pod: pod}, true, nil, time.Time{})
			m.setUpDone(inSetUp{Resources: v1alpha1.Sizes{}, Kept: true})
			if want := !want || there == nil; m.resize.kept != want {
				t.Errorf("%q: left %v, want %v", value, m.resize.kept, want)
			}
		}
	}
}
