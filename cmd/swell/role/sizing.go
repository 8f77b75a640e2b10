package role

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
	"swell.dev/swell/controlplane/sizing"
)

// sizingConfig is what the control plane's role is told of recommendations.
type sizingConfig struct {
	On         bool
	Interval   time.Duration
	Checkpoint time.Duration
	Day        time.Duration
}

func (c *sizingConfig) flags(f *pflag.FlagSet) {
	f.BoolVar(&c.On, "recommendations", true, "learn from what containers use how large they should be; serves recommendations and Autosize policies")
	// To see days pass in minutes.
	f.DurationVar(&c.Interval, "autosize-interval", 15*time.Second, "how often pods are looked at that Autosize policies select")
	f.DurationVar(&c.Checkpoint, "usage-checkpoint", 10*time.Minute, "how often what was learned is saved")
	f.DurationVar(&c.Day, "usage-day", 24*time.Hour, "half-life of what was learned")
	for _, name := range []string{"autosize-interval", "usage-checkpoint", "usage-day"} {
		_ = f.MarkHidden(name) // it is there
	}
}

func (c *sizingConfig) validate() error {
	if c.Interval < 50*time.Millisecond || c.Checkpoint < c.Interval || c.Day < c.Interval {
		return fmt.Errorf("--autosize-interval %s, --usage-checkpoint %s, --usage-day %s: at least 50ms, and no less than an interval", c.Interval, c.Checkpoint, c.Day)
	}
	return nil
}

// newSizing answers what recommends sizes, nil if nothing does. Its Run begins when the API is there.
func (c *controlPlane) newSizing() (*sizing.Controller, error) {
	if !c.cfg.Sizing.On {
		return nil, nil
	}
	return sizing.New(sizing.Config{
		Store: c.store, Log: c.log,
		Interval: c.cfg.Sizing.Interval, Checkpoint: c.cfg.Sizing.Checkpoint, Day: c.cfg.Sizing.Day,
		Resize: func(ctx context.Context, key controlplane.Key, uid string, change func(*corev1.Pod) error) (*corev1.Pod, error) {
			return c.api.ResizePod(ctx, key, uid, change)
		},
		Record: func(ctx context.Context, pod *corev1.Pod, kind, reason, message string) {
			c.api.Record(ctx, pod, kind, reason, message)
		},
		Usage: func() []*nodev1.PodUsage { return c.hub.Usage() },
	})
}

// usageTold hears the hub; there are recommendations before there is a hub.
func (c *controlPlane) usageTold(of controlplane.Owner, h *nodev1.ContainerHistory) {
	if c.sizing != nil {
		c.sizing.Told(of, h)
	}
}

// sizingMetrics tells what was learned and done.
type sizingMetrics struct{ sizing *sizing.Controller }

var (
	usageSamples      = prometheus.NewDesc("swell_usage_samples_total", "Readings of containers that went into histograms.", nil, nil)
	usageRefused      = prometheus.NewDesc("swell_usage_refused_total", "Histories of containers that made no sense.", nil, nil)
	usageLeftOut      = prometheus.NewDesc("swell_usage_left_out_total", "Histories of containers whose workload found no room among those that are kept.", nil, nil)
	usageWorkloads    = prometheus.NewDesc("swell_usage_workloads", "Workloads of which histograms are kept.", nil, nil)
	usageContainers   = prometheus.NewDesc("swell_usage_containers", "Containers of those workloads.", nil, nil)
	usageBytes        = prometheus.NewDesc("swell_usage_bytes", "Memory that the histograms take.", nil, nil)
	autosizeResizes   = prometheus.NewDesc("swell_autosize_resizes_total", "Containers that Autosize policies resized.", []string{"resource", "direction"}, nil)
	autosizeRefused   = prometheus.NewDesc("swell_autosize_refused_total", "Resizes by Autosize policies that were refused.", nil, nil)
	autosizeInitially = prometheus.NewDesc("swell_autosize_initial_total", "Pods that Autosize policies gave another size when they were created.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m sizingMetrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements prometheus.Collector.
func (m sizingMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.sizing.Stats()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, float64(v), labels...)
	}
	send(usageSamples, prometheus.CounterValue, s.Samples)
	send(usageRefused, prometheus.CounterValue, s.Refused)
	send(usageLeftOut, prometheus.CounterValue, s.LeftOut)
	send(usageWorkloads, prometheus.GaugeValue, int64(s.Workloads))
	send(usageContainers, prometheus.GaugeValue, int64(s.Containers))
	send(usageBytes, prometheus.GaugeValue, int64(s.Bytes))
	send(autosizeResizes, prometheus.CounterValue, s.CPUUp, "cpu", "up")
	send(autosizeResizes, prometheus.CounterValue, s.CPUDown, "cpu", "down")
	send(autosizeResizes, prometheus.CounterValue, s.MemoryUp, "memory", "up")
	send(autosizeResizes, prometheus.CounterValue, s.MemoryDown, "memory", "down")
	send(autosizeRefused, prometheus.CounterValue, s.RefusedResizes)
	send(autosizeInitially, prometheus.CounterValue, s.Initial)
}
