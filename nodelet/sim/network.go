package sim

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"swell.dev/swell/nodelet"
)

var _ nodelet.Network = (*Network)(nil)

// Network gives out addresses of a range that nobody can reach. Its zero value is empty.
type Network struct {
	Latency time.Duration // of an Attach that makes something

	mu   sync.Mutex // guards what follows
	last netip.Addr
	pods map[string]netip.Addr
}

// base precedes the first address: of the range for benchmarks (RFC 2544).
var base = netip.MustParseAddr("198.18.0.0")

// Attach implements nodelet.Network.
func (n *Network) Attach(ctx context.Context, p nodelet.PodNetwork) (nodelet.Attachment, error) {
	n.mu.Lock()
	_, ok := n.pods[p.PodUID]
	n.mu.Unlock()
	if !ok {
		if err := wait(ctx, n.Latency); err != nil {
			return nodelet.Attachment{}, err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	ip, ok := n.pods[p.PodUID]
	if !ok {
		if n.pods == nil {
			n.pods, n.last = map[string]netip.Addr{}, base
		}
		n.last = n.last.Next()
		ip = n.last
		n.pods[p.PodUID] = ip
	}
	return nodelet.Attachment{NetNS: fmt.Sprintf("/sim/netns/%s", p.PodUID), IP: ip.String()}, nil
}

// Detach implements nodelet.Network.
func (n *Network) Detach(_ context.Context, podUID string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.pods, podUID)
	return nil
}

// List implements nodelet.Network.
func (n *Network) List(context.Context) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Keys(n.pods)), nil
}
