package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/internal/postgres"
)

// What `perf ledger` measures.
const (
	ledgerRecord = "segments recorded"
	ledgerRead   = "segments read, of a day that is over"
)

func ledgerCommand(s *setting) *cobra.Command {
	segments, database := dayMillions, false
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "A day's segments recorded in the ledger and read again",
		Long: `Each round is a process of its own with a new ledger. 16 callers record a day's segments, 100 in a call, each of a
pod of its own with a UUID, a name and two labels; a call returns when they are durable. Then the day is read as it
is while it arrives, and as it is when it is over; segments that are there are recorded again; and single pods are
looked up.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return ledgerRounds(cmd.Context(), s, segments, database) },
	}
	cmd.Flags().IntVar(&segments, "segments", segments, "how many")
	cmd.Flags().BoolVar(&database, "postgres", false, "in PostgreSQL, of Debian's package, with its own defaults; otherwise in SQLite")
	return cmd
}

func ledgerProcess() *cobra.Command {
	return &cobra.Command{Use: "ledger-day WHERE SEGMENTS", Hidden: true, Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		done, err := ledgerRound(cmd.Context(), args[0], n)
		if err != nil {
			return err
		}
		return json.NewEncoder(cmd.OutOrStdout()).Encode(done)
	}}
}

// named is a number that a round's process answers.
type named struct {
	Name  string
	Value float64
}

func ledgerRounds(ctx context.Context, s *setting, segments int, database bool) error {
	if segments < 1 {
		return fmt.Errorf("--segments %d: at least 1", segments)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var r rates
	name, store := "ledger", "SQLite"
	if database {
		name, store = "ledger-postgres", "PostgreSQL"
	}
	for range s.rounds {
		if err := func() (err error) {
			dir, err := os.MkdirTemp("", "swell-perf-ledger-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			where := filepath.Join(dir, "ledger")
			if database {
				server, err := postgres.Start(ctx, ".")
				if err != nil {
					return err
				}
				defer server.Stop()
				if where, err = server.CreateDatabase(ctx, "ledger"); err != nil {
					return err
				}
			}
			cmd := exec.CommandContext(ctx, self, "ledger-day", where, strconv.Itoa(segments))
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("ledger-day: %w", err)
			}
			var done []named
			if err := json.Unmarshal(out, &done); err != nil {
				return fmt.Errorf("ledger-day: %w", err)
			}
			for _, d := range done {
				r.add(d.Name, d.Value)
			}
			return nil
		}(); err != nil {
			return err
		}
	}
	return s.publish(name, segments, map[string]string{"store": store, "callers": "16, of 100 segments a call"}, &r)
}

const (
	ledgerCallers = 16
	ledgerCall    = 100
)

func ledgerRound(ctx context.Context, where string, n int) (out []named, err error) {
	add := func(name string, value float64) { out = append(out, named{name, value}) }
	debug.SetGCPercent(100) // as the program has it that keeps the ledger
	// Both: a machine that does other things as well changes the time, and not the CPU time.
	speed := func(name string, n int, did func() error) error {
		began, cpu := time.Now(), clock(unix.CLOCK_PROCESS_CPUTIME_ID)
		if err := did(); err != nil {
			return err
		}
		add(name+" a second", float64(n)/time.Since(began).Seconds())
		add(name+" a CPU-second", float64(n)/(clock(unix.CLOCK_PROCESS_CPUTIME_ID)-cpu).Seconds())
		return nil
	}
	l, err := ledger.Open(ctx, where)
	if err != nil {
		return nil, err
	}
	defer func() {
		if l != nil {
			_ = l.Close() // what went wrong before is told
		}
	}()
	stop := tendLedger(ctx, l)
	if err := speed(ledgerRecord, n, func() error { return recordDay(ctx, l, n) }); err != nil {
		return nil, err
	}
	read := func(f ledger.Filter, want int) error {
		got := 0
		if err := l.Each(ctx, f, func(*usagev1.Segment) error { got++; return nil }); err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%+v: %d segments are there, want %d", f, got, want)
		}
		return nil
	}
	if err := speed("segments read, of a day in progress", n, func() error { return read(ledger.Filter{}, n) }); err != nil {
		return nil, err
	}
	stop()
	if err := l.Close(); err != nil {
		return nil, err
	}
	if l, err = ledger.Open(ctx, where); err != nil {
		return nil, err
	}
	if info, err := os.Stat(where); err == nil && info.IsDir() {
		if err := overDay(ctx, l, where); err != nil {
			return nil, err
		}
		size, err := bytesIn(where)
		if err != nil {
			return nil, err
		}
		add("bytes on disk for a segment", float64(size)/float64(n))
	}
	if err := speed(ledgerRead, n, func() error { return read(ledger.Filter{}, n) }); err != nil {
		return nil, err
	}
	again := min(n, 100_000)
	if err := speed("copies told apart", again, func() error { return recordDay(ctx, l, again) }); err != nil {
		return nil, err
	}
	var s usagev1.Segment
	newLedgerSegments(0).next(&s)
	for name, f := range map[string]ledger.Filter{"UID": {UID: s.PodUID}, "name": {Namespace: s.Namespace, Pod: s.Pod}} {
		began := time.Now()
		if err := read(f, 1); err != nil {
			return nil, err
		}
		add("one pod of the day found by "+name+", ms", float64(time.Since(began).Microseconds())/1000)
	}
	rss, err := peakRSS(os.Getpid())
	if err != nil {
		return nil, err
	}
	add(ratePeak, float64(rss)/(1<<20))
	err = l.Close()
	l = nil
	return out, err
}

// tendLedger tends a ledger until it is told to stop.
func tendLedger(ctx context.Context, l *ledger.Ledger) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = l.Tend(ctx, 0, func(err error) { fmt.Fprintln(os.Stderr, "ledger:", err) }) // it has no other errors
	})
	return func() { cancel(); wg.Wait() }
}

// recordDay records n segments of a day.
func recordDay(ctx context.Context, l *ledger.Ledger, n int) error {
	errs := make(chan error, ledgerCallers)
	for c := range ledgerCallers {
		share := n/ledgerCallers + min(1, max(0, n%ledgerCallers-c))
		go func() {
			m := newLedgerSegments(c)
			batch := make([]usagev1.Segment, ledgerCall)
			for share > 0 {
				b := batch[:min(share, ledgerCall)]
				share -= len(b)
				for i := range b {
					m.next(&b[i])
				}
				if err := l.Record(ctx, b); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var failed error
	for range ledgerCallers {
		if err := <-errs; err != nil {
			failed = err
		}
	}
	return failed
}

// overDay waits until the day, which is over long since, is one file.
func overDay(ctx context.Context, l *ledger.Ledger, dir string) error {
	defer tendLedger(ctx, l)()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		files, err := os.ReadDir(filepath.Join(dir, "runs"))
		if err != nil {
			return err
		}
		if len(files) == 1 {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func bytesIn(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}

var ledgerBegin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// ledgerSegments makes a caller's segments of a day: the same ones each time.
type ledgerSegments struct {
	r      *rand.Rand
	labels []map[string]string
}

func newLedgerSegments(caller int) *ledgerSegments {
	m := &ledgerSegments{r: rand.New(rand.NewPCG(uint64(caller), 1))}
	for i := range 500 {
		m.labels = append(m.labels, map[string]string{"app": fmt.Sprint("app-", i), "team": fmt.Sprint("team-", i%20)})
	}
	return m
}

func (m *ledgerSegments) next(s *usagev1.Segment) {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(m.r.Uint32())
	}
	app := m.r.IntN(len(m.labels))
	start := ledgerBegin.Add(time.Duration(m.r.Int64N(86_400_000)) * time.Millisecond)
	*s = usagev1.Segment{
		ID: usagev1.ID{PodUID: id.String(), Generation: 1, Sequence: 1}, Namespace: fmt.Sprint("project-", app%50), Pod: fmt.Sprintf("app-%d-%016x", app, m.r.Uint64()),
		Node: fmt.Sprint("node-", m.r.IntN(1000)), ComputeClass: "general-purpose", QoS: "default", CPUMilli: 250 * (1 + m.r.Int64N(8)), MemoryBytes: (1 + m.r.Int64N(8)) << 29,
		Start: start, End: start.Add(time.Duration(m.r.Int64N(900_000)) * time.Millisecond), Labels: m.labels[app], Region: "eu-1",
	}
}
