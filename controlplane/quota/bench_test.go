package quota

import (
	"fmt"
	"sync/atomic"
	"testing"

	"swell.dev/swell/controlplane"
)

// BenchmarkCharge is what a create pays: in a namespace without quotas, beside many that have some, and in one with
// a quota and 10,000 pods.
func BenchmarkCharge(b *testing.B) {
	for _, c := range []struct {
		name     string
		quotas   int // namespaces with quotas
		counted  bool
		existing int
	}{{"without", 0, false, 0}, {"beside", 1000, false, 0}, {"with", 1, true, 10_000}} {
		b.Run(c.name, func(b *testing.B) {
			m := newMemory()
			for i := range c.existing {
				name := fmt.Sprint("old", i)
				m.put(podKey(name), pod(name, 1, 1))
			}
			for i := range c.quotas {
				q := quotaOf(b, "q", "hard: {pods: 1000000000, requests.cpu: 1000000000}")
				if !c.counted {
					q.Namespace = fmt.Sprint("other", i)
				}
				m.put(controlplane.Key{Resource: quotasResource, Namespace: q.Namespace, Name: "q"}, q)
			}
			counter := counterOf(b, m)
			var n atomic.Int64
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				name := fmt.Sprint("p", n.Add(1))
				key, p := podKey(name), pod(name, 1, 1)
				for pb.Next() {
					settle, err := counter.Charge(key, p)
					if err != nil {
						b.Error(err)
						return
					}
					settle(nil)
				}
			})
		})
	}
}
