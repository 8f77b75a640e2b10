package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

// Rounds of SHA-256 for one request. The default takes between one and two milliseconds on a present
// x86-64 core with SHA instructions; the largest keeps one request from holding a core for ever.
const (
	defaultWork = 20_000
	maxWork     = 10_000_000
)

type config struct {
	address string
	work    int
}

// configure reads LISTEN (default :8080) and WORK.
func configure(env func(string) string) (config, error) {
	c := config{address: ":8080", work: defaultWork}
	if a := env("LISTEN"); a != "" {
		c.address = a
	}
	if w := env("WORK"); w != "" {
		n, err := parseWork(w)
		if err != nil {
			return c, fmt.Errorf("WORK: %w", err)
		}
		c.work = n
	}
	return c, nil
}

func parseWork(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxWork {
		return 0, fmt.Errorf("%q: must be a whole number from 0 to %d", text, maxWork)
	}
	return n, nil
}

type server struct {
	work     int
	hash     func(rounds int) [sha256.Size]byte
	hostname string
	requests atomic.Int64
	draining atomic.Bool
}

func newServer(work int) *server {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = "unknown"
	}
	return &server{work: work, hash: chain, hostname: hostname}
}

// answer is what / says.
type answer struct {
	PID        int    `json:"pid"`
	Hostname   string `json:"hostname"`
	Request    int64  `json:"request"` // counted from 1
	GOMAXPROCS int    `json:"gomaxprocs"`
	Work       int    `json:"work"`   // rounds
	Digest     string `json:"digest"` // of the last round: the work was done
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.compute)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s.draining.Load() {
			http.Error(w, "ending", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	return mux
}

func (s *server) compute(w http.ResponseWriter, r *http.Request) {
	work := s.work
	if text := r.URL.Query().Get("work"); text != "" {
		n, err := parseWork(text)
		if err != nil {
			http.Error(w, "work: "+err.Error(), http.StatusBadRequest)
			return
		}
		work = n
	}
	digest := s.hash(work)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer{
		PID: os.Getpid(), Hostname: s.hostname, Request: s.requests.Add(1),
		GOMAXPROCS: runtime.GOMAXPROCS(0), Work: work, Digest: fmt.Sprintf("%x", digest),
	})
}

// chain hashes a hash over and over; no round can be left out or done beside another.
func chain(rounds int) [sha256.Size]byte {
	digest := sha256.Sum256([]byte("swell"))
	for range rounds {
		digest = sha256.Sum256(digest[:])
	}
	return digest
}

// serve answers requests until ctx ends, and then those that have arrived, for as long as drain allows.
func (s *server) serve(ctx context.Context, listener net.Listener, drain time.Duration) error {
	h := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.draining.Store(true)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := h.Shutdown(last); err != nil {
		return errors.Join(fmt.Errorf("requests in flight: %w", err), h.Close())
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
