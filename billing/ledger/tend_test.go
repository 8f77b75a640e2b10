package ledger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

const day = 24 * time.Hour

func tendAt(t *testing.T, l *Ledger, now time.Time, retention time.Duration) {
	t.Helper()
	if err := l.tend(t.Context(), now, retention); err != nil {
		t.Fatal(err)
	}
}

// TestRetention: a day is dropped when all of it ended before the horizon, its ids with it, and nothing of it comes
// back.
func TestRetention(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		where := place()
		l := openLedger(t, where) // Close is idempotent
		old, long, young := segment("old", 1, time.Hour, 2*time.Hour), segment("long", 1, day+time.Hour, 9*day), segment("young", 1, 9*day, 9*day+time.Hour)
		beside := segment("beside", 1, day, day+time.Hour) // ended long ago, in a partition with one that hasn't
		record(t, l, old, long, young)
		if err := l.RecordLifecycles(t.Context(), []Lifecycle{
			{PodUID: "old", Started: old.Start, Ended: old.End}, {PodUID: "long", Started: long.Start, Ended: long.End},
		}); err != nil {
			t.Fatal(err)
		}
		now := begin.Add(10*day + time.Hour)
		tendAt(t, l, now, 0)
		record(t, l, beside) // late: in SQLite the others are packed
		if got := all(t, l, Filter{}); len(got) != 4 {
			t.Fatalf("without retention: %+v", got)
		}
		for range 2 {
			tendAt(t, l, now, 7*day) // the horizon is the third midnight
			if got, want := all(t, l, Filter{}), []usagev1.Segment{beside, long, young}; !sameSegments(got, want) {
				t.Fatalf("%+v", got)
			}
		}
		var conflict *ConflictError
		if err := l.Record(t.Context(), []usagev1.Segment{old, segment("new", 1, time.Hour, 3*time.Hour)}); !errors.As(err, &conflict) || len(conflict.Expired) != 2 || len(conflict.IDs) != 0 {
			t.Errorf("%v, want that both are expired", err)
		}
		if refused, err := l.Refused(t.Context()); err != nil || len(refused) != 2 || !refused[0].Expired {
			t.Errorf("%+v, %v", refused, err)
		}
		late := segment("late", 1, time.Hour, 4*day) // it began on the dropped day, and ended after the horizon
		record(t, l, late)
		if got := all(t, l, Filter{UID: "late"}); !reflect.DeepEqual(got, []usagev1.Segment{late}) {
			t.Errorf("%+v", got)
		}
		var lives []string
		if err := l.EachLifecycle(t.Context(), Filter{}, func(p *Lifecycle) error { lives = append(lives, p.PodUID); return nil }); err != nil || !reflect.DeepEqual(lives, []string{"long"}) {
			t.Errorf("%v, %v", lives, err)
		}
		tendAt(t, l, now, 0) // the horizon stays
		gaps, err := l.Gaps(t.Context())
		if err != nil || len(gaps) != 0 {
			t.Errorf("%v, %v", gaps, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		again := openLedger(t, where)
		if err := again.Record(t.Context(), []usagev1.Segment{old}); !errors.As(err, &conflict) || len(conflict.Expired) != 1 {
			t.Errorf("after a restart: %v", err)
		}
	})
}

// TestNothingIsDroppedBeforeItIsInvoiced: where there are invoices, the horizon isn't after the newest.
func TestNothingIsDroppedBeforeItIsInvoiced(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		l := openLedger(t, place())
		record(t, l, segment("a", 1, 0, time.Hour), segment("b", 1, 2*day, 2*day+time.Hour))
		if err := l.CloseInvoice(t.Context(), Invoice{ID: "i", Account: "acme", From: begin, To: begin.Add(day), Currency: "CNY", Total: billing.MustMoney("1"), Closed: begin.Add(day)}); err != nil {
			t.Fatal(err)
		}
		tendAt(t, l, begin.Add(100*day), day)
		if got := all(t, l, Filter{}); len(got) != 1 || got[0].PodUID != "b" {
			t.Errorf("%+v", got)
		}
	})
}

// TestPacked: days that are over become one file each, which goes when the day is dropped, but not under a reader.
func TestPacked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	l := openLedger(t, dir)
	shrink(l)
	runs := func() int {
		files, err := os.ReadDir(filepath.Join(dir, "runs"))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	var want []usagev1.Segment
	for i := range int64(200) {
		want = append(want, segment("pod", i+1, time.Duration(i)*15*time.Minute, time.Duration(i+1)*15*time.Minute)) // two days and two hours
	}
	for i := len(want); i > 0; i -= 8 {
		record(t, l, want[i-8:i]...)
		if i%24 == 0 {
			tendAt(t, l, begin.Add(time.Hour), 0)
		}
	}
	if n := runs(); n < 4 {
		t.Errorf("%d runs of three days in progress", n)
	}
	reading := false
	if err := l.Each(t.Context(), Filter{}, func(s *usagev1.Segment) error {
		if !reading {
			reading = true
			tendAt(t, l, begin.Add(4*day), 0) // which replaces what is read
			record(t, l, segment("later", 1, 0, time.Minute))
		}
		if s.ID != want[s.Sequence-1].ID {
			t.Fatalf("%+v", s)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n := runs(); n != 3 {
		t.Errorf("%d runs of three days that are over", n)
	}
	if err := os.WriteFile(filepath.Join(dir, "runs", "2026-03-01-9999.db"), []byte("half a run"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openLedger(t, dir)
	if n := runs(); n != 3 {
		t.Errorf("%d runs after a restart", n)
	}
	if got := all(t, l, Filter{UID: "pod"}); !sameSegments(got, want) {
		t.Errorf("%d segments, want %d", len(got), len(want))
	}
	// Copies of what is packed, and of what isn't, are known.
	record(t, l, want...)
	other := want[0]
	other.CPUMilli++
	var conflict *ConflictError
	if err := l.Record(t.Context(), []usagev1.Segment{other}); !errors.As(err, &conflict) {
		t.Errorf("%v, want a conflict", err)
	}
	tendAt(t, l, begin.Add(100*day), day)
	if got := all(t, l, Filter{}); len(got) != 0 || runs() != 0 {
		t.Errorf("%d segments and %d runs after their time", len(got), runs())
	}
}

// TestADamagedRunIsTold: a bit that a disk has lost isn't billed.
func TestADamagedRunIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	l := openLedger(t, dir)
	record(t, l, segment("a", 1, 0, time.Hour))
	tendAt(t, l, begin.Add(4*day), 0)
	files, err := filepath.Glob(filepath.Join(dir, "runs", "*.db"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	frame := bytes.Index(b, []byte{0x28, 0xb5, 0x2f, 0xfd}) // zstd's
	if frame < 0 {
		t.Fatal("no block is found")
	}
	b[frame+20] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := segmentsOf(t.Context(), l, Filter{}); err == nil {
		t.Errorf("read as %+v", got)
	}
}

// TestAFolderIsOneProcess: what two of them kept in memory would differ.
func TestAFolderIsOneProcess(t *testing.T) {
	dir := t.TempDir()
	openLedger(t, dir)
	_, err := Open(t.Context(), dir)
	refuses(t, err, "another process has it open")
}
