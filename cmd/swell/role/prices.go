package role

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/controlplane"
)

// prices answers what pods cost. Few sizes are asked for again and again.
type prices struct {
	books  *billing.Books
	region func(node string) string
	now    func() time.Time

	mu    sync.RWMutex // guards known
	known map[priceKey]quote
}

type priceKey struct {
	book               *billing.Book
	class, qos, region string
	cpuMilli, memory   int64
}

type quote struct{ perHour, billed string }

// maxPrices bounds what is remembered; when there are more, it begins anew.
const maxPrices = 4096

// of answers a pod's price for an hour at its admitted size, at list and as of now, and the size that is billed. It is
// empty for a size that no bill could hold, or a time before all books.
func (p *prices) of(pod *corev1.Pod) (perHour, billed string) {
	cpu, memory, err := v1alpha1.PodSize(pod)
	book := p.books.At(p.now().UnixMilli())
	if err != nil || book == nil {
		return "", ""
	}
	key := priceKey{book: book, class: v1alpha1.ComputeClass(pod), qos: v1alpha1.QoS(pod), cpuMilli: cpu, memory: memory}
	if pod.Spec.NodeName != "" {
		key.region = p.region(pod.Spec.NodeName)
	}
	p.mu.RLock()
	q, ok := p.known[key]
	p.mu.RUnlock()
	if ok {
		return q.perHour, q.billed
	}
	cost, err := book.PerHour(key.class, key.qos, key.region, billing.Size{CPUMilli: cpu, MemoryBytes: memory})
	if err != nil {
		return "", ""
	}
	cpu, memory = book.Billed(key.class, cpu, memory)
	q = quote{
		perHour: cost.String() + " " + book.Currency,
		billed:  "cpu=" + resource.NewMilliQuantity(cpu, resource.DecimalSI).String() + ",memory=" + resource.NewQuantity(memory, resource.BinarySI).String(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) >= maxPrices || p.known == nil {
		p.known = map[priceKey]quote{}
	}
	p.known[key] = q
	return q.perHour, q.billed
}

// regionOf answers a node's region, as segments have it.
func (c *controlPlane) regionOf(node string) string {
	o, ok := c.store.Get(controlplane.Key{Resource: "nodes", Name: node})
	if !ok {
		return ""
	}
	return o.GetLabels()[corev1.LabelTopologyRegion]
}
