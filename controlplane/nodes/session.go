package nodes

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/controlplane"
)

// maxAcks bounds the acknowledgements that wait for a nodelet; one that reads none sends none.
const maxAcks = 1 << 16

// session is one connected nodelet. Its sender is the only writer of the stream.
type session struct {
	node   string
	cancel context.CancelCauseFunc
	wake   chan struct{} // capacity 1

	mu    sync.Mutex // guards what follows
	sync  bool       // everything is to be sent again
	dirty map[string]controlplane.Key
	order []string // uids of dirty, first marked first
	acks  []*nodev1.SegmentID
	opens []*nodev1.Open
}

var errReplaced = errors.New("another session of this node has begun")

// Session serves one nodelet until it goes or another one takes its name.
func (h *Hub) Session(stream grpc.BidiStreamingServer[nodev1.FromNode, nodev1.ToNode]) error {
	node, err := peerNode(stream.Context())
	if err != nil {
		return err
	}
	select {
	case <-h.loaded:
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if hello == nil {
		return status.Error(codes.InvalidArgument, "the first message of a session must be hello")
	}

	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	s := &session{node: node, cancel: cancel, wake: make(chan struct{}, 1), dirty: map[string]controlplane.Key{}, sync: true}
	if err := h.register(ctx, s, hello); err != nil {
		return toStatus(err)
	}
	defer h.unregister(s)
	h.cfg.Log.Info("nodelet connected", "node", node, "version", hello.Version, "pods", len(hello.Pods))

	received := make(chan error, 1)
	h.wg.Go(func() { received <- h.receive(ctx, s, stream, hello) })
	err = h.send(ctx, s, stream)
	cancel(err)
	// The stream's context ends when this handler returns, which ends the receiver; it is waited for by Run.
	select {
	case rerr := <-received:
		if rerr != nil && !errors.Is(rerr, io.EOF) && !errors.Is(rerr, context.Canceled) {
			err = rerr
		}
	default:
	}
	h.cfg.Log.Info("nodelet disconnected", "node", node, "cause", err)
	return toStatus(err)
}

func (h *Hub) register(ctx context.Context, s *session, hello *nodev1.Hello) error {
	var described corev1.Node
	if err := described.Unmarshal(hello.Node); err != nil {
		return status.Errorf(codes.InvalidArgument, "hello.node: %v", err)
	}
	if described.Name != s.node {
		return status.Errorf(codes.PermissionDenied, "hello.node: name %q: the certificate is for %q", described.Name, s.node)
	}
	h.mu.Lock()
	old := h.sessions[s.node]
	h.sessions[s.node] = s
	h.mu.Unlock()
	if old != nil {
		old.cancel(errReplaced)
	}
	return h.nodeConnected(ctx, &described)
}

func (h *Hub) unregister(s *session) {
	h.mu.Lock()
	current := h.sessions[s.node] == s
	if current {
		delete(h.sessions, s.node)
	}
	h.mu.Unlock()
	if current {
		h.nodeLost(s.node)
	}
}

// receive handles what the nodelet says, in the order in which it says it.
func (h *Hub) receive(ctx context.Context, s *session, stream grpc.BidiStreamingServer[nodev1.FromNode, nodev1.ToNode], hello *nodev1.Hello) error {
	err := h.reports(ctx, s, hello.Pods)
	for err == nil {
		var m *nodev1.FromNode
		if m, err = stream.Recv(); err != nil {
			break
		}
		switch m := m.Message.(type) {
		case *nodev1.FromNode_Reports:
			err = h.reports(ctx, s, m.Reports.Pods)
		case *nodev1.FromNode_Segments:
			err = h.segments(ctx, s, m.Segments.Segments)
		case *nodev1.FromNode_Heartbeat:
			h.heartbeat(s, m.Heartbeat)
		default:
			err = status.Errorf(codes.InvalidArgument, "message %T in a session", m)
		}
	}
	s.cancel(err)
	return err
}

// segments makes closed segments durable and only then queues their acknowledgement.
func (h *Hub) segments(ctx context.Context, s *session, in []*nodev1.Segment) error {
	var closed, open []usagev1.Segment
	var ids []*nodev1.SegmentID
	for _, m := range in {
		seg := segmentOf(m)
		seg.Node = s.node
		if err := h.mayMeter(s.node, seg.PodUID); err != nil {
			h.cfg.Log.Warn("segment refused", "segment", seg.ID.String(), "cause", err)
			continue
		}
		if seg.Open() {
			open = append(open, seg)
			continue
		}
		closed = append(closed, seg)
		ids = append(ids, &nodev1.SegmentID{PodUid: seg.PodUID, Generation: seg.Generation, Sequence: seg.Sequence})
	}
	if len(closed) > 0 {
		if err := h.cfg.Ledger.Record(ctx, closed); err != nil {
			return fmt.Errorf("node %s: segments: %w", s.node, err)
		}
		s.push(func() { s.acks = append(s.acks, ids...) })
		return nil // open ones come in a message of their own
	}
	return h.cfg.Ledger.SetOpen(ctx, s.node, open)
}

// mayMeter refuses a segment of a pod that is known to be on another node. A pod that is no longer
// known (removed by force while it still stopped) is billed by the node that ran it.
func (h *Hub) mayMeter(node, uid string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ref, ok := h.pods.uids[uid]; ok && ref.node != node {
		return fmt.Errorf("pod %s is on node %s", uid, ref.node)
	}
	return nil
}

// mark says that the nodelet has to see the pod's present state.
func (s *session) mark(uid string, key controlplane.Key) {
	s.push(func() {
		if _, ok := s.dirty[uid]; !ok {
			s.order = append(s.order, uid)
		}
		s.dirty[uid] = key
	})
}

// resync sends the whole desired state again.
func (s *session) resync() { s.push(func() { s.sync = true }) }

func (s *session) push(change func()) {
	s.mu.Lock()
	change()
	over := len(s.acks) > maxAcks
	s.mu.Unlock()
	if over {
		s.cancel(fmt.Errorf("node %s: %d acknowledgements wait unread", s.node, maxAcks))
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// work is what the sender takes at once.
type work struct {
	sync  bool
	pods  []podRef
	acks  []*nodev1.SegmentID
	opens []*nodev1.Open
}

func (s *session) take() work {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := work{sync: s.sync, acks: s.acks, opens: s.opens}
	if !s.sync {
		for _, uid := range s.order {
			w.pods = append(w.pods, podRef{uid: uid, node: s.node, key: s.dirty[uid]})
		}
	}
	s.sync, s.acks, s.opens, s.order = false, nil, nil, nil
	clear(s.dirty)
	return w
}

func (h *Hub) send(ctx context.Context, s *session, stream grpc.BidiStreamingServer[nodev1.FromNode, nodev1.ToNode]) error {
	for {
		w := s.take()
		if w.sync {
			if err := stream.Send(&nodev1.ToNode{Message: &nodev1.ToNode_Sync{Sync: h.desired(s.node)}}); err != nil {
				return err
			}
		}
		for _, p := range w.pods {
			if err := stream.Send(h.present(p)); err != nil {
				return err
			}
		}
		for _, o := range w.opens {
			if err := stream.Send(&nodev1.ToNode{Message: &nodev1.ToNode_Open{Open: o}}); err != nil {
				return err
			}
		}
		for acks := range slices.Chunk(w.acks, 1000) {
			if err := stream.Send(&nodev1.ToNode{Message: &nodev1.ToNode_Ack{Ack: &nodev1.SegmentsAck{Ids: acks}}}); err != nil {
				return err
			}
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// peerNode answers the node in whose name the peer's verified certificate was issued.
func peerNode(ctx context.Context) (string, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", status.Error(codes.Unauthenticated, "no peer")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return "", status.Error(codes.Unauthenticated, "a node's client certificate is required: join with a token first")
	}
	return nodeOf(info.State.VerifiedChains[0][0])
}

// The names that Kubernetes gives nodes and their group.
const (
	nodePrefix = "system:node:"
	nodeGroup  = "system:nodes"
)

func nodeOf(cert *x509.Certificate) (string, error) {
	name, ok := strings.CutPrefix(cert.Subject.CommonName, nodePrefix)
	if !ok || name == "" || !slices.Contains(cert.Subject.Organization, nodeGroup) {
		return "", status.Errorf(codes.PermissionDenied, "certificate %q is not a node's", cert.Subject.CommonName)
	}
	return name, nil
}

func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	switch {
	case errors.Is(err, errReplaced):
		return status.Error(codes.Aborted, err.Error())
	case errors.Is(err, controlplane.ErrNotLeader), errors.Is(err, controlplane.ErrUnavailable), errors.Is(err, context.Canceled):
		return status.Error(codes.Unavailable, err.Error())
	}
	return status.Error(codes.Internal, err.Error())
}
