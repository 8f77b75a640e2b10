package scheduler

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
)

const (
	zoneLabel = corev1.LabelTopologyZone
	hostLabel = corev1.LabelHostname
)

// BenchmarkPlace places a pod and releases another, by each rule, on a fleet that is half full and fragmented,
// with many values of many labels. Besides the time by the clock it reports what the process burnt: on a busy
// machine only that can be compared. The cost must hardly grow with the fleet.
func BenchmarkPlace(b *testing.B) {
	app := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	spread := func(key string, when corev1.UnsatisfiableConstraintAction) *controlplane.Rules {
		return &controlplane.Rules{Spread: []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: when, LabelSelector: app}}}
	}
	nodes := func(op corev1.NodeSelectorOperator, key string, values ...string) *corev1.NodeSelectorTerm {
		return &corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: op, Values: values}}}
	}
	required := func(t *corev1.NodeSelectorTerm) *controlplane.Rules {
		return &controlplane.Rules{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{*t}}}}}
	}
	term := func(key string) []corev1.PodAffinityTerm {
		return []corev1.PodAffinityTerm{{LabelSelector: app, TopologyKey: key}}
	}
	for _, c := range []struct {
		name string
		req  controlplane.PlaceRequest
	}{
		{"plain", controlplane.PlaceRequest{}},
		{"selector", controlplane.PlaceRequest{NodeSelector: map[string]string{zoneLabel: "zone-1"}}},
		{"selector-rare", controlplane.PlaceRequest{NodeSelector: map[string]string{"rack": "7"}}},
		{"affinity-in", controlplane.PlaceRequest{Rules: required(nodes(corev1.NodeSelectorOpIn, "type", "t1", "t3", "t5"))}},
		{"affinity-notin", controlplane.PlaceRequest{Rules: required(nodes(corev1.NodeSelectorOpNotIn, zoneLabel, "zone-0"))}},
		{"affinity-preferred", controlplane.PlaceRequest{Rules: &controlplane.Rules{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 10, Preference: *nodes(corev1.NodeSelectorOpIn, zoneLabel, "zone-2")}}}}}}},
		{"tolerations", controlplane.PlaceRequest{Rules: &controlplane.Rules{Tolerations: []corev1.Toleration{{Key: "pool", Operator: corev1.TolerationOpExists}}}}},
		{"spread-zone", controlplane.PlaceRequest{Rules: spread(zoneLabel, corev1.DoNotSchedule)}},
		{"spread-zone-soft", controlplane.PlaceRequest{Rules: spread(zoneLabel, corev1.ScheduleAnyway)}},
		{"spread-host", controlplane.PlaceRequest{Rules: spread(hostLabel, corev1.DoNotSchedule)}},
		{"apart-host", controlplane.PlaceRequest{Rules: &controlplane.Rules{Affinity: &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: term(hostLabel)}}}}},
		{"together-zone", controlplane.PlaceRequest{Rules: &controlplane.Rules{Affinity: &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: term(zoneLabel)}}}}},
	} {
		for _, nodes := range []int{100, 1000, 10_000} {
			b.Run(fmt.Sprintf("%s/nodes=%d", c.name, nodes), func(b *testing.B) {
				random := rand.New(rand.NewPCG(1, 2))
				core := benchFleet(random, nodes)
				const alive = 64 // pods of the workload at once
				uids := make([]string, alive)
				for i := range uids {
					uids[i] = fmt.Sprintf("new-%d", i)
				}
				labels := map[string]string{"app": "web", "pod-template-hash": "5d4f"}
				one := func(i int) {
					req := c.req
					req.UID, req.Labels, req.Key.Namespace, req.Demand = uids[i%alive], labels, "shop", benchDemand(random)
					core.release(req.UID)
					if _, err := core.place(req); err != nil {
						b.Fatal(err)
					}
				}
				for i := range alive {
					one(i)
				}
				b.ReportAllocs()
				b.ResetTimer()
				before := burnt()
				for i := range b.N {
					one(i)
				}
				b.ReportMetric(float64(burnt()-before)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// burnt is the CPU time of the process.
func burnt() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchDemand(random *rand.Rand) controlplane.Demand {
	return controlplane.Demand{CPUMilli: 250 * (1 + random.Int64N(8)), MemoryBytes: (512 << 20) * (1 + random.Int64N(8))}
}

func benchFleet(random *rand.Rand, nodes int) *core {
	c := newCore()
	for i := range nodes {
		n := controlplane.Node{
			Name: fmt.Sprintf("node-%d", i), Capacity: controlplane.Demand{CPUMilli: 64_000, MemoryBytes: 256 << 30}, MaxPods: 1000, Ready: true,
			Labels: map[string]string{
				zoneLabel: fmt.Sprintf("zone-%d", i%3), hostLabel: fmt.Sprintf("node-%d", i), corev1.LabelOSStable: "linux",
				"rack": fmt.Sprint(i % max(nodes/20, 8)), "type": fmt.Sprintf("t%d", i%7),
			},
		}
		if i%10 == 0 {
			n.Taints = []corev1.Taint{{Key: "pool", Value: fmt.Sprint(i % 30), Effect: corev1.TaintEffectNoSchedule}}
		}
		c.setNode(n)
	}
	for i := range nodes * 28 {
		c.restore(controlplane.PlaceRequest{
			Key: controlplane.Key{Namespace: fmt.Sprint("ns-", i%50)}, UID: fmt.Sprint(i), NodeName: fmt.Sprintf("node-%d", random.IntN(nodes)), Demand: benchDemand(random),
			Labels: map[string]string{"app": fmt.Sprint(i % 500)},
		})
	}
	return c
}

// BenchmarkPreempt makes room for one pod on a full fleet, and takes all back.
func BenchmarkPreempt(b *testing.B) {
	for _, nodes := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			c := newCore()
			random := rand.New(rand.NewPCG(1, 2))
			for i := range nodes {
				c.setNode(controlplane.Node{Name: fmt.Sprintf("node-%d", i), Capacity: controlplane.Demand{CPUMilli: 16_000, MemoryBytes: 64 << 30}, MaxPods: 100, Ready: true})
				for j := range 16 {
					c.restore(controlplane.PlaceRequest{UID: fmt.Sprint(i, "/", j), NodeName: fmt.Sprintf("node-%d", i),
						Demand: controlplane.Demand{CPUMilli: 1000, MemoryBytes: 4 << 30}, Priority: random.Int32N(3)})
				}
			}
			before := burnt()
			for b.Loop() {
				c.pend(controlplane.PlaceRequest{UID: "vip", Demand: controlplane.Demand{CPUMilli: 3000, MemoryBytes: 8 << 30}, Priority: 100})
				victims := c.take()
				c.release("vip")
				for _, d := range victims {
					if r := c.pods[d.uid]; r != nil {
						c.regard(r, func() { r.leaving = false })
					}
				}
			}
			b.ReportMetric(float64(burnt()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
