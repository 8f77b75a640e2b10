package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

type listWatchConfig struct{ nodes, pods, clients, watchers int }

func listWatchCommand(s *setting) *cobra.Command {
	var c listWatchConfig
	cmd := &cobra.Command{
		Use: "list-watch", Short: "Many watches of all pods and lists during a load of creates: lag, CPU of an event, bytes",
		Long: `Create pods twice, on a fresh control plane each: once with nobody watching, once with watches of all pods and
lists beside it. What the control plane takes more, divided by the events delivered, is what an event costs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.nodes < 1 || c.pods < 1 || c.clients < 1 || c.watchers < 1 {
				return errors.New("--nodes, --pods, --clients and --watchers must be at least 1")
			}
			return s.listWatch(cmd.Context(), c)
		},
	}
	cmd.Flags().IntVar(&c.nodes, "nodes", 100, "simulated hosts")
	cmd.Flags().IntVar(&c.pods, "pods", 10_000, "pods in each round")
	cmd.Flags().IntVar(&c.clients, "clients", 32, "clients that create")
	cmd.Flags().IntVar(&c.watchers, "watchers", 100, "watches of all pods, each over a connection of its own")
	return cmd
}

func (s *setting) listWatch(ctx context.Context, c listWatchConfig) error {
	lag := &series{name: "POST sent → a watch says ADDED, over all watches"}
	behind := &series{name: "the first watch says it → another one says it"}
	page := &series{name: "list of 500 pods while loaded"}
	whole := &series{name: "list of all pods while loaded"}
	rates := &rates{}
	for range s.rounds {
		for _, one := range []*series{lag, behind, page, whole} {
			one.begin()
		}
		alone, err := s.listWatchRound(ctx, c, func(*trial, *filling) (func() error, error) { return func() error { return nil }, nil })
		if err != nil {
			return err
		}
		var w *watching
		watched, err := s.listWatchRound(ctx, c, func(t *trial, f *filling) (func() error, error) {
			var err error
			w, err = startWatching(ctx, t, c, page, whole)
			if err != nil {
				return nil, err
			}
			return w.wait, nil
		})
		if err != nil {
			return err
		}
		w.lags(watched.began, lag, behind)
		events := float64(w.events.Load())
		rates.add("pods/s without watches", float64(c.pods)/alone.took.Seconds())
		rates.add("pods/s with watches and lists", float64(c.pods)/watched.took.Seconds())
		rates.add("events delivered", events)
		rates.add("control plane, CPU µs per event delivered", (watched.cpu-alone.cpu).Seconds()*1e6/max(events, 1))
		rates.add("bytes per event", float64(w.bytes.Load())/max(events, 1))
		rates.add("MiB sent to watches", float64(w.bytes.Load())/(1<<20))
		rates.add("a list of all pods, MiB at most", float64(w.largest.Load())/(1<<20))
		rates.add("control plane, peak RSS in MiB", float64(watched.rss)/(1<<20))
	}
	with := map[string]string{
		"nodes": fmt.Sprint(c.nodes), "clients": fmt.Sprint(c.clients), "watchers": fmt.Sprint(c.watchers), "etcd": "embedded, fsync on",
		"encoding": "protobuf", "lists": "a page of 500 each 0.2 s, of all each 2 s",
	}
	return s.publish("list-watch", c.pods, with, rates, lag, behind, page, whole)
}

// loaded is what a load took.
type loaded struct {
	began     []time.Time
	took, cpu time.Duration
	rss       int64
}

// listWatchRound creates the pods while what beside starts goes on; it waits for what that answers.
func (s *setting) listWatchRound(ctx context.Context, c listWatchConfig, beside func(*trial, *filling) (func() error, error)) (_ *loaded, err error) {
	t, err := s.startTrial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	if err := t.join(ctx, c.nodes); err != nil {
		return nil, err
	}
	f, err := newFilling(ctx, t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	done, err := follow(ctx, watcherRaw, t.rest, metav1.NamespaceDefault, c.pods)
	if err != nil {
		return nil, err
	}
	defer done.stop()
	wait, err := beside(t, f)
	if err != nil {
		return nil, err
	}
	use, err := startUse(ctx, t)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	l := &loaded{}
	l.began, _, _, err = f.more(ctx, c.pods, c.clients)
	l.took = time.Since(start)
	if err != nil {
		return nil, errors.Join(err, wait())
	}
	_, err = done.wait(ctx)
	if err := errors.Join(err, wait()); err != nil {
		return nil, err
	}
	u, err := use.stop(ctx, t)
	if err != nil {
		return nil, err
	}
	l.cpu, l.rss = u.controlCPU, u.controlRSS
	return l, nil
}

// watching is many watches and the lists beside them.
type watching struct {
	added                  [][]time.Time // when each watch said that each pod was added
	events, bytes, largest atomic.Int64
	stop                   context.CancelFunc
	done                   chan error
}

func startWatching(ctx context.Context, t *trial, c listWatchConfig, page, whole *series) (*watching, error) {
	w := &watching{added: make([][]time.Time, c.watchers), done: make(chan error, 1)}
	list, err := t.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	w.stop = stop
	all := []func() error{
		func() error { return w.list(running, t, "?limit=500", 200*time.Millisecond, page) },
		func() error { return w.list(running, t, "", 2*time.Second, whole) },
	}
	for i := range w.added {
		w.added[i] = make([]time.Time, c.pods)
		all = append(all, func() error { return w.watch(ctx, t, list.ResourceVersion, w.added[i]) })
	}
	go func() { w.done <- gather(all...) }()
	return w, nil
}

// watch ends when it has seen every pod Running.
func (w *watching) watch(ctx context.Context, t *trial, version string, added []time.Time) error {
	calls, err := newCaller(t.rest, 1)
	if err != nil {
		return err
	}
	defer calls.client.CloseIdleConnections()
	left := make(map[int]bool, len(added))
	for i := range added {
		left[i] = true
	}
	n, err := calls.watchPods(ctx, version, func(ev podEvent) bool {
		w.events.Add(1)
		i, err := strconv.Atoi(string(ev.name[1:]))
		if err != nil || i >= len(added) {
			return true
		}
		if ev.kind == watch.Added {
			added[i] = ev.at
		}
		if string(ev.phase) == "Running" {
			delete(left, i)
		}
		return len(left) > 0
	})
	w.bytes.Add(n)
	return err
}

// list lists again and again until the watches have ended.
func (w *watching) list(ctx context.Context, t *trial, query string, every time.Duration, into *series) error {
	calls, err := newCaller(t.rest, 1)
	if err != nil {
		return err
	}
	defer calls.client.CloseIdleConnections()
	for pause(ctx, every) == nil {
		began := time.Now()
		body, err := calls.list(ctx, query)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		into.add(time.Since(began))
		w.largest.Store(max(w.largest.Load(), int64(len(body))))
	}
	return nil
}

// wait ends the lists and waits for the watches.
func (w *watching) wait() error {
	w.stop()
	return <-w.done
}

// lags compares when a pod was created with when each watch said so.
func (w *watching) lags(began []time.Time, lag, behind *series) {
	for i, sent := range began {
		var first time.Time
		for _, one := range w.added {
			if at := one[i]; !at.IsZero() && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
		for _, one := range w.added {
			if at := one[i]; !at.IsZero() {
				lag.add(at.Sub(sent))
				behind.add(at.Sub(first))
			}
		}
	}
}
