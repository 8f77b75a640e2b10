package nodes

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// relay is one exchange with a nodelet, from the moment it is asked for.
type relay struct {
	node   string
	opened chan grpc.BidiStreamingServer[nodev1.Frame, nodev1.Frame] // capacity 1
	done   chan struct{}                                             // closed by Close
	once   sync.Once

	stream grpc.BidiStreamingServer[nodev1.Frame, nodev1.Frame]
}

// openWithin is how long a nodelet may take to open its side of an exchange.
const openWithin = 30 * time.Second

// Open asks a node for an exchange and answers it once the nodelet has opened its side.
func (h *Hub) Open(ctx context.Context, node string, open *nodev1.Open) (controlplane.Stream, error) {
	open.Id = uuid.NewString()
	r := &relay{node: node, opened: make(chan grpc.BidiStreamingServer[nodev1.Frame, nodev1.Frame], 1), done: make(chan struct{})}
	notConnected := fmt.Errorf("node %s: the nodelet is not connected: %w", node, controlplane.ErrUnavailable)
	h.mu.Lock()
	s := h.sessions[node]
	if s == nil {
		h.mu.Unlock()
		return nil, notConnected
	}
	h.streams[open.Id] = r
	h.mu.Unlock()
	timeout := time.NewTimer(openWithin)
	defer timeout.Stop()
	err := fmt.Errorf("node %s: %d requests wait for the nodelet: %w", node, maxOpens, controlplane.ErrOverloaded)
	if s.ask(open) {
		select {
		case r.stream = <-r.opened:
			return r, nil
		case <-s.gone:
			err = notConnected
		case <-timeout.C:
			err = fmt.Errorf("node %s: the nodelet opened no stream within %s: %w", node, openWithin, controlplane.ErrUnavailable)
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	h.forget(open.Id)
	_ = r.Close() // it always succeeds
	return nil, err
}

func (h *Hub) forget(id string) {
	h.mu.Lock()
	delete(h.streams, id)
	h.mu.Unlock()
}

// Stream is the nodelet's side of an exchange that Open asked for.
func (h *Hub) Stream(stream grpc.BidiStreamingServer[nodev1.Frame, nodev1.Frame]) error {
	node, err := peerNode(stream.Context())
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	id := first.GetBegin().GetId()
	h.mu.Lock()
	r := h.streams[id]
	if r != nil && r.node == node {
		delete(h.streams, id)
	}
	h.mu.Unlock()
	if r == nil || r.node != node {
		h.cfg.Log.Warn("stream refused", "node", node, "stream", id, "cause", "nobody waits for one of this node's")
		return status.Errorf(codes.NotFound, "stream %q: nobody waits for it", id)
	}
	r.opened <- stream
	select {
	case <-r.done:
		return nil
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
}

func (r *relay) Send(f *nodev1.Frame) error { return r.stream.Send(f) }

func (r *relay) Recv() (*nodev1.Frame, error) {
	f, err := r.stream.Recv()
	if err != nil && r.closed() {
		return nil, io.EOF
	}
	return f, err
}

func (r *relay) closed() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func (r *relay) Close() error {
	r.once.Do(func() { close(r.done) })
	return nil
}
