package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/api/v1alpha1"
)

// tideConfig is the setting of the tide scenario.
type tideConfig struct {
	nodes, learn    int
	day, life, step time.Duration
	peak            float64
	attach, create  time.Duration
	start           time.Duration
}

func tideCommand(s *setting) *cobra.Command {
	var c tideConfig
	cmd := &cobra.Command{
		Use:   "tide",
		Short: "A day of demand, compressed: slots ahead of pods by forecast, against a fixed pool and none",
		Long: `Live through a day of demand with a morning ramp, noise and one surprise spike, compressed in time, on three
control planes one after another: without prescheduling, with slots by forecast (after days without a spike to
learn from), and with a fixed pool of as many slots as the forecast kept on average. Hosts are simulated and
take time to make a sandbox and a container. Arrivals are the same for all three.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.nodes < 1 || c.learn < 0 || c.day < time.Second || c.life <= 0 || c.peak <= 0 {
				return errors.New("--nodes, --day, --life and --peak must be positive")
			}
			if !cmd.Flags().Changed("rounds") {
				s.rounds = 1 // of several days each
			}
			return s.tide(cmd.Context(), c)
		},
	}
	cmd.Flags().IntVar(&c.nodes, "nodes", 50, "simulated hosts")
	cmd.Flags().IntVar(&c.learn, "learn", 2, "days that the forecaster sees before the one that is measured")
	cmd.Flags().DurationVar(&c.day, "day", 4*time.Minute, "how long a day takes")
	cmd.Flags().DurationVar(&c.step, "interval", 250*time.Millisecond, "how often the number of slots is worked out")
	cmd.Flags().DurationVar(&c.life, "life", 20*time.Second, "how long a pod lives on average")
	cmd.Flags().Float64Var(&c.peak, "peak", 40, "pods a second at the height of a usual day")
	cmd.Flags().DurationVar(&c.attach, "sandbox-latency", 50*time.Millisecond, "that a host needs for a sandbox")
	cmd.Flags().DurationVar(&c.create, "container-latency", 80*time.Millisecond, "that it needs for a container")
	cmd.Flags().DurationVar(&c.start, "start-latency", 5*time.Millisecond, "that it needs to start one")
	return cmd
}

// tideSystem is one of those that live through the day.
type tideSystem struct {
	name   string
	args   []string
	learn  int
	policy *v1alpha1.SlotPolicy
}

// tideDay is what a system made of the measured day.
type tideDay struct {
	hitsOutside, missesOutside float64
	hitsInside, missesInside   float64
	deep                       float64 // hits of slots that had come all the way
	idle                       float64 // slot-seconds
	forecastError              float64
	running                    []time.Duration
}

func (s *setting) tide(ctx context.Context, c tideConfig) error {
	rates := &rates{}
	var series []*series
	compressed := []string{"--forecast-day", c.day.String(), "--slot-interval", c.step.String()}
	for round := range s.rounds {
		seed := uint64(round + 1)
		measured := newTide(1000*seed, c.day, c.life, c.peak, true)
		used := measured.lived(c.day).Seconds()
		live := func(y tideSystem) (*tideDay, error) {
			d, err := s.liveTide(ctx, c, y, seed, measured)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", y.name, err)
			}
			d.into(rates, y.name, used)
			series = addRound(series, y.name+": POST → a watch says Running", d.running)
			return d, nil
		}
		if _, err := live(tideSystem{name: "none", args: []string{"--prescheduling", "off"}}); err != nil {
			return err
		}
		byForecast, err := live(tideSystem{name: "forecast", args: compressed, learn: c.learn})
		if err != nil {
			return err
		}
		pool := int32(max(1, math.Round(byForecast.idle/c.day.Seconds())))
		if _, err := live(tideSystem{
			name: "fixed pool", args: append([]string{"--prescheduling", "policy-only"}, compressed...), policy: poolOf(pool),
		}); err != nil {
			return err
		}
		rates.add("fixed pool: slots", float64(pool))
	}
	with := map[string]string{
		"nodes": fmt.Sprint(c.nodes), "day": c.day.String(), "interval": c.step.String(), "pods live": c.life.String() + " ± half",
		"peak": fmt.Sprintf("%g pods/s", c.peak), "spike": fmt.Sprintf("%g times the rate for %s", spikeTimes, time.Duration(spikeLong*float64(c.day)).Round(time.Millisecond)),
		"days learned": fmt.Sprint(c.learn), "hosts": fmt.Sprintf("simulated: sandbox %s, container %s, start %s", c.attach, c.create, c.start),
	}
	return s.publish("tide", int(math.Round(c.peak*c.day.Seconds())), with, rates, series...)
}

// addRound enters a round into the series of that name.
func addRound(all []*series, name string, of []time.Duration) []*series {
	for _, one := range all {
		if one.name == name {
			one.rounds = append(one.rounds, of)
			return all
		}
	}
	return append(all, &series{name: name, rounds: [][]time.Duration{of}})
}

func (d *tideDay) into(r *rates, name string, used float64) {
	percent := func(part, rest float64) float64 { return 100 * part / max(1, part+rest) }
	r.add(name+": hits outside the spike, %", percent(d.hitsOutside, d.missesOutside))
	r.add(name+": hits inside the spike, %", percent(d.hitsInside, d.missesInside))
	r.add(name+": of the hits, ready to start, %", percent(d.deep, d.hitsOutside+d.hitsInside-d.deep))
	r.add(name+": idle slots, % of used capacity", 100*d.idle/used)
	r.add(name+": error of forecasts, %", 100*d.forecastError)
}

func poolOf(n int32) *v1alpha1.SlotPolicy {
	p := tidePod("")
	return &v1alpha1.SlotPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.Group + "/" + v1alpha1.Version, Kind: "SlotPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: "pool"},
		Spec:       v1alpha1.SlotPolicySpec{Min: n, Max: &n, Template: &corev1.PodTemplateSpec{Spec: p.Spec}},
	}
}

func tidePod(name string) *corev1.Pod { return pod(name, "100m", "64Mi") }

// liveTide has one system live through its days.
func (s *setting) liveTide(ctx context.Context, c tideConfig, y tideSystem, seed uint64, measured tide) (_ *tideDay, err error) {
	t, err := s.startTrial(ctx, y.args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	if err := t.join(ctx, c.nodes, func(f *fleet) {
		f.sim.CreateLatency, f.sim.StartLatency, f.attachLatency = c.create, c.start, c.attach
	}); err != nil {
		return nil, err
	}
	if y.policy != nil {
		body, err := json.Marshal(y.policy)
		if err != nil {
			return nil, err
		}
		if err := t.client.CoreV1().RESTClient().Post().AbsPath("/apis/swell.dev/v1alpha1/namespaces/default/slotpolicies").
			SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error(); err != nil {
			return nil, err
		}
		if err := pause(ctx, 5*time.Second); err != nil { // until they are there
			return nil, err
		}
	}
	l, err := newTideLoad(ctx, t.client)
	if err != nil {
		return nil, err
	}
	defer l.close()
	for i := range y.learn {
		if _, err := l.live(ctx, c, newTide(1000*seed+1+uint64(i), c.day, c.life, c.peak, false), false); err != nil {
			return nil, err
		}
	}
	return l.live(ctx, c, measured, true)
}

// tideLoad creates pods, sees them run and deletes them.
type tideLoad struct {
	client *kubernetes.Clientset
	stop   context.CancelFunc
	wg     sync.WaitGroup // deletions and the watch

	mu    sync.Mutex // guards what follows
	seen  map[types.UID]time.Time
	began map[types.UID]time.Time
	names int
	err   error
}

func newTideLoad(ctx context.Context, client *kubernetes.Clientset) (*tideLoad, error) {
	l := &tideLoad{client: client, seen: map[types.UID]time.Time{}, began: map[types.UID]time.Time{}}
	ctx, l.stop = context.WithCancel(ctx)
	list, err := client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	l.wg.Go(func() { l.watch(ctx, list.ResourceVersion) })
	return l, nil
}

func (l *tideLoad) close() {
	l.stop()
	l.wg.Wait()
}

func (l *tideLoad) watch(ctx context.Context, version string) {
	for ctx.Err() == nil {
		w, err := l.client.CoreV1().Pods(metav1.NamespaceDefault).Watch(ctx, metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true})
		if err != nil {
			if ctx.Err() == nil {
				l.fail(err)
			}
			return
		}
		for ev := range w.ResultChan() {
			p, ok := ev.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			version = p.ResourceVersion
			if p.Status.Phase == corev1.PodRunning {
				l.mu.Lock()
				if _, known := l.seen[p.UID]; !known {
					l.seen[p.UID] = time.Now()
				}
				l.mu.Unlock()
			}
		}
	}
}

func (l *tideLoad) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, err)
}

// live lives through one day. Of a day with a spike the metrics are read when it begins and ends.
func (l *tideLoad) live(ctx context.Context, c tideConfig, t tide, measured bool) (*tideDay, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	marks := []time.Duration{0, c.day}
	if measured {
		marks = []time.Duration{0, time.Duration(spikeAt * float64(c.day)), time.Duration((spikeAt + spikeLong) * float64(c.day)), c.day}
	}
	readings := make([]slotReading, len(marks))
	start := time.Now()
	var day sync.WaitGroup
	day.Go(func() {
		for i, at := range marks {
			if waitUntil(ctx, start.Add(at)) != nil {
				return
			}
			r, err := readSlots(ctx, l.client)
			if err != nil {
				l.fail(err)
			}
			readings[i] = r
		}
	})
	uids := make([]types.UID, len(t.at))
	for i, at := range t.at {
		if err := waitUntil(ctx, start.Add(at)); err != nil {
			return nil, err
		}
		l.mu.Lock()
		l.names++
		name, failed := podName(l.names), l.err
		l.mu.Unlock()
		if failed != nil {
			return nil, failed
		}
		day.Go(func() { uids[i] = l.one(ctx, name, t.life[i]) })
	}
	day.Wait() // the last pods are there: they go while the next day begins
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || !measured {
		return nil, l.err
	}
	d := readings[3].since(readings[0])
	spike := readings[2].since(readings[1])
	d.hitsInside, d.missesInside = spike.hitsOutside, spike.missesOutside
	d.hitsOutside -= d.hitsInside
	d.missesOutside -= d.missesInside
	for _, uid := range uids {
		if at, ok := l.seen[uid]; ok {
			d.running = append(d.running, at.Sub(l.began[uid]))
		}
	}
	if short := len(uids) - len(d.running); short > len(uids)/100 {
		return nil, fmt.Errorf("%d of %d pods were never seen to be Running", short, len(uids))
	}
	return d, nil
}

// one creates a pod and has it deleted when its life is over.
func (l *tideLoad) one(ctx context.Context, name string, life time.Duration) types.UID {
	pods := l.client.CoreV1().Pods(metav1.NamespaceDefault)
	began := time.Now()
	p, err := pods.Create(ctx, tidePod(name), metav1.CreateOptions{})
	if err != nil {
		l.fail(err)
		return ""
	}
	l.mu.Lock()
	l.began[p.UID] = began
	l.mu.Unlock()
	l.wg.Go(func() {
		ctx := context.WithoutCancel(ctx)
		time.Sleep(life)
		_ = pods.Delete(ctx, name, metav1.DeleteOptions{}) // at the end of all there is nobody to delete it
	})
	return p.UID
}

// slotReading is what the control plane's metrics say of slots.
type slotReading struct{ hits, deep, misses, idle, off float64 }

func readSlots(ctx context.Context, client *kubernetes.Clientset) (slotReading, error) {
	raw, err := client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return slotReading{}, fmt.Errorf("metrics: %w", err)
	}
	return parseSlots(raw), nil
}

func parseSlots(raw []byte) (r slotReading) {
	for line := range bytes.Lines(raw) {
		sample, value, ok := strings.Cut(strings.TrimSpace(string(line)), " ")
		v, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil {
			continue
		}
		name, labels, _ := strings.Cut(sample, "{")
		switch name {
		case "swell_slot_hits_total":
			r.hits += v
			if strings.Contains(labels, `depth="Container"`) {
				r.deep += v
			}
		case "swell_slot_misses_total":
			r.misses += v
		case "swell_slot_idle_seconds_total":
			r.idle += v
		case "swell_forecast_error":
			r.off = v
		}
	}
	return r
}

func (r slotReading) since(before slotReading) *tideDay {
	return &tideDay{
		hitsOutside: r.hits - before.hits, missesOutside: r.misses - before.misses, deep: r.deep - before.deep,
		idle: r.idle - before.idle, forecastError: r.off,
	}
}
