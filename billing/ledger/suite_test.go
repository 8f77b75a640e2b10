package ledger

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	postgresserver "swell.dev/swell/internal/postgres"
)

// eachStore runs a test for every kind of store. place answers a new, empty place for a ledger.
func eachStore(t *testing.T, test func(t *testing.T, place func() string)) {
	t.Run("sqlite", func(t *testing.T) {
		n := 0
		test(t, func() string {
			n++
			return filepath.Join(t.TempDir(), fmt.Sprint("a ledger? ", n))
		})
	})
	t.Run("postgres", func(t *testing.T) { test(t, func() string { return newDatabase(t) }) })
}

// database is the PostgreSQL that tests share; each has databases of its own in it.
var database struct {
	once   sync.Once
	server *postgresserver.Server
	err    error
	made   atomic.Int64
}

func newDatabase(t testing.TB) string {
	t.Helper()
	database.once.Do(func() { database.server, database.err = postgresserver.Start(context.Background(), "../..") })
	if database.err != nil {
		t.Fatal(database.err)
	}
	url, err := database.server.CreateDatabase(t.Context(), fmt.Sprint("ledger ", database.made.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func TestMain(m *testing.M) {
	if where := os.Getenv(childWhere); where != "" {
		fmt.Fprintln(os.Stderr, childMain(where))
		os.Exit(1)
	}
	code := m.Run()
	if database.server != nil {
		if err := database.server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
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
	got, err := segmentsOf(t.Context(), l, f)
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

// shrink makes a SQLite ledger pack as if it were a large one.
func shrink(l *Ledger) {
	if s, is := l.store.(*sqlite); is {
		s.limits = limits{packAt: 10, maxArrivals: 40, minRun: 5, minLate: 3, maxRuns: 3}
	}
}

// segmentsOf are those that Each tells of.
func segmentsOf(ctx context.Context, l *Ledger, f Filter) ([]usagev1.Segment, error) {
	var out []usagev1.Segment
	err := l.Each(ctx, f, func(s *usagev1.Segment) error {
		out = append(out, *s)
		return nil
	})
	return out, err
}
