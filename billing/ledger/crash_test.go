package ledger

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	postgresserver "swell.dev/swell/internal/postgres"
)

// Environment of a child that records until it is killed: where, and which life it is.
const (
	childWhere = "SWELL_TEST_LEDGER"
	childLife  = "SWELL_TEST_LIFE"
)

// childMain records from several goroutines and says what is acknowledged, a line each.
func childMain(where string) error {
	ctx := context.Background()
	l, err := Open(ctx, where)
	if err != nil {
		return err
	}
	shrink(l) // so that it is also killed while it packs
	lines := make(chan string)
	go func() {
		if err := l.Tend(ctx, 0, func(err error) { lines <- err.Error() }); err != nil {
			lines <- err.Error()
		}
	}()
	for g := range 4 {
		go func() {
			for i := int64(1); ; i++ {
				pod := fmt.Sprintf("pod-%s-%d", os.Getenv(childLife), g)
				batch := []usagev1.Segment{numbered(pod, 2*i-1), numbered(pod, 2*i)}
				if err := l.Record(ctx, batch); err != nil {
					lines <- err.Error()
					return
				}
				lines <- fmt.Sprintf("ack %s %d", pod, 2*i)
			}
		}()
	}
	for line := range lines {
		fmt.Println(line)
	}
	return nil
}

// numbered is a pod's i-th second, from shortly before a midnight on.
func numbered(pod string, i int64) usagev1.Segment {
	at := 23*time.Hour + 59*time.Minute + time.Duration(i)*time.Second
	return segment(pod, i, at, at+time.Second)
}

// TestKilled: whenever the process is killed, what it had acknowledged is there, once.
func TestKilled(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		where := place()
		acked := map[string]int64{}
		for life := range 4 {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), childWhere+"="+where, childLife+"="+strconv.Itoa(life))
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			said := 0
			for lines := bufio.NewScanner(out); lines.Scan(); said++ {
				word := strings.Fields(lines.Text())
				if len(word) != 3 || word[0] != "ack" {
					t.Fatalf("the child says %q", lines.Text())
				}
				n, err := strconv.ParseInt(word[2], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				acked[word[1]] = n
				if said == 40+17*life {
					if err := cmd.Process.Kill(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := cmd.Wait(); err == nil {
				t.Fatal("the child has ended by itself")
			}
			if said < 40 {
				t.Fatalf("the child said %d lines", said)
			}
		}
		checkAcknowledged(t, openLedger(t, where), acked)
	})
}

// checkAcknowledged: of each pod at least so many segments are there, each once and as it was.
func checkAcknowledged(t *testing.T, l *Ledger, acked map[string]int64) {
	t.Helper()
	if len(acked) == 0 {
		t.Error("nothing was acknowledged")
	}
	for pod, n := range acked {
		got := all(t, l, Filter{UID: pod})
		if int64(len(got)) < n {
			t.Errorf("%s: %d segments are there, %d were acknowledged", pod, len(got), n)
		}
		for i := range got {
			if want := numbered(pod, int64(i+1)); !sameSegments(got[i:i+1], []usagev1.Segment{want}) {
				t.Fatalf("%s: segment %d is %+v", pod, i+1, got[i])
			}
		}
	}
	if gaps, err := l.Gaps(t.Context()); err != nil || len(gaps) > 0 {
		t.Errorf("gaps %v (%v)", gaps, err)
	}
}

// TestPostgresRestarts crashes a PostgreSQL several times while nodes record: calls wait for it and go on, and what
// they acknowledged is there once.
func TestPostgresRestarts(t *testing.T) {
	server, err := postgresserver.Start(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	where, err := server.CreateDatabase(t.Context(), "ledger")
	if err != nil {
		t.Fatal(err)
	}
	l := openLedger(t, where)
	const nodes = 8
	var last [nodes]atomic.Int64
	progress := make(chan struct{}, 1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for n := range nodes {
		wg.Go(func() {
			for i := int64(1); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				// The same again, as a nodelet does that missed the answer.
				batch := []usagev1.Segment{numbered(fmt.Sprint("pod-", n), max(1, i-1)), numbered(fmt.Sprint("pod-", n), i)}
				if err := l.Record(t.Context(), batch); err != nil {
					t.Error(err)
					return
				}
				last[n].Store(i)
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	slowest := func() int64 {
		least := last[0].Load()
		for n := range last {
			least = min(least, last[n].Load())
		}
		return least
	}
	for round := int64(1); round <= 4; round++ {
		for want := slowest() + 20; slowest() < want && !t.Failed(); {
			<-progress
		}
		if round == 4 || t.Failed() {
			break
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	wg.Wait()
	acked := map[string]int64{}
	for n := range nodes {
		acked[fmt.Sprint("pod-", n)] = last[n].Load()
	}
	checkAcknowledged(t, l, acked)
	if t.Failed() {
		t.Log(server.Log())
	}
}

// TestPostgresThatForgets: a server that answers before it has written isn't used.
func TestPostgresThatForgets(t *testing.T) {
	where := newDatabase(t)
	l, err := Open(t.Context(), where+"&synchronous_commit=off&password=secret")
	if err == nil {
		_ = l.Close()
		t.Fatal("it was opened")
	}
	refuses(t, err, "synchronous_commit is off")
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is told: %v", err)
	}
}

// TestACallWaitsAsLongAsItsContext: without a database a call ends with its context, and says what it waited for.
func TestACallWaitsAsLongAsItsContext(t *testing.T) {
	server, err := postgresserver.Start(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	where, err := server.CreateDatabase(t.Context(), "ledger")
	if err != nil {
		t.Fatal(err)
	}
	l := openLedger(t, where)
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = l.Record(ctx, []usagev1.Segment{segment("a", 1, 0, time.Second)})
	refuses(t, err, "deadline exceeded")
	_, err = Open(t.Context(), where)
	refuses(t, err, "--ledger postgres://swell@127.0.0.1")
}

// TestPostgresCommittedUnheard: a commit whose answer was lost is tried again, and then known as this ledger's own, so
// that who follows it is told.
func TestPostgresCommittedUnheard(t *testing.T) {
	l := openLedger(t, newDatabase(t))
	s := segment("a", 1, 0, time.Second)
	r, err := newRow(&s)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := l.store.record(t.Context(), []*row{r}, nil); err != nil || r.verdict != recorded {
			t.Fatalf("%v, %d", err, r.verdict)
		}
	}
	again, err := newRow(&s)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.store.record(t.Context(), []*row{again}, nil); err != nil || again.verdict != repeated {
		t.Errorf("%v, %d", err, again.verdict)
	}
	if got := all(t, l, Filter{}); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}
