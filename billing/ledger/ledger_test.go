package ledger

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func segment(uid string, seq int64, from, to time.Duration) usagev1.Segment {
	s := usagev1.Segment{
		ID: usagev1.ID{PodUID: uid, Generation: 1, Sequence: seq}, Namespace: "default", Pod: "pod-" + uid, Node: "n",
		ComputeClass: "general-purpose", QoS: "default", CPUMilli: 250, MemoryBytes: 1 << 29,
		Start: start.Add(from), Labels: map[string]string{"app": uid},
	}
	if to > 0 {
		s.End = start.Add(to)
	}
	return s
}

func openLedger(t *testing.T, path string) *Ledger {
	t.Helper()
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func all(t *testing.T, l *Ledger, f Filter) []usagev1.Segment {
	t.Helper()
	got, err := l.Segments(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestASegmentCountsOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a ledger?.db")
	l := openLedger(t, path)
	in := []usagev1.Segment{segment("a", 1, 0, time.Minute), segment("a", 2, time.Minute, time.Hour), segment("b", 1, 0, time.Second)}
	for range 3 {
		if err := l.Record(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLedger(t, path)
	if got := all(t, l, Filter{}); !reflect.DeepEqual(got, in) {
		t.Errorf("kept %+v", got)
	}
	if gaps, err := l.Gaps(t.Context()); err != nil || len(gaps) != 0 {
		t.Errorf("gaps %v (%v)", gaps, err)
	}
}

func TestTheFirstStands(t *testing.T) {
	l := openLedger(t, filepath.Join(t.TempDir(), "l.db"))
	first := segment("a", 1, 0, time.Minute)
	if err := l.Record(t.Context(), []usagev1.Segment{first}); err != nil {
		t.Fatal(err)
	}
	other := first
	other.CPUMilli = 1
	var conflict *ConflictError
	if err := l.Record(t.Context(), []usagev1.Segment{other, segment("a", 2, time.Minute, time.Hour)}); !errors.As(err, &conflict) || conflict.IDs[0] != first.ID {
		t.Errorf("%v", err)
	}
	if got := all(t, l, Filter{}); len(got) != 2 || got[0].CPUMilli != 250 {
		t.Errorf("%+v", got)
	}
}

func TestOpenSegments(t *testing.T) {
	l := openLedger(t, filepath.Join(t.TempDir(), "l.db"))
	if err := l.SetOpen(t.Context(), "n", []usagev1.Segment{segment("a", 1, 0, 0), segment("b", 1, 0, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := l.Record(t.Context(), []usagev1.Segment{segment("a", 1, 0, time.Minute)}); err != nil {
		t.Fatal(err)
	}
	got := all(t, l, Filter{})
	if len(got) != 2 || got[0].Open() || !got[1].Open() {
		t.Errorf("%+v", got)
	}
	if err := l.SetOpen(t.Context(), "n", nil); err != nil {
		t.Fatal(err)
	}
	if got := all(t, l, Filter{}); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	if err := l.Record(t.Context(), []usagev1.Segment{segment("c", 1, 0, 0)}); err == nil {
		t.Error("an open segment was recorded")
	}
}

func TestFilters(t *testing.T) {
	l := openLedger(t, filepath.Join(t.TempDir(), "l.db"))
	if err := l.Record(t.Context(), []usagev1.Segment{segment("a", 1, 0, time.Hour), segment("a", 2, time.Hour, 2*time.Hour), segment("b", 1, 0, time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		f    Filter
		want int
	}{
		"namespace": {Filter{Namespace: "other"}, 0}, "pod": {Filter{Namespace: "default", Pod: "pod-a"}, 2}, "uid": {Filter{UID: "b"}, 1},
		"from": {Filter{From: start.Add(time.Hour)}, 1}, "to": {Filter{To: start.Add(time.Hour)}, 2},
	} {
		if got := all(t, l, c.f); len(got) != c.want {
			t.Errorf("%s: %d segments, want %d", name, len(got), c.want)
		}
	}
}

func TestGaps(t *testing.T) {
	l := openLedger(t, filepath.Join(t.TempDir(), "l.db"))
	if err := l.Record(t.Context(), []usagev1.Segment{
		segment("gap", 1, 0, time.Minute), segment("gap", 2, 2*time.Minute, time.Hour),
		segment("overlap", 1, 0, time.Minute), segment("overlap", 2, time.Second, time.Hour),
		segment("skipped", 1, 0, time.Minute), segment("skipped", 3, time.Minute, time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	gaps, err := l.Gaps(t.Context())
	if err != nil || len(gaps) != 3 {
		t.Errorf("%v (%v)", gaps, err)
	}
}

func TestConcurrentNodes(t *testing.T) {
	l := openLedger(t, filepath.Join(t.TempDir(), "l.db"))
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range int64(20) {
				s := segment(fmt.Sprint("p", n), i+1, time.Duration(i)*time.Second, time.Duration(i+1)*time.Second)
				if err := l.Record(t.Context(), []usagev1.Segment{s}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := all(t, l, Filter{}); len(got) != 160 {
		t.Errorf("%d segments of 160", len(got))
	}
}

// TestEarlierFile: a ledger from before bursts were metered is brought up to date, and its segments had none.
func TestEarlierFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`CREATE TABLE segments (pod_uid TEXT NOT NULL, generation INTEGER NOT NULL, sequence INTEGER NOT NULL,
			namespace TEXT NOT NULL, pod TEXT NOT NULL, node TEXT NOT NULL, class TEXT NOT NULL, qos TEXT NOT NULL,
			cpu_milli INTEGER NOT NULL, memory_bytes INTEGER NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
			labels TEXT NOT NULL, PRIMARY KEY (pod_uid, generation, sequence)) STRICT, WITHOUT ROWID`,
		`INSERT INTO segments VALUES ('a', 1, 1, 'default', 'a', 'n', 'general-purpose', 'default', 100, 200, 1000, 2000, 'null')`,
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		next := segment("b", 1, 0, 1000)
		next.Burst = usagev1.Burst{Millis: 1, CPUMillis: 2, MemoryMillis: 3}
		if err := l.Record(t.Context(), []usagev1.Segment{next}); err != nil {
			t.Fatal(err)
		}
		got, err := l.Segments(t.Context(), Filter{})
		if err != nil || len(got) != 2 || got[0].Burst != (usagev1.Burst{}) || got[1].Burst != next.Burst {
			t.Errorf("%+v, %v", got, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
