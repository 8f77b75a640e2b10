package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// openLoop does n things at a rate, whether or not those before are done: thing i is due i/rate after the
// start. Each one's latency counts from when it was due, not from when a worker got round to it: else a
// server that stalls would be measured less often the slower it is (coordinated omission). The workers bound
// how many are under way. It answers when each was due, and how long each took.
func openLoop(ctx context.Context, n int, rate float64, workers int, do func(ctx context.Context, i int) error) (due []time.Time, took []time.Duration, err error) {
	if rate <= 0 || workers < 1 {
		return nil, nil, fmt.Errorf("open loop: rate %v and %d workers: both must be more than 0", rate, workers)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	due, took = make([]time.Time, n), make([]time.Duration, n)
	start := time.Now()
	for i := range due {
		due[i] = start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := waitUntil(ctx, due[i]); err != nil {
					return
				}
				if err := do(ctx, i); err != nil {
					cancel(err)
					return
				}
				took[i] = time.Since(due[i])
			}
		})
	}
	wg.Wait()
	return due, took, context.Cause(ctx)
}

// closedLoop does n things, each of the clients the next one when its last is done.
func closedLoop(ctx context.Context, n, clients int, do func(ctx context.Context, i int) error) (began []time.Time, took []time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began, took = make([]time.Time, n), make([]time.Duration, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				began[i] = time.Now()
				if err := do(ctx, i); err != nil {
					cancel(err)
					return
				}
				took[i] = time.Since(began[i])
			}
		})
	}
	wg.Wait()
	return began, took, context.Cause(ctx)
}

func waitUntil(ctx context.Context, at time.Time) error {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err()
	}
	return pause(ctx, d)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// runOpen posts n pods at a rate. It answers when each was due and how long it then took to be answered.
func (l *loader) runOpen(ctx context.Context, n int, rate float64, workers int) (due []time.Time, took []time.Duration, made []created, refused int64, err error) {
	defer context.AfterFunc(ctx, func() { _ = l.poster.close() })() // what waits for an answer ends too
	made = make([]created, n)
	var refusals atomic.Int64
	due, took, err = openLoop(ctx, n, rate, workers, func(ctx context.Context, i int) error {
		name := podName(i)
		m, _, r, err := l.post(ctx, name, l.bodyOf(nil, name))
		made[i] = m
		refusals.Add(int64(r))
		return err
	})
	return due, took, made, refusals.Load(), err
}
