package role

import (
	"fmt"
	"time"
	_ "time/tzdata" // for hosts without a time zone database: schedules name zones

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
	"swell.dev/swell/controlplane/slots"
)

// preschedulingConfig is what the control plane's role is told of slots.
type preschedulingConfig struct {
	Mode     string
	Interval time.Duration
	Day      time.Duration
}

// Modes of prescheduling.
const (
	preschedulingAutomatic  = "automatic"
	preschedulingPolicyOnly = "policy-only"
	preschedulingOff        = "off"
)

func (c *preschedulingConfig) flags(f *pflag.FlagSet) {
	f.StringVar(&c.Mode, "prescheduling", preschedulingAutomatic, "keep slots ready ahead of pods: automatic, policy-only (where a SlotPolicy says so) or off")
	// To see days pass in minutes.
	f.DurationVar(&c.Interval, "slot-interval", time.Second, "how often the number of slots is worked out")
	f.DurationVar(&c.Day, "forecast-day", 24*time.Hour, "what forecasts take to be a day")
	for _, name := range []string{"slot-interval", "forecast-day"} {
		_ = f.MarkHidden(name) // it is there
	}
}

func (c *preschedulingConfig) validate() error {
	switch c.Mode {
	case preschedulingAutomatic, preschedulingPolicyOnly, preschedulingOff:
	default:
		return fmt.Errorf("--prescheduling: %q: want %s, %s or %s", c.Mode, preschedulingAutomatic, preschedulingPolicyOnly, preschedulingOff)
	}
	if c.Interval < 50*time.Millisecond || c.Day < 100*c.Interval {
		return fmt.Errorf("--slot-interval %s, --forecast-day %s: at least 50ms, and 100 intervals", c.Interval, c.Day)
	}
	return nil
}

// newSlots answers what keeps slots ready, nil if nothing does.
func (c *controlPlane) newSlots() (*slots.Controller, error) {
	if c.cfg.Prescheduling.Mode == preschedulingOff {
		return nil, nil
	}
	return slots.New(slots.Config{
		Store: c.store, Scheduler: c.sched, Hub: c.hub, Default: func(pod *corev1.Pod) { c.api.DefaultPod(pod) }, Closed: c.slotsClosed, Log: c.log,
		PolicyOnly: c.cfg.Prescheduling.Mode == preschedulingPolicyOnly,
		Interval:   c.cfg.Prescheduling.Interval, Day: c.cfg.Prescheduling.Day,
	})
}

func (c *controlPlane) slotReported(uid string, depth controlplane.SlotDepth, message string) {
	if c.slots != nil {
		c.slots.Reported(uid, depth, message)
	}
}

// slotMetrics tells what slots did.
type slotMetrics struct{ slots *slots.Controller }

var (
	slotHits      = prometheus.NewDesc("swell_slot_hits_total", "Pods that took a slot, by how far it had come.", []string{"namespace", "depth"}, nil)
	slotMisses    = prometheus.NewDesc("swell_slot_misses_total", "Pods that found no slot.", []string{"namespace"}, nil)
	slotIdle      = prometheus.NewDesc("swell_slot_idle_seconds_total", "Seconds that slots have waited for a pod.", []string{"namespace"}, nil)
	slotCount     = prometheus.NewDesc("swell_slots", "Slots by the depth they have reached, and whether that is where they should be.", []string{"depth", "state"}, nil)
	slotWorkloads = prometheus.NewDesc("swell_slot_workloads", "Workloads whose pods are forecast.", nil, nil)
	forecastError = prometheus.NewDesc("swell_forecast_error", "Mean error of forecasts over mean arrivals, within the time that a slot takes to be ready.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m slotMetrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements prometheus.Collector.
func (m slotMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.slots.Stats()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	for _, h := range s.Hits {
		send(slotHits, prometheus.CounterValue, float64(h.Count), h.Namespace, h.Depth.String())
	}
	for namespace, n := range s.Misses {
		send(slotMisses, prometheus.CounterValue, float64(n), namespace)
	}
	for namespace, seconds := range s.IdleSeconds {
		send(slotIdle, prometheus.CounterValue, seconds, namespace)
	}
	for depth := controlplane.SlotCapacity; depth <= controlplane.SlotContainer; depth++ {
		send(slotCount, prometheus.GaugeValue, float64(s.Making[depth]), depth.String(), "making")
		send(slotCount, prometheus.GaugeValue, float64(s.Ready[depth]), depth.String(), "ready")
	}
	send(slotWorkloads, prometheus.GaugeValue, float64(s.Workloads))
	send(forecastError, prometheus.GaugeValue, s.ForecastError)
}
