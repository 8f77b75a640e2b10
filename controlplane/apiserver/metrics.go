package apiserver

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

func (s *Server) podMetrics() *resource {
	return &resource{
		gvk: metricsv1beta1.SchemeGroupVersion.WithKind("PodMetrics"), plural: "pods", singular: "pod",
		namespaced: true, verbs: []string{"get", "list"}, table: usageTable,
		serve: s.serveComputed(func(q *request) ([]controlplane.Object, error) {
			var out []controlplane.Object
			for _, u := range s.cfg.Usage() {
				if q.namespace != "" && u.Namespace != q.namespace || q.name != "" && u.Name != q.name {
					continue
				}
				// Labels, by which clients select, are the pod's.
				if o, ok := s.cfg.Store.Get(controlplane.Key{Resource: "pods", Namespace: u.Namespace, Name: u.Name}); ok && string(o.GetUID()) == u.Uid {
					out = append(out, podUsage(u, o))
				}
			}
			return out, nil
		}),
		rules: &rules{
			new:     func() controlplane.Object { return &metricsv1beta1.PodMetrics{} },
			newList: func() runtime.Object { return &metricsv1beta1.PodMetricsList{} },
		},
	}
}

func podUsage(u *nodev1.PodUsage, pod metav1.Object) *metricsv1beta1.PodMetrics {
	m := &metricsv1beta1.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{
			Name: u.Name, Namespace: u.Namespace, Labels: pod.GetLabels(), CreationTimestamp: metav1.Now().Rfc3339Copy(),
		},
		Timestamp:  metav1.NewTime(time.Unix(0, u.TimeUnixNano)).Rfc3339Copy(),
		Window:     metav1.Duration{Duration: time.Duration(u.WindowNanos)},
		Containers: make([]metricsv1beta1.ContainerMetrics, 0, len(u.Containers)),
	}
	for _, c := range u.Containers {
		m.Containers = append(m.Containers, metricsv1beta1.ContainerMetrics{
			Name: c.Name, Usage: usageOf(c.CpuNanocores, c.MemoryWorkingSetBytes),
		})
	}
	return m
}

func usageOf(nanocores, bytes int64) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *quantity.NewScaledQuantity(nanocores, quantity.Nano),
		corev1.ResourceMemory: *quantity.NewQuantity(bytes, quantity.BinarySI),
	}
}

// nodeMetrics are sums over the pods of each node; what else runs on the host isn't ours to measure.
func (s *Server) nodeMetrics() *resource {
	return &resource{
		gvk: metricsv1beta1.SchemeGroupVersion.WithKind("NodeMetrics"), plural: "nodes", singular: "node",
		verbs: []string{"get", "list"}, table: usageTable,
		serve: s.serveComputed(func(q *request) ([]controlplane.Object, error) {
			nodes, _ := s.cfg.Store.List("nodes", "")
			byNode := s.usageByNode()
			var out []controlplane.Object
			for _, o := range nodes {
				sum, ok := byNode[o.GetName()]
				if !ok || q.name != "" && q.name != o.GetName() {
					continue
				}
				out = append(out, &metricsv1beta1.NodeMetrics{
					ObjectMeta: metav1.ObjectMeta{Name: o.GetName(), Labels: o.GetLabels(), CreationTimestamp: metav1.Now().Rfc3339Copy()},
					Timestamp:  metav1.NewTime(sum.at).Rfc3339Copy(),
					Window:     metav1.Duration{Duration: sum.window},
					Usage:      usageOf(sum.nanocores, sum.bytes),
				})
			}
			return out, nil
		}),
		rules: &rules{
			new:     func() controlplane.Object { return &metricsv1beta1.NodeMetrics{} },
			newList: func() runtime.Object { return &metricsv1beta1.NodeMetricsList{} },
		},
	}
}

type nodeUsage struct {
	nanocores, bytes int64
	at               time.Time
	window           time.Duration
}

func (s *Server) usageByNode() map[string]nodeUsage {
	out := map[string]nodeUsage{}
	for _, u := range s.cfg.Usage() {
		o, ok := s.cfg.Store.Get(controlplane.Key{Resource: "pods", Namespace: u.Namespace, Name: u.Name})
		if !ok || string(o.GetUID()) != u.Uid {
			continue
		}
		node := o.(*corev1.Pod).Spec.NodeName
		sum := out[node]
		for _, c := range u.Containers {
			sum.nanocores += c.CpuNanocores
			sum.bytes += c.MemoryWorkingSetBytes
		}
		if at := time.Unix(0, u.TimeUnixNano); at.After(sum.at) {
			sum.at = at
		}
		sum.window = max(sum.window, time.Duration(u.WindowNanos))
		out[node] = sum
	}
	return out
}

var usageTable = table{
	columns: []metav1.TableColumnDefinition{nameColumn(), column("CPU", "Cores in use."), column("Memory", "Working set."), column("Window", "The time that was measured over.")},
	row: func(o controlplane.Object) metav1.TableRow {
		sum := corev1.ResourceList{}
		var window metav1.Duration
		switch m := o.(type) {
		case *metricsv1beta1.NodeMetrics:
			sum, window = m.Usage, m.Window
		case *metricsv1beta1.PodMetrics:
			window = m.Window
			var cpu, memory quantity.Quantity
			for _, c := range m.Containers {
				cpu.Add(*c.Usage.Cpu())
				memory.Add(*c.Usage.Memory())
			}
			sum[corev1.ResourceCPU], sum[corev1.ResourceMemory] = cpu, memory
		}
		return metav1.TableRow{Cells: []any{o.GetName(), sum.Cpu().String(), sum.Memory().String(), window.Duration.String()}}
	},
}
