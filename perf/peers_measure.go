package main

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// peer is one of the systems that are measured side by side, fresh and without pods.
type peer struct {
	rest    *rest.Config
	client  kubernetes.Interface
	servers []int // process ids of what serves
	marked  bool  // nobody runs its pods: a marker has to

	metrics func(ctx context.Context) (metrics, error) // those of its etcd among them

	// check counts the pods that were answered and aren't stored once, on one node, Running, and those that
	// nobody was answered of. It is called last: the system needs not run afterwards.
	check func(ctx context.Context, made []created) (wrong int, err error)
	close func() error
}

// peerLoad is what both systems get.
type peerLoad struct {
	pods, clients, connections int
	media, protocol            string
}

// peerRound is what one round found on one system.
type peerRound struct {
	answered, bound, running          []time.Duration
	allAnswered, allBound, allRunning time.Duration
	serverCPU, loadCPU                time.Duration
	serverRSS                         int64
	proposals, fsyncs                 float64 // of etcd
	refused                           int64
	wrong                             int
}

// How often an etcd has agreed on a write, of one key or of many, and made its log durable.
const (
	metricProposals = "etcd_server_proposals_applied_total"
	metricFsyncs    = "etcd_disk_wal_fsync_duration_seconds_count"
)

// noProgress ends the wait for pods that don't become Running.
const noProgress = time.Minute

// measure creates pods and follows each to Running. The same code measures both systems; what differs is who
// makes pods Running.
func (p *peer) measure(ctx context.Context, l peerLoad) (*peerRound, error) {
	r, made, err := p.run(ctx, l)
	if err != nil {
		return nil, err
	}
	wrong, err := p.check(ctx, made)
	r.wrong = max(r.wrong, wrong) // mostly the same pods
	return r, err
}

func (p *peer) run(ctx context.Context, l peerLoad) (r *peerRound, made []created, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	load, err := newLoader(ctx, p.rest, metav1.NamespaceDefault, l.media, l.protocol, pod("", "100m", "64Mi"), l.connections)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, load.close()) }()
	t := newTracker(l.pods)
	if p.marked {
		load.unplaced = true
		m, err := newMarker(p.rest, metav1.NamespaceDefault)
		if err != nil {
			return nil, nil, err
		}
		m.start(ctx, cancel, l.pods, l.clients)
		defer m.stop()
		t.mark = m.mark
	}
	unfollow, err := p.follow(ctx, cancel, t)
	if err != nil {
		return nil, nil, err
	}
	defer unfollow()
	defer func() { // what ended it all, rather than what that caused
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
	}()
	runtime.GC() // of the last round
	etcdBefore, err := p.metrics(ctx)
	if err != nil {
		return nil, nil, err
	}
	before, err := cpuOfAll(p.servers)
	if err != nil {
		return nil, nil, err
	}
	ownBefore := ownCPU()
	began := make([]time.Time, l.pods)
	r = &peerRound{}
	start := time.Now()
	if r.answered, made, r.refused, err = load.run(ctx, l.pods, l.clients, began); err != nil {
		return nil, nil, err
	}
	r.allAnswered = time.Since(start)
	if err := t.wait(ctx); err != nil {
		return nil, nil, err
	}
	r.loadCPU = ownCPU() - ownBefore
	after, err := cpuOfAll(p.servers)
	if err != nil {
		return nil, nil, err
	}
	r.serverCPU = after - before
	etcdAfter, err := p.metrics(ctx)
	if err != nil {
		return nil, nil, err
	}
	if etcdAfter[metricProposals] == 0 || etcdAfter[metricFsyncs] == 0 {
		return nil, nil, errors.New("etcd doesn't tell its transactions and fsyncs")
	}
	r.proposals, r.fsyncs = etcdAfter.since(etcdBefore, metricProposals), etcdAfter.since(etcdBefore, metricFsyncs)
	for _, pid := range p.servers {
		rss, err := peakRSS(pid)
		if err != nil {
			return nil, nil, err
		}
		r.serverRSS += rss
	}
	t.result(r, start, began)
	return r, made, nil
}

// follow hands the watch's events to t, until what it answers is called.
func (p *peer) follow(ctx context.Context, cancel context.CancelCauseFunc, t *tracker) (stop func(), err error) {
	list, err := p.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	events, err := rawStream(p.rest, metav1.NamespaceDefault)
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		version := list.ResourceVersion
		for ctx.Err() == nil {
			var err error
			if version, err = events(ctx, version, t.note); err != nil {
				cancel(err)
			}
		}
	}()
	return func() {
		cancel(nil)
		<-done
	}, nil
}

func cpuOfAll(pids []int) (total time.Duration, err error) {
	for _, pid := range pids {
		one, err := cpuOf(pid)
		if err != nil {
			return 0, err
		}
		total += one
	}
	return total, nil
}

// tracker notes when a watch first says of each pod that it is bound, and that it is Running.
type tracker struct {
	mark func(boundPod) // called once for each pod that is bound; nil: nobody needs it
	all  chan struct{}  // closed when as many are Running as are expected

	number map[string]int // of each pod that is expected

	mu             sync.Mutex // guards what follows
	bound, running []time.Time
	node           []string
	left           int // that aren't Running yet
	wrong          int // seen on a second node, or created by nobody
	last           time.Time
}

func newTracker(n int) *tracker {
	t := &tracker{
		all: make(chan struct{}), number: make(map[string]int, n),
		bound: make([]time.Time, n), running: make([]time.Time, n), node: make([]string, n), left: n,
	}
	for i := range n {
		t.number[podName(i)] = i
	}
	return t
}

// note is called for every event of a pod.
func (t *tracker) note(p seenPod) {
	if len(p.node) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ours := t.number[string(p.name)]
	if !ours {
		t.wrong++
		return
	}
	now := time.Now()
	if t.bound[i].IsZero() {
		t.bound[i], t.node[i] = now, string(p.node)
		if t.mark != nil {
			t.mark(boundPod{name: string(p.name), uid: string(p.uid)})
		}
	}
	if t.node[i] != string(p.node) {
		t.wrong++
	}
	if string(p.phase) == string(corev1.PodRunning) && t.running[i].IsZero() {
		t.running[i], t.last = now, now
		if t.left--; t.left == 0 {
			close(t.all)
		}
	}
}

// wait returns when all are Running, or when no more become so.
func (t *tracker) wait(ctx context.Context) error {
	answered := time.Now()
	check := time.NewTicker(time.Second)
	defer check.Stop()
	for {
		select {
		case <-t.all:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-check.C:
			t.mu.Lock()
			last := t.last
			t.mu.Unlock()
			if time.Since(last) > noProgress && time.Since(answered) > noProgress {
				return nil // what is missing counts as lost
			}
		}
	}
}

// result fills in what the watch told.
func (t *tracker) result(r *peerRound, start time.Time, began []time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := func(at []time.Time) (each []time.Duration, all time.Duration) {
		for i := range at {
			if !at[i].IsZero() {
				each = append(each, at[i].Sub(began[i]))
				all = max(all, at[i].Sub(start))
			}
		}
		return each, all
	}
	r.bound, r.allBound = since(t.bound)
	r.running, r.allRunning = since(t.running)
	r.wrong = t.left + t.wrong
}
