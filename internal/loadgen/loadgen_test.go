package loadgen

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no URL":         {Connections: 1},
		"no connections": {URL: "http://127.0.0.1"},
		"bad URL":        {URL: "http://[", Connections: 1},
		"no host":        {URL: "127.0.0.1:80", Connections: 1},
		"not HTTP":       {URL: "https://127.0.0.1", Connections: 1},
	} {
		if l, err := Start(context.Background(), c); err == nil {
			l.Stop()
			t.Errorf("%s: no error", name)
		}
	}
}

// The connections are kept, each has one request in flight, and every answer is counted.
func TestClosedLoop(t *testing.T) {
	var served, inFlight, most atomic.Int64
	var opened atomic.Int64
	enough := make(chan struct{})
	const connections, wanted = 4, 400
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now := inFlight.Add(1)
		defer inFlight.Add(-1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		if served.Add(1) == wanted {
			close(enough)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()

	l, err := Start(t.Context(), Config{URL: server.URL, Connections: connections})
	if err != nil {
		t.Fatal(err)
	}
	<-enough
	during := l.Snapshot()
	after := l.Stop()
	l.Stop()

	if after.Requests != served.Load() || after.Failures != 0 || after.FirstError != nil {
		t.Errorf("served %d, counted %+v", served.Load(), after)
	}
	if during.Requests == 0 || during.Interval != during.Stats {
		t.Errorf("the first interval is all there was: %+v", during)
	}
	if after.Interval.Requests != after.Requests-during.Requests {
		t.Errorf("intervals don't add up: %+v, then %+v", during, after)
	}
	if n := opened.Load(); n != connections || after.Opened != connections {
		t.Errorf("%d connections were opened, %d counted, want %d", n, after.Opened, connections)
	}
	if n := most.Load(); n > connections {
		t.Errorf("%d requests at once, want at most %d", n, connections)
	}
	if last := l.Snapshot(); last.Stats != after.Stats || last.Interval.Requests != 0 {
		t.Errorf("after the end: %+v, before: %+v", last, after)
	}
	if after.Rate() <= 0 || after.P50 > after.P99 || after.P99 > after.Max {
		t.Errorf("total %+v", after)
	}
}

func TestFailuresAreCounted(t *testing.T) {
	var n atomic.Int64
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			w.WriteHeader(http.StatusNoContent) // anything but 200
		case 3:
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case 4:
			panic(http.ErrAbortHandler) // no answer at all
		case 6:
			close(done)
		}
	}))
	defer server.Close()
	l, err := Start(t.Context(), Config{URL: server.URL, Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	<-done
	l.Stop()
	s := l.Snapshot()
	if s.Opened != 2 { // the answer that didn't come cost the connection; the others didn't
		t.Errorf("%d connections were opened, want 2", s.Opened)
	}
	if s.Failures != 4 || s.Requests != n.Load() || s.FirstError == nil || !strings.Contains(s.FirstError.Error(), "503") {
		t.Errorf("served %d, counted %+v", n.Load(), s)
	}
}

// A request in flight at the end is answered and counted, so that stopping makes no failures.
func TestStopWaitsForAnswers(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		once.Do(func() { close(arrived) })
		<-release
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	l, err := Start(ctx, Config{URL: server.URL, Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	<-arrived
	cancel()
	close(release)
	l.Wait()
	if s := l.Snapshot(); s.Requests != 1 || s.Failures != 0 {
		t.Errorf("counted %+v", s)
	}
}

// On fake time rates are exact.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Load{config: Config{}, cancel: func() {}, start: time.Now(), since: time.Now()}
		for range 10 {
			time.Sleep(100 * time.Millisecond) // fake
			l.record(100*time.Millisecond, false, nil)
		}
		first := l.Snapshot()
		if first.Interval.Rate() != 10 || first.Elapsed != time.Second || first.Interval.Max != 100*time.Millisecond {
			t.Errorf("first %+v", first)
		}
		time.Sleep(time.Second) // fake
		l.record(0, true, context.DeadlineExceeded)
		second := l.Snapshot()
		if second.Interval.Rate() != 0 || second.Interval.Failures != 1 || second.Rate() != 5 {
			t.Errorf("second %+v", second)
		}
	})
}

func TestTimeout(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	}))
	defer server.Close()
	defer close(release)
	l, err := Start(t.Context(), Config{URL: server.URL, Connections: 1, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	<-arrived
	l.Stop()
	if s := l.Snapshot(); s.Requests != 1 || s.Failures != 1 || !errors.Is(s.FirstError, os.ErrDeadlineExceeded) {
		t.Errorf("counted %+v", s)
	}
}

func TestDuration(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	l, err := Start(t.Context(), Config{URL: server.URL, Connections: 2, Duration: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	l.Wait() // returns by itself
	if s := l.Snapshot(); s.Elapsed < 20*time.Millisecond || s.Failures != 0 {
		t.Errorf("total %+v", s)
	}
}

func TestPercentiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var c counts
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(random.ExpFloat64()*5000) * time.Microsecond
		all = append(all, d)
		c.add(d, nil)
	}
	slices.Sort(all)
	for _, p := range []float64{1, 50, 90, 99, 99.9, 100} {
		exact := all[max(int(math.Ceil(p/100*float64(len(all)))), 1)-1]
		got := c.percentile(p)
		if got < exact || got > exact+exact/sub+time.Microsecond {
			t.Errorf("p%v = %v, exactly %v", p, got, exact)
		}
	}
	if (&counts{}).percentile(50) != 0 {
		t.Error("a percentile of nothing")
	}
}

func TestBucketsAreSeamless(t *testing.T) {
	for i := range buckets - sub { // beyond, a bucket's end is more than a Duration holds
		end := upper(i)
		if end > 1<<52*time.Microsecond/1000 {
			break
		}
		if bucket(end) != i || bucket(end+time.Microsecond) != i+1 {
			t.Fatalf("bucket %d ends at %v, which is in bucket %d; the next microsecond is in %d", i, end, bucket(end), bucket(end+time.Microsecond))
		}
	}
}
