package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func restartCommand(s *setting) *cobra.Command {
	var nodes, pods int
	cmd := &cobra.Command{
		Use: "restart", Short: "The control plane is killed with many pods and started again: until it serves, and until all is as before",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if nodes < 1 || pods < 1 {
				return errors.New("--nodes and --pods must be at least 1")
			}
			return s.restart(cmd.Context(), nodes, pods)
		},
	}
	cmd.Flags().IntVar(&nodes, "nodes", 1000, "simulated hosts")
	cmd.Flags().IntVar(&pods, "pods", 100_000, "running pods")
	return cmd
}

// restarted is what one round found: times since the start of the new process.
type restarted struct {
	ready, created, listed, joined, running time.Duration
	listBytes                               int
	rssBefore, rssAfter                     int64
	found                                   findings
}

func (s *setting) restart(ctx context.Context, nodes, pods int) error {
	rates := &rates{}
	for range s.rounds {
		r, err := s.restartRound(ctx, nodes, pods)
		if err != nil {
			return err
		}
		rates.add("start → readyz says ok, s", r.ready.Seconds())
		rates.add("start → a create is answered 201, s", r.created.Seconds())
		rates.add("start → a list of all pods is complete, s", r.listed.Seconds())
		rates.add("start → all nodes are ready again, s", r.joined.Seconds())
		rates.add("start → all pods are shown Running again, s", r.running.Seconds())
		rates.add("the list, MiB", float64(r.listBytes)/(1<<20))
		rates.add("control plane before, RSS in MiB", float64(r.rssBefore)/(1<<20))
		rates.add("control plane afterwards, RSS in MiB", float64(r.rssAfter)/(1<<20))
		rates.add("lost or placed twice", float64(r.found.wrong()))
		if r.found.wrong() > 0 {
			fmt.Fprintln(os.Stderr, "perf restart:", r.found)
		}
	}
	with := map[string]string{"nodes": fmt.Sprint(nodes), "etcd": "embedded, fsync on", "signal": "SIGKILL"}
	return s.publish("restart", pods, with, rates)
}

func (s *setting) restartRound(ctx context.Context, nodes, pods int) (_ *restarted, err error) {
	t, err := s.startTrial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	if err := t.join(ctx, nodes); err != nil {
		return nil, err
	}
	f, err := newFilling(ctx, t)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.fill(ctx, t, pods); err != nil {
		return nil, err
	}
	r := &restarted{}
	if r.rssBefore, err = presentRSS(t.in.PID()); err != nil {
		return nil, err
	}
	if err := t.in.Signal(syscall.SIGKILL); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := gather(
		func() error { return t.in.Start(ctx) },
		func() error { return r.serve(ctx, t, f, began) },
	); err != nil {
		return nil, err
	}
	if err := gather(
		func() error { return r.list(ctx, t, began, pods) },
		func() error {
			err := awaitReady(ctx, t.client, nodes)
			r.joined = time.Since(began)
			return err
		},
	); err != nil {
		return nil, err
	}
	if err := t.settle(ctx, pods+1); err != nil {
		return nil, err
	}
	r.running = time.Since(began)
	if r.rssAfter, err = presentRSS(t.in.PID()); err != nil {
		return nil, err
	}
	r.found, _, err = t.check(ctx, answeredAs(f.made))
	return r, err
}

// pollEvery is how exactly the times of a restart are known.
const pollEvery = 5 * time.Millisecond

// serve notes when the API says that it is ready, and when a create is answered.
func (r *restarted) serve(ctx context.Context, t *trial, f *filling, began time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	calls, err := newCaller(t.rest, 1)
	if err != nil {
		return err
	}
	defer calls.client.CloseIdleConnections()
	for {
		a, err := calls.do(ctx, http.MethodGet, t.rest.Host+"/readyz", nil)
		if err == nil && a.code == http.StatusOK {
			break
		}
		if perr := pause(ctx, pollEvery); perr != nil {
			return fmt.Errorf("readyz: %w", errors.Join(perr, err))
		}
	}
	r.ready = time.Since(began)
	name := podName(len(f.made))
	_, a, err := calls.must(ctx, http.MethodPost, calls.pods, f.load.bodyOf(nil, name))
	if err != nil {
		return err
	}
	r.created = time.Since(began)
	p, err := readAnswer(mediaProtobuf, a.body)
	f.made = append(f.made, created{uid: string(p.uid), node: string(p.node)})
	return err
}

// list notes when all pods were listed.
func (r *restarted) list(ctx context.Context, t *trial, began time.Time, pods int) error {
	calls, err := newCaller(t.rest, 1)
	if err != nil {
		return err
	}
	defer calls.client.CloseIdleConnections()
	body, err := calls.list(ctx, "")
	if err != nil {
		return err
	}
	r.listed, r.listBytes = time.Since(began), len(body)
	n := 0
	phases := map[string]int{}
	if err := eachListed(body, func(p seenPod) { n++; phases[string(p.phase)]++ }); err != nil {
		return err
	}
	if n != pods+1 {
		return fmt.Errorf("the list has %d pods, want %d: %v", n, pods+1, phases)
	}
	return nil
}
