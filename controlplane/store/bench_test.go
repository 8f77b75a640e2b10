package store

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/controlplane"
	"swell.dev/swell/internal/etcd"
)

func benchPod(name string) *corev1.Pod {
	res := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("512Mi")}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), Labels: map[string]string{"app": "bench"}},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{
			Name: "main", Image: "registry.example/bench:1", Resources: corev1.ResourceRequirements{Requests: res, Limits: res},
		}}},
	}
}

// BenchmarkCommit creates pods with so many writers at once, fsync on.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 64, 1000} {
		for _, ops := range []int{100, etcd.MaxTxnOps - 1} {
			b.Run(fmt.Sprintf("writers=%d/ops=%d", writers, ops), func(b *testing.B) {
				cfg := config(startEtcd(b, b.TempDir()).Client())
				cfg.MaxBatchOps = ops
				s := open(b, cfg)
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				for range writers {
					wg.Go(func() {
						for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
							name := fmt.Sprintf("p%d", i)
							commit(b, s, podKey(name), set(benchPod(name)))
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
				b.ReportMetric(float64(s.Stats().Mutations)/float64(s.Stats().Transactions), "commits/txn")
			})
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	s := newStore(b)
	commit(b, s, podKey("p"), set(benchPod("p")))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Observe(podKey("p"), func(o controlplane.Object) controlplane.Object {
			next := *o.(*corev1.Pod)
			return &next
		}); err != nil {
			b.Fatal(err)
		}
	}
}
