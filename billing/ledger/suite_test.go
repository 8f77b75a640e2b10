package ledger

import (
	"path/filepath"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// eachStore runs a test for every kind of store. place answers a new, empty place for a ledger.
func eachStore(t *testing.T, test func(t *testing.T, place string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "a ledger?")) })
}

func openLedger(t testing.TB, where string) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

var begin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func segment(uid string, sequence int64, from, to time.Duration) usagev1.Segment {
	s := usagev1.Segment{
		ID: usagev1.ID{PodUID: uid, Generation: 1, Sequence: sequence}, Namespace: "default", Pod: "pod-" + uid, Node: "n",
		ComputeClass: "general-purpose", QoS: "default", CPUMilli: 250, MemoryBytes: 1 << 29,
		Start: begin.Add(from), Labels: map[string]string{"app": uid},
	}
	if to > 0 {
		s.End = begin.Add(to)
	}
	return s
}

func record(t testing.TB, l *Ledger, segments ...usagev1.Segment) {
	t.Helper()
	if err := l.Record(t.Context(), segments); err != nil {
		t.Fatal(err)
	}
}

func all(t testing.TB, l *Ledger, f Filter) []usagev1.Segment {
	t.Helper()
	got, err := l.Segments(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func newest(t testing.TB, l *Ledger) int64 {
	t.Helper()
	n, err := l.Sequence(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// placeFor answers another empty place beside one.
func placeFor(t testing.TB, place string, n uint64) string {
	t.Helper()
	return filepath.Join(place, string(rune('a'+n)))
}
