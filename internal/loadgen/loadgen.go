// Package loadgen is a closed-loop HTTP load: a fixed number of connections, each sending its next
// request when the last one was answered. What it counts can be read while it runs, which makes it fit
// to watch a server while that changes size.
package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// Config says what to send where.
type Config struct {
	URL         string
	Connections int           // kept alive; each has one request in flight
	Timeout     time.Duration // for one request, after which it counts as failed; 0 is 10 s
	Duration    time.Duration // 0: until Stop or the context's end
}

func (c Config) validate() (Config, error) {
	if c.URL == "" {
		return c, errors.New("load: no URL")
	}
	if c.Connections <= 0 {
		return c, fmt.Errorf("load: %d connections: must be one or more", c.Connections)
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	return c, nil
}

// Load is a load that runs.
type Load struct {
	config  Config
	target  *url.URL
	address string // host:port
	cancel  context.CancelFunc
	wait    sync.WaitGroup
	start   time.Time

	mu       sync.Mutex // guards what follows
	total    counts
	interval counts
	since    time.Time // start of the interval
	opened   int64     // connections
	first    error     // the first failure
	end      time.Time // zero while it runs
}

// Start begins to send. The load ends with the context, with Stop, or after its duration; a request
// that is in flight then is finished and counted, within its timeout.
func Start(ctx context.Context, config Config) (*Load, error) {
	config, err := config.validate()
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(config.URL)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	if target.Scheme != "http" || target.Hostname() == "" {
		return nil, fmt.Errorf("load: %s: must be http://host[:port]/…", config.URL)
	}
	port := target.Port()
	if port == "" {
		port = "80"
	}
	var cancel context.CancelFunc
	if config.Duration > 0 {
		ctx, cancel = context.WithTimeout(ctx, config.Duration)
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	now := time.Now()
	l := &Load{config: config, target: target, address: net.JoinHostPort(target.Hostname(), port), cancel: cancel, start: now, since: now}
	for range config.Connections {
		l.wait.Go(func() { l.connection(ctx) })
	}
	return l, nil
}

// Stop ends the load, waits for the requests in flight and answers a last snapshot. It is idempotent.
func (l *Load) Stop() Snapshot {
	l.cancel()
	l.Wait()
	return l.Snapshot()
}

// Wait returns when the load has ended.
func (l *Load) Wait() {
	l.wait.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end.IsZero() {
		l.end = time.Now()
	}
	l.cancel()
}

// connection sends one request after another over a connection of its own, and opens a new one only
// when the server has closed the last one or a request failed without an answer.
func (l *Load) connection(ctx context.Context) {
	c := &connection{target: l.target, address: l.address, timeout: l.config.Timeout}
	defer c.close()
	for failures := 0; ctx.Err() == nil; {
		begin := time.Now()
		opened, err := c.request()
		l.record(time.Since(begin), opened, err)
		if err == nil {
			failures = 0
			continue
		}
		failures++
		pause(ctx, failures)
	}
}

// pause keeps a connection from spinning on a server that refuses at once: 1 ms doubled per failure in
// a row, at most 100 ms.
func pause(ctx context.Context, failures int) {
	d := min(time.Millisecond<<min(failures-1, 7), 100*time.Millisecond)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (l *Load) record(latency time.Duration, opened bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if opened {
		l.opened++
	}
	l.total.add(latency, err)
	l.interval.add(latency, err)
	if err != nil && l.first == nil {
		l.first = err
	}
}
