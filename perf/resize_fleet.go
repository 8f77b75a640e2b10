package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// fleetResize is the setting of resizes on a fleet of simulated hosts.
type fleetResize struct {
	nodes, pods, clients, resizes int
	encoding, media, profiles     string
}

func (c *fleetResize) validate() error {
	var ok bool
	if c.media, ok = map[string]string{"protobuf": mediaProtobuf, "json": mediaJSON}[c.encoding]; !ok {
		return fmt.Errorf("--encoding %q: want protobuf or json", c.encoding)
	}
	if c.nodes < 1 || c.clients < 1 || c.resizes < 1 || c.pods < c.clients {
		return errors.New("--nodes, --clients and --resizes must be at least 1, --pods at least --clients")
	}
	if most := c.nodes * hostCPU * 1000 / int(fleetSizes[1].milli); c.pods > most {
		return fmt.Errorf("--pods %d: %d hosts hold at most %d of the larger size", c.pods, c.nodes, most)
	}
	return roomFor(c.nodes)
}

// Sizes that a pod has in turn.
var fleetSizes = [2]struct {
	milli  int64
	memory string
}{{100, "64Mi"}, {200, "128Mi"}}

// resizeFleet runs the rounds: clients in a closed loop, each of whose requests is one PATCH over TLS. A pod is
// resized again once a watch has shown the last size in its status, so every resize counts to the end.
func (s *setting) resizeFleet(ctx context.Context, c fleetResize) error {
	answered := &series{name: "PATCH → 200, durable and admitted"}
	inStatus := &series{name: "PATCH → a watch shows it in the status"}
	rates := &rates{}
	for range s.rounds {
		r, err := s.resizeFleetRound(ctx, c)
		if err != nil {
			return err
		}
		answered.rounds, inStatus.rounds = append(answered.rounds, r.answered), append(inStatus.rounds, r.actuated)
		n := float64(c.resizes)
		rates.add("resizes/s to 200", n/r.allAnswered.Seconds())
		rates.add("resizes/s to the status", n/r.allActuated.Seconds())
		rates.add("control plane, CPU µs per resize", r.use.controlCPU.Seconds()*1e6/n)
		rates.add("load, fleet and watch, CPU µs per resize", r.use.ownCPU.Seconds()*1e6/n)
		rates.add("resizes per etcd transaction", n/max(r.use.transactions, 1))
		rates.add("not as asked for at the end", float64(r.wrong))
	}
	return s.publish("resize-fleet", c.resizes, map[string]string{
		"nodes": fmt.Sprint(c.nodes), "pods": fmt.Sprint(c.pods), "clients": fmt.Sprint(c.clients), "protocol": protocolH1, "answers": c.encoding,
		"bodies": "strategic merge patches", "sizes": "100m 64Mi and 200m 128Mi in turn", "etcd": "embedded, fsync on", "hosts": "simulated, their disks in memory", "placement": "spread over the hosts",
	}, rates, answered, inStatus)
}

type fleetResized struct {
	answered, actuated       []time.Duration
	allAnswered, allActuated time.Duration
	use                      *use
	wrong                    int // pods
}

func (s *setting) resizeFleetRound(ctx context.Context, c fleetResize) (_ *fleetResized, err error) {
	t, err := s.startTrial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	if err := t.join(ctx, c.nodes); err != nil {
		return nil, err
	}
	if err := fillFleet(ctx, t, c.pods); err != nil {
		return nil, err
	}
	l, err := newResizeLoad(t.rest, c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.poster.close()) }()
	list, err := t.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	profiled, err := startProfiles(ctx, t.client, c.profiles)
	if err != nil {
		return nil, err
	}
	u, err := startUse(ctx, t)
	if err != nil {
		return nil, err
	}
	r, err := l.run(ctx, list.ResourceVersion)
	if err = errors.Join(err, profiled()); err != nil {
		return nil, err
	}
	if r.use, err = u.stop(ctx, t); err != nil {
		return nil, err
	}
	r.wrong, err = l.wrong(ctx, t)
	return r, err
}

// fillFleet creates the pods, as many on each host, and returns when all run.
func fillFleet(ctx context.Context, t *trial, pods int) (err error) {
	template := pod("", "100m", "64Mi")
	template.Labels = map[string]string{"app": "resized"}
	template.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: &metav1.LabelSelector{MatchLabels: template.Labels},
	}}
	load, err := newLoader(ctx, t.rest, metav1.NamespaceDefault, mediaProtobuf, protocolH1, template, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, load.close()) }()
	w, err := follow(ctx, watcherRaw, t.rest, metav1.NamespaceDefault, pods)
	if err != nil {
		return err
	}
	defer w.stop()
	if _, _, _, err := load.run(ctx, pods, 64, make([]time.Time, pods)); err != nil {
		return err
	}
	seen, err := w.wait(ctx)
	if err == nil && len(seen) < pods {
		err = fmt.Errorf("%d of %d pods run", len(seen), pods)
	}
	return err
}

// resizeLoad resizes pods and follows what becomes of it.
type resizeLoad struct {
	fleetResize
	poster  *http1
	caller  *caller
	heads   []string // of each pod's request
	bodies  [2][]byte
	free    chan int // pods whose last resize was seen through
	through chan struct{}

	mu       sync.Mutex // guards what follows
	size     []int      // of each pod: which of the sizes it was asked to have
	began    []time.Time
	open     []bool // its resize isn't seen through
	actuated []time.Duration
}

func newResizeLoad(cfg *rest.Config, c fleetResize) (*resizeLoad, error) {
	tlsConfig, host, err := endpoint(cfg)
	if err != nil {
		return nil, err
	}
	l := &resizeLoad{
		fleetResize: c, poster: newHTTP1(tlsConfig, host, ""), free: make(chan int, c.pods), through: make(chan struct{}),
		size: make([]int, c.pods), began: make([]time.Time, c.pods), open: make([]bool, c.pods),
	}
	if l.caller, err = newCaller(cfg, 1); err != nil {
		return nil, err
	}
	auth := ""
	if cfg.BearerToken != "" {
		auth = "Authorization: Bearer " + cfg.BearerToken + "\r\n"
	}
	for i := range c.pods {
		path := "/api/v1/namespaces/" + url.PathEscape(metav1.NamespaceDefault) + "/pods/" + podName(i) + "/resize"
		l.heads = append(l.heads, "PATCH "+path+" HTTP/1.1\r\nHost: "+host+"\r\nContent-Type: "+string(types.StrategicMergePatchType)+"\r\nAccept: "+c.media+"\r\n"+auth+"Content-Length: ")
		l.free <- i
	}
	for i, s := range fleetSizes {
		l.bodies[i] = fmt.Appendf(nil, `{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"%dm","memory":%q},"limits":{"cpu":"%dm","memory":%q}}}]}}`, s.milli, s.memory, s.milli, s.memory)
	}
	return l, nil
}

func (l *resizeLoad) run(ctx context.Context, version string) (*fleetResized, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watched sync.WaitGroup
	watched.Go(func() {
		if _, err := l.caller.watchPods(ctx, version, l.saw); err != nil {
			cancel(err)
		}
	})
	r := &fleetResized{answered: make([]time.Duration, l.resizes)}
	var next atomic.Int64
	var clients sync.WaitGroup
	start := time.Now()
	for range l.clients {
		clients.Go(func() {
			for k := int(next.Add(1)) - 1; k < l.resizes; k = int(next.Add(1)) - 1 {
				took, err := l.one(ctx)
				if err != nil {
					cancel(err)
					return
				}
				r.answered[k] = took
			}
		})
	}
	clients.Wait()
	r.allAnswered = time.Since(start)
	select {
	case <-l.through:
	case <-ctx.Done():
	case <-time.After(2 * time.Minute):
		cancel(fmt.Errorf("%d of %d resizes were seen in a status", l.seen(), l.resizes))
	}
	r.allActuated = time.Since(start)
	err := context.Cause(ctx)
	cancel(nil)
	watched.Wait()
	r.actuated = l.actuated
	return r, err
}

// one resizes the pod that waits longest for it.
func (l *resizeLoad) one(ctx context.Context) (time.Duration, error) {
	var i int
	select {
	case i = <-l.free:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	began := time.Now()
	l.mu.Lock()
	l.size[i] = 1 - l.size[i]
	body := l.bodies[l.size[i]]
	l.began[i], l.open[i] = began, true
	l.mu.Unlock()
	err := l.poster.send(ctx, l.heads[i], body, func(status int, answer []byte) error {
		if status != http.StatusOK {
			return fmt.Errorf("resize of %s: status %d: %.300s", podName(i), status, answer)
		}
		return nil
	})
	return time.Since(began), err
}

// saw takes an event of the watch; it answers false once all resizes are seen through.
func (l *resizeLoad) saw(ev podEvent) bool {
	i, err := strconv.Atoi(string(ev.name[1:]))
	if err != nil || i >= l.pods {
		return true
	}
	cpu := actualCPU(ev.status)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open[i] || cpu != fmt.Sprintf("%dm", fleetSizes[l.size[i]].milli) {
		return true
	}
	l.open[i] = false
	l.actuated = append(l.actuated, ev.at.Sub(l.began[i]))
	l.free <- i // there is room: each pod is in it once
	if len(l.actuated) == l.resizes {
		close(l.through)
		return false
	}
	return true
}

func (l *resizeLoad) seen() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.actuated)
}

// wrong counts the pods that aren't what they were asked to be last, in spec or status, or that still wait.
func (l *resizeLoad) wrong(ctx context.Context, t *trial) (int, error) {
	list, err := t.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, err
	}
	wrong := l.pods - len(list.Items)
	for i := range list.Items {
		p := &list.Items[i]
		n, err := strconv.Atoi(p.Name[1:])
		if err != nil || n >= l.pods {
			wrong++
			continue
		}
		want, st := fleetSizes[l.size[n]].milli, p.Status.ContainerStatuses
		good := p.Spec.Containers[0].Resources.Limits.Cpu().MilliValue() == want &&
			len(st) > 0 && st[0].Resources != nil && st[0].Resources.Limits.Cpu().MilliValue() == want
		for _, c := range p.Status.Conditions {
			good = good && c.Type != corev1.PodResizePending
		}
		if !good {
			wrong++
		}
	}
	return wrong, nil
}
