package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// killConfig is the setting of the kill scenario.
type killConfig struct {
	nodes, pods, clients, kills int
	seed                        uint64
}

func killCommand(s *setting) *cobra.Command {
	c := killConfig{seed: uint64(time.Now().UnixNano())}
	cmd := &cobra.Command{
		Use: "kill", Short: "The control plane is killed several times in the middle of a burst of creates, and nothing answered is lost",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.nodes < 1 || c.pods < 1 || c.clients < 1 || c.kills < 0 {
				return errors.New("--nodes, --pods and --clients must be at least 1, --kills not less than 0")
			}
			return s.kill(cmd.Context(), c)
		},
	}
	cmd.Flags().IntVar(&c.nodes, "nodes", 100, "simulated hosts")
	cmd.Flags().IntVar(&c.pods, "pods", 20_000, "pods in each round")
	cmd.Flags().IntVar(&c.clients, "clients", 256, "clients that create")
	cmd.Flags().IntVar(&c.kills, "kills", 3, "how often the control plane is killed in a round")
	cmd.Flags().Uint64Var(&c.seed, "seed", c.seed, "of the moments at which it is killed; default: the time")
	return cmd
}

func (s *setting) kill(ctx context.Context, c killConfig) error {
	rates := &rates{}
	down := &series{name: "killed → serving again"}
	for round := range s.rounds {
		c := c
		c.seed += uint64(round)
		r, err := s.killRound(ctx, c)
		if err != nil {
			return fmt.Errorf("seed %d: %w", c.seed, err)
		}
		down.rounds = append(down.rounds, r.down)
		rates.add("answered 201", float64(r.created))
		rates.add("answer lost, then 409: it was there", float64(r.there))
		rates.add("requests without an answer", float64(r.broken))
		rates.add("refused with 429", float64(r.refused))
		rates.add("lost or placed twice", float64(r.found.wrong()))
		if r.found.wrong() > 0 {
			fmt.Fprintln(os.Stderr, "perf kill:", r.found)
		}
	}
	with := map[string]string{
		"nodes": fmt.Sprint(c.nodes), "clients": fmt.Sprint(c.clients), "kills": fmt.Sprint(c.kills), "seed": fmt.Sprint(c.seed),
		"etcd": "embedded, fsync on", "signal": "SIGKILL, in the middle of the burst",
	}
	return s.publish("kill", c.pods, with, rates, down)
}

// killed is what a round with kills found.
type killed struct {
	created, there, broken, refused int64
	down                            []time.Duration
	found                           findings
}

func (s *setting) killRound(ctx context.Context, c killConfig) (_ *killed, err error) {
	t, err := s.startTrial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	if err := t.join(ctx, c.nodes); err != nil {
		return nil, err
	}
	load, err := newLoader(ctx, t.rest, metav1.NamespaceDefault, mediaProtobuf, protocolH1, pod("", "100m", "64Mi"), 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, load.close()) }()
	b := &burst{load: load, up: newGate(), made: make([]created, c.pods)}
	down, err := b.runKilled(ctx, t, c)
	if err != nil {
		return nil, err
	}
	if err := t.settle(ctx, c.pods); err != nil {
		fmt.Fprintln(os.Stderr, "perf kill:", err) // the check tells which
	}
	r := &killed{created: b.created.Load(), there: b.there.Load(), broken: b.broken.Load(), refused: b.refused.Load(), down: down}
	r.found, _, err = t.check(ctx, answeredAs(b.made))
	return r, err
}

// burst creates pods through kills: what wasn't answered is sent again.
type burst struct {
	load *loader
	up   *gate
	made []created // as answered with 201; empty: the answer was lost

	created, there, broken, refused atomic.Int64
}

// runKilled creates all pods and kills the control plane meanwhile, each time when so many were answered.
func (b *burst) runKilled(ctx context.Context, t *trial, c killConfig) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reached := b.moments(c)
	var down []time.Duration
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, one := range reached {
			select {
			case <-one.reached:
			case <-ctx.Done():
				return
			}
			began := time.Now()
			b.up.shut()
			if err := errors.Join(t.in.Signal(syscall.SIGKILL), t.in.Start(ctx)); err != nil {
				cancel(err)
				return
			}
			down = append(down, time.Since(began))
			b.up.open()
		}
	})
	_, _, err := closedLoop(ctx, len(b.made), c.clients, func(ctx context.Context, i int) error {
		if err := b.create(ctx, i); err != nil {
			return err
		}
		n := int(b.created.Load() + b.there.Load())
		for _, one := range reached {
			one.tell(n)
		}
		return nil
	})
	if err != nil {
		cancel(err)
	}
	wg.Wait()
	return down, context.Cause(ctx)
}

// moment is closed when so many pods have been answered.
type moment struct {
	at      int
	reached chan struct{}
	once    sync.Once
}

func (m *moment) tell(n int) {
	if n >= m.at {
		m.once.Do(func() { close(m.reached) })
	}
}

// moments answers when to kill: anywhere in the middle 80 % of the burst.
func (b *burst) moments(c killConfig) []*moment {
	random := rand.New(rand.NewPCG(c.seed, 0))
	at := make([]int, c.kills)
	for i := range at {
		at[i] = c.pods/10 + random.IntN(c.pods*8/10+1)
	}
	slices.Sort(at)
	out := make([]*moment, c.kills)
	for i := range out {
		out[i] = &moment{at: at[i], reached: make(chan struct{})}
	}
	return out
}

// create goes on until a pod is known to be there: it was answered 201, or an answer was lost and it is told
// to exist. That it exists without a lost answer is an error: somebody else created it.
func (b *burst) create(ctx context.Context, i int) error {
	name := podName(i)
	body := b.load.bodyOf(nil, name)
	lost := false
	for {
		if err := b.up.wait(ctx); err != nil {
			return err
		}
		code := 0
		err := b.load.poster.post(ctx, body, func(status int, answer []byte) error {
			code = status
			switch {
			case status == http.StatusCreated:
				p, err := readAnswer(mediaProtobuf, answer)
				b.made[i] = created{uid: string(p.uid), node: string(p.node)}
				return err
			case status == http.StatusConflict && lost, status == http.StatusTooManyRequests, status >= 500:
				return nil
			}
			return fmt.Errorf("pod %s: %d: %.300q: %w", name, status, answer, errUnexpected)
		})
		wait := 20 * time.Millisecond
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errUnexpected):
			return err
		case err != nil, code >= 500: // killed, or about to be
			lost = true
			b.broken.Add(1)
		case code == http.StatusCreated:
			b.created.Add(1)
			return nil
		case code == http.StatusConflict:
			b.there.Add(1)
			return nil
		default:
			b.refused.Add(1)
			wait = b.load.refusedFor
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

var errUnexpected = errors.New("an answer that no create has to get")

// gate lets through while it is open.
type gate struct {
	mu     sync.Mutex // guards opened
	opened chan struct{}
}

func newGate() *gate {
	g := &gate{opened: make(chan struct{})}
	close(g.opened)
	return g
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = make(chan struct{})
}

// open is called once after each shut.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.opened)
}

func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	select {
	case <-opened:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settledWithin bounds the wait for hosts that come back and start what they missed.
const settledWithin = 2 * time.Minute

// settle returns when the hosts say to run n pods, and the API says so too.
func (t *trial) settle(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, settledWithin)
	defer cancel()
	for {
		running := len(t.fleet.running())
		if running == n {
			break
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("the hosts run %d of %d pods: %w", running, n, err)
		}
	}
	for {
		shown, err := t.phases(ctx)
		if err != nil {
			return err
		}
		if shown[corev1.PodRunning] == n {
			return nil
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return fmt.Errorf("the API shows %v of %d pods: %w", shown, n, err)
		}
	}
}
