package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

func ask(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAnswers(t *testing.T) {
	s := newServer(3)
	server := httptest.NewServer(s.handler())
	defer server.Close()
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		query string
		work  int
	}{{"", 3}, {"?work=0", 0}, {"?work=7", 7}} {
		code, body := ask(t, server.URL+"/"+c.query)
		var a answer
		if err := json.Unmarshal([]byte(body), &a); err != nil || code != 200 {
			t.Fatalf("%d %q: %v", code, body, err)
		}
		if a.PID != os.Getpid() || a.Hostname != hostname || a.Request != int64(i+1) || a.GOMAXPROCS < 1 || a.Work != c.work ||
			a.Digest != fmt.Sprintf("%x", chain(c.work)) {
			t.Errorf("%q: %+v", c.query, a)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/?work=-1": 400, "/?work=x": 400, "/?work=99999999": 400, "/else": 404} {
		if code, body := ask(t, server.URL+path); code != want {
			t.Errorf("%s: %d %q, want %d", path, code, body, want)
		}
	}
	if n := s.requests.Load(); n != 3 {
		t.Errorf("counted %d requests, want 3", n)
	}
}

// Each round hashes the last one's result: sha256(sha256(sha256("swell"))) after two.
func TestChain(t *testing.T) {
	seen := map[string]int{}
	for n := range 5 {
		seen[fmt.Sprintf("%x", chain(n))] = n
	}
	if len(seen) != 5 {
		t.Errorf("rounds repeat: %v", seen)
	}
}

func TestConfigure(t *testing.T) {
	c, err := configure(func(string) string { return "" })
	if err != nil || c.address != ":8080" || c.work != defaultWork {
		t.Errorf("defaults %+v, %v", c, err)
	}
	c, err = configure(func(key string) string { return map[string]string{"LISTEN": "127.0.0.1:0", "WORK": "5"}[key] })
	if err != nil || c.address != "127.0.0.1:0" || c.work != 5 {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, err = configure(func(string) string { return "many" }); err == nil || !strings.Contains(err.Error(), `WORK: "many"`) {
		t.Errorf("got %v", err)
	}
}

// A request that is in flight when the server is asked to end gets its answer.
func TestDrain(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(0)
	arrived, release := make(chan struct{}), make(chan struct{})
	s.hash = func(rounds int) [sha256.Size]byte {
		close(arrived)
		<-release
		return chain(rounds)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.serve(ctx, listener, time.Minute) }()

	type result struct {
		code int
		err  error
	}
	answered := make(chan result, 1)
	go func() {
		resp, err := http.Get("http://" + listener.Addr().String() + "/")
		if err != nil {
			answered <- result{err: err}
			return
		}
		resp.Body.Close()
		answered <- result{code: resp.StatusCode}
	}()
	<-arrived
	cancel()
	// The listener is closed as soon as the server drains.
	for {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			break
		}
		conn.Close()
	}
	close(release)
	if r := <-answered; r.code != 200 || r.err != nil {
		t.Errorf("answered %+v", r)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !s.draining.Load() {
		t.Error("still says that it is ready")
	}
}

func BenchmarkRequest(b *testing.B) {
	for b.Loop() {
		chain(defaultWork)
	}
}
