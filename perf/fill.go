package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// filling creates pods in parts, numbered on from part to part.
type filling struct {
	load *loader
	made []created // by number
}

func newFilling(ctx context.Context, t *trial) (*filling, error) {
	load, err := newLoader(ctx, t.rest, metav1.NamespaceDefault, mediaProtobuf, protocolH1, pod("", "100m", "64Mi"), 0)
	if err != nil {
		return nil, err
	}
	return &filling{load: load}, nil
}

// close ends the connections.
func (f *filling) close() error { return f.load.close() }

// more creates n pods. It answers when each was sent, how long each took, and how many were refused at first.
func (f *filling) more(ctx context.Context, n, clients int) (began []time.Time, took []time.Duration, refused int64, err error) {
	from := len(f.made)
	f.made = append(f.made, make([]created, n)...)
	var refusals atomic.Int64
	began, took, err = closedLoop(ctx, n, clients, func(ctx context.Context, i int) error {
		name := podName(from + i)
		m, _, r, err := f.load.post(ctx, name, f.load.bodyOf(nil, name))
		f.made[from+i] = m
		refusals.Add(int64(r))
		return err
	})
	return began, took, refusals.Load(), err
}

// fill creates n pods and waits until a watch has said of all that they run.
func (f *filling) fill(ctx context.Context, t *trial, n int) error {
	w, err := follow(ctx, watcherRaw, t.rest, metav1.NamespaceDefault, n)
	if err != nil {
		return err
	}
	defer w.stop()
	if _, _, _, err := f.more(ctx, n, 64); err != nil {
		return err
	}
	seen, err := w.wait(ctx)
	if err == nil && len(seen) < n {
		err = fmt.Errorf("%d of %d pods run", len(seen), n)
	}
	return err
}

// gather waits for functions that run side by side and answers their errors.
func gather(of ...func() error) error {
	errs := make([]error, len(of))
	var wg sync.WaitGroup
	for i, one := range of {
		wg.Go(func() { errs[i] = one() })
	}
	wg.Wait()
	return errors.Join(errs...)
}
