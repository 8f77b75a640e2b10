package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

type churnConfig struct {
	nodes, live int
	rate        float64
	duration    time.Duration
}

func (c churnConfig) pods() int { return int(c.rate * c.duration.Seconds()) }

func churnCommand(s *setting) *cobra.Command {
	var c churnConfig
	cmd := &cobra.Command{
		Use: "churn", Short: "Create and delete at a rate for minutes: latencies, growth of memory and of etcd, and nothing left at the end",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.nodes < 1 || c.live < 1 || c.rate <= 0 || c.pods() <= c.live {
				return errors.New("--nodes, --live and --rate must be more than 0, and --rate times --duration more than --live")
			}
			return s.churn(cmd.Context(), c)
		},
	}
	cmd.Flags().IntVar(&c.nodes, "nodes", 100, "simulated hosts")
	cmd.Flags().Float64Var(&c.rate, "rate", 300, "pods created, and as many deleted, a second")
	cmd.Flags().IntVar(&c.live, "live", 5000, "pods that stand meanwhile")
	cmd.Flags().DurationVar(&c.duration, "duration", 3*time.Minute, "of each round")
	return cmd
}

func (s *setting) churn(ctx context.Context, c churnConfig) error {
	created := &series{name: "POST due → 201"}
	deleted := &series{name: "DELETE due → answered"}
	gone := &series{name: "DELETE due → a watch says DELETED"}
	rates := &rates{}
	var curves []curve
	for range s.rounds {
		for _, one := range []*series{created, deleted, gone} {
			one.begin()
		}
		grown, err := s.churnRound(ctx, c, rates, created, deleted, gone)
		if err != nil {
			return err
		}
		curves = grown // the last round's
	}
	with := map[string]string{
		"nodes": fmt.Sprint(c.nodes), "rate": fmt.Sprintf("open loop, %g created and %g deleted a second", c.rate, c.rate), "live": fmt.Sprint(c.live),
		"duration": c.duration.String(), "etcd": "embedded, fsync on, compacted to the last 5 min",
	}
	return s.publishWith("churn", c.pods(), with, rates, curves, created, deleted, gone)
}

// churning is one round under way.
type churning struct {
	calls   *caller
	load    *filling
	made    []chan struct{} // closed when the pod was answered 201
	events  atomic.Int64
	mu      sync.Mutex // guards what follows
	goneAt  []time.Time
	left    int
	allGone chan struct{}
}

func (s *setting) churnRound(ctx context.Context, c churnConfig, rates *rates, created, deleted, gone *series) (_ []curve, err error) {
	t, err := s.startTrial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	if err := t.join(ctx, c.nodes); err != nil {
		return nil, err
	}
	n := c.pods()
	h := &churning{made: make([]chan struct{}, n), goneAt: make([]time.Time, n), left: n, allGone: make(chan struct{})}
	for i := range h.made {
		h.made[i] = make(chan struct{})
	}
	if h.load, err = newFilling(ctx, t); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.load.close()) }()
	if h.calls, err = newCaller(t.rest, 4); err != nil {
		return nil, err
	}
	defer h.calls.client.CloseIdleConnections()
	list, err := t.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	watched := make(chan error, 1)
	go func() { watched <- h.follow(ctx, list.ResourceVersion) }()
	use, err := startUse(ctx, t)
	if err != nil {
		return nil, err
	}
	g := startGrowth(ctx, t)
	deletes, err := h.run(ctx, c, created, deleted)
	if err != nil {
		return nil, errors.Join(err, g.stop())
	}
	if err := h.await(ctx, watched); err != nil {
		return nil, errors.Join(err, g.stop())
	}
	if err := g.stop(); err != nil {
		return nil, err
	}
	for i, due := range deletes {
		gone.add(h.goneAt[i].Sub(due))
	}
	u, err := use.stop(ctx, t)
	if err != nil {
		return nil, err
	}
	left, onHosts, err := h.remains(ctx, t)
	if err != nil {
		return nil, err
	}
	rates.add("control plane, CPU µs per pod created and deleted", u.controlCPU.Seconds()*1e6/float64(n))
	rates.add("watch events per pod", float64(h.events.Load())/float64(n))
	rates.add("changes per etcd transaction", u.mutations/max(u.transactions, 1))
	rates.add("control plane, peak RSS in MiB", float64(u.controlRSS)/(1<<20))
	rates.add("control plane, growth of RSS in the second half, MiB a minute", g.slope())
	rates.add("etcd's database at most, MiB", g.most())
	rates.add("pods left in etcd", float64(left))
	rates.add("pods left on hosts", float64(onHosts))
	return g.curves(), nil
}

// run creates at the rate, and deletes each pod when so many newer ones stand; at the end all that are left.
// It answers when each delete was due.
func (h *churning) run(ctx context.Context, c churnConfig, created, deleted *series) (due []time.Time, err error) {
	const workers = 256
	n := len(h.made)
	start := time.Now()
	due = make([]time.Time, n)
	for i := range due {
		due[i] = start.Add(time.Duration(float64(min(i+c.live, n)) / c.rate * float64(time.Second)))
	}
	var took, took2 []time.Duration
	err = gather(
		func() (err error) {
			_, took, err = openLoop(ctx, n, c.rate, workers, func(ctx context.Context, i int) error {
				name := podName(i)
				_, _, _, err := h.load.load.post(ctx, name, h.load.load.bodyOf(nil, name))
				close(h.made[i])
				return err
			})
			return err
		},
		func() (err error) {
			took2 = make([]time.Duration, n)
			_, _, err = closedLoop(ctx, n, workers, func(ctx context.Context, i int) error {
				if err := waitUntil(ctx, due[i]); err != nil {
					return err
				}
				select {
				case <-h.made[i]:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
				_, _, err := h.calls.must(ctx, http.MethodDelete, h.calls.pods+"/"+podName(i), nil)
				took2[i] = time.Since(due[i])
				return err
			})
			return err
		},
	)
	if err != nil {
		return nil, err
	}
	for i := range n {
		created.add(took[i])
		deleted.add(took2[i])
	}
	return due, nil
}

// follow counts events and notes when pods are gone.
func (h *churning) follow(ctx context.Context, version string) error {
	_, err := h.calls.watchPods(ctx, version, func(ev podEvent) bool {
		h.events.Add(1)
		if ev.kind != watch.Deleted {
			return true
		}
		var i int
		if _, err := fmt.Sscanf(string(ev.name), "p%d", &i); err != nil || i >= len(h.goneAt) {
			return true
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.goneAt[i].IsZero() {
			h.goneAt[i] = ev.at
			h.left--
		}
		if h.left == 0 {
			close(h.allGone)
		}
		return h.left > 0
	})
	return err
}

// await returns when the watch has said of all pods that they are gone.
func (h *churning) await(ctx context.Context, watched <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, settledWithin)
	defer cancel()
	select {
	case <-h.allGone:
		return <-watched
	case err := <-watched:
		if err != nil {
			return err
		}
		<-h.allGone
		return nil
	case <-ctx.Done():
		h.mu.Lock()
		defer h.mu.Unlock()
		return fmt.Errorf("%d pods aren't gone: %w", h.left, context.Cause(ctx))
	}
}

// remains counts what is left on hosts and, with the control plane ended, in etcd.
func (h *churning) remains(ctx context.Context, t *trial) (inEtcd, onHosts int, err error) {
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		onHosts = 0
		for _, n := range t.fleet.nodes {
			onHosts += len(n.nodelet.Reports())
		}
		if onHosts == 0 || pause(wait, 200*time.Millisecond) != nil {
			break
		}
	}
	if err := t.end(); err != nil {
		return 0, 0, err
	}
	stored, err := storedPods(ctx, t.data())
	if len(stored)+onHosts > 0 {
		fmt.Fprintf(os.Stderr, "perf churn: %d pods are left in etcd, %d on hosts\n", len(stored), onHosts)
	}
	return len(stored), onHosts, err
}
