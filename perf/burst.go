package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
)

func burstCommand(s *setting) *cobra.Command {
	var nodes, pods int
	cmd := &cobra.Command{
		Use: "burst", Short: "More creates at once than the store takes: some are refused with 429, and none that was answered 201 is lost",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if nodes < 1 || pods < 1 {
				return errors.New("--nodes and --pods must be at least 1")
			}
			return s.burst(cmd.Context(), nodes, pods)
		},
	}
	cmd.Flags().IntVar(&nodes, "nodes", 100, "simulated hosts")
	cmd.Flags().IntVar(&pods, "pods", 30_000, "creates, all under way at once")
	return cmd
}

// refusal counts what came back from the first time that each create was sent.
type refusal struct {
	at201, at429, bare, broken, other atomic.Int64 // bare: a 429 without Retry-After; broken: no answer
}

func (s *setting) burst(ctx context.Context, nodes, pods int) error {
	answered, refused := &series{name: "POST → 201 at the first time"}, &series{name: "POST → 429"}
	rates := &rates{}
	for range s.rounds {
		answered.begin()
		refused.begin()
		if err := s.burstRound(ctx, nodes, pods, rates, answered, refused); err != nil {
			return err
		}
	}
	with := map[string]string{"nodes": fmt.Sprint(nodes), "etcd": "embedded, fsync on", "pods": "all at once, one in a request; those refused are sent again after Retry-After"}
	return s.publish("burst", pods, with, rates, answered, refused)
}

func (s *setting) burstRound(ctx context.Context, nodes, pods int, rates *rates, answered, refused *series) (err error) {
	t, err := s.startTrial(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	if err := t.join(ctx, nodes); err != nil {
		return err
	}
	calls, err := newCaller(t.rest, pods/200+1) // a server takes 250 streams on a connection
	if err != nil {
		return err
	}
	defer calls.client.CloseIdleConnections()
	if err := calls.warm(ctx, t.rest.Host+"/readyz"); err != nil {
		return err
	}
	bodies, err := encodePods(pods)
	if err != nil {
		return err
	}
	use, err := startUse(ctx, t)
	if err != nil {
		return err
	}
	var r refusal
	made, code, took := make([]created, pods), make([]int, pods), make([]time.Duration, pods)
	began, whole, err := closedLoop(ctx, pods, pods, func(ctx context.Context, i int) error {
		sent, lost := time.Now(), false
		for {
			a, err := calls.do(ctx, http.MethodPost, calls.pods, bodies[i])
			if err != nil && ctx.Err() == nil { // a connection broke; whether it was created will be told
				lost = true
				r.broken.Add(1)
				continue
			}
			if err != nil {
				return err
			}
			if code[i] == 0 {
				code[i], took[i] = a.code, time.Since(sent)
				r.count(a)
			}
			switch a.code {
			case http.StatusCreated:
				p, err := readAnswer(mediaProtobuf, a.body)
				made[i] = created{uid: string(p.uid), node: string(p.node)}
				return err
			case http.StatusTooManyRequests:
				if err := pause(ctx, max(a.retryAfter, 100*time.Millisecond)); err != nil {
					return err
				}
			default:
				if a.code == http.StatusConflict && lost {
					return nil
				}
				return fmt.Errorf("pod %s: %d: %.300q", podName(i), a.code, a.body)
			}
		}
	})
	if err != nil {
		return err
	}
	first, last := began[0], began[0]
	for i, at := range began {
		if at.Before(first) {
			first = at
		}
		if end := at.Add(whole[i]); end.After(last) {
			last = end
		}
		switch code[i] {
		case http.StatusCreated:
			answered.add(took[i])
		case http.StatusTooManyRequests:
			refused.add(took[i])
		}
	}
	u, err := use.stop(ctx, t)
	if err != nil {
		return err
	}
	if err := t.settle(ctx, pods); err != nil {
		return err
	}
	found, _, err := t.check(ctx, answeredAs(made))
	if err != nil {
		return err
	}
	if found.wrong() > 0 {
		fmt.Fprintln(os.Stderr, "perf burst:", found)
	}
	rates.add("answered 201 at the first time", float64(r.at201.Load()))
	rates.add("refused with 429 and Retry-After at the first time", float64(r.at429.Load()))
	rates.add("refused with 429 without Retry-After", float64(r.bare.Load()))
	rates.add("without an answer: a connection broke", float64(r.broken.Load()))
	rates.add("answered otherwise", float64(r.other.Load()))
	rates.add("refused by the store, with those sent again", u.refused)
	rates.add("until all were answered 201, s", last.Sub(first).Seconds())
	rates.add("control plane, peak RSS in MiB", float64(u.controlRSS)/(1<<20))
	rates.add("lost or placed twice", float64(found.wrong()))
	return nil
}

func (r *refusal) count(a answer) {
	switch {
	case a.code == http.StatusCreated:
		r.at201.Add(1)
	case a.code == http.StatusTooManyRequests && a.retryAfter > 0:
		r.at429.Add(1)
	case a.code == http.StatusTooManyRequests:
		r.bare.Add(1)
	default:
		r.other.Add(1)
	}
}
