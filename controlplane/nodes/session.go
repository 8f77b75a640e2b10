package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// What waits for a nodelet that doesn't read is bounded. One with too many acknowledgements unread is
// cut off; too many marked pods become one Sync; an exchange too many is refused to who asks for it.
const (
	maxAcks  = 1 << 16
	maxMarks = 1 << 14
	maxOpens = 256
)

// session is one connected nodelet. Its sender is the only writer of the stream.
type session struct {
	node   string
	cancel context.CancelCauseFunc
	gone   <-chan struct{} // closed when it ends
	wake   chan struct{}   // capacity 1
	work   sync.WaitGroup  // the handler and its goroutines

	mu           sync.Mutex // guards what follows
	heard        time.Time  // when the nodelet last said something
	sync         bool       // everything is to be sent again
	dirty        map[string]controlplane.Key
	order        []string // uids of dirty, first marked first
	acks         []*nodev1.SegmentID
	opens        []*nodev1.Open
	boosts       map[string]bool          // pods whose nodelet has to hear what was granted to them
	heardHistory uint64                   // to be acknowledged; 0: none
	grant        *controlplane.PoolGrant  // to be sent
	granted      controlplane.Demand      // last
	pool         *controlplane.PoolReport // last; nil: it has none
}

var errReplaced = errors.New("another session of this node has begun")

// Session serves one nodelet until it goes, falls silent or another one takes its name.
func (h *Hub) Session(stream grpc.BidiStreamingServer[nodev1.FromNode, nodev1.ToNode]) error {
	node, err := peerNode(stream.Context())
	if err != nil {
		return err
	}
	select {
	case <-h.loaded:
	case <-h.closed:
		return toStatus(errClosed)
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
	hello, described, err := receiveHello(stream, node)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	s := &session{
		node: node, cancel: cancel, gone: ctx.Done(), wake: make(chan struct{}, 1),
		dirty: map[string]controlplane.Key{}, sync: true, heard: time.Now(),
	}
	if err := h.register(s); err != nil {
		return toStatus(err)
	}
	defer h.wg.Done()
	defer s.work.Done()
	defer h.unregister(s)
	h.boostsHeld(node, hello.Pods)
	h.poolReport(s, hello.Pool, true)
	if err := h.nodeConnected(ctx, described); err != nil {
		return toStatus(err)
	}
	h.cfg.Log.Info("nodelet connected", "node", node, "version", hello.Version, "pods", len(hello.Pods))

	// Both end with the stream, which ends when this handler returns: a nodelet that doesn't read can't
	// hold up the end of its session.
	h.start(s, func() { cancel(h.send(ctx, s, stream)) })
	h.start(s, func() { cancel(h.receive(ctx, s, stream, hello)) })
	<-ctx.Done()
	err = context.Cause(ctx)
	h.cfg.Log.Info("nodelet disconnected", "node", node, "cause", err)
	return toStatus(err)
}

func (h *Hub) start(s *session, f func()) {
	s.work.Add(1)
	h.wg.Go(func() {
		defer s.work.Done()
		f()
	})
}

func receiveHello(stream grpc.BidiStreamingServer[nodev1.FromNode, nodev1.ToNode], node string) (*nodev1.Hello, *corev1.Node, error) {
	first, err := stream.Recv()
	if err != nil {
		return nil, nil, err
	}
	hello := first.GetHello()
	if hello == nil {
		return nil, nil, status.Error(codes.InvalidArgument, "the first message of a session must be hello")
	}
	var described corev1.Node
	if err := described.Unmarshal(hello.Node); err != nil {
		return nil, nil, status.Errorf(codes.InvalidArgument, "hello.node: %v", err)
	}
	if described.Name != node {
		return nil, nil, status.Errorf(codes.PermissionDenied, "hello.node: name %q: the certificate is for %q", described.Name, node)
	}
	return hello, &described, nil
}

// register makes s its node's session. The one before has ended when it returns: what it still had to
// say would be older than what s says. A nil error obliges to call h.wg.Done and s.work.Done.
func (h *Hub) register(s *session) error {
	h.mu.Lock()
	if h.shut {
		h.mu.Unlock()
		return errClosed
	}
	h.wg.Add(1)
	s.work.Add(1)
	old := h.sessions[s.node]
	h.sessions[s.node] = s
	delete(h.lost, s.node)
	h.mu.Unlock()
	if old != nil {
		old.cancel(errReplaced)
		old.work.Wait()
	}
	return nil
}

func (h *Hub) unregister(s *session) {
	h.mu.Lock()
	current := h.sessions[s.node] == s
	h.mu.Unlock()
	if !current {
		return
	}
	// Its slots are given up with it, here and in the ledger.
	h.mu.Lock()
	h.slots.removeOn(s.node)
	h.mu.Unlock()
	// It stays in its place meanwhile, so that the next one waits for this.
	h.nodeLost(s.node)
	s.mu.Lock()
	heard := s.heard
	s.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[s.node] == s {
		delete(h.sessions, s.node)
		h.lost[s.node] = heard.Add(h.cfg.Silence)
	}
}

// receive handles what the nodelet says, in the order in which it says it.
func (h *Hub) receive(ctx context.Context, s *session, stream grpc.BidiStreamingServer[nodev1.FromNode, nodev1.ToNode], hello *nodev1.Hello) error {
	// Time that we take ourselves isn't the nodelet's silence.
	silence := time.AfterFunc(h.cfg.Silence, func() {
		s.cancel(status.Errorf(codes.DeadlineExceeded, "node %s: nothing was heard for %s", s.node, h.cfg.Silence))
	})
	defer silence.Stop()
	silence.Stop()
	err := h.reports(ctx, s, hello.Pods)
	h.slotReports(s, hello.Slots)
	for err == nil {
		silence.Reset(h.cfg.Silence)
		var m *nodev1.FromNode
		m, err = stream.Recv()
		silence.Stop()
		if err != nil {
			break
		}
		s.mu.Lock()
		s.heard = time.Now()
		s.mu.Unlock()
		switch m := m.Message.(type) {
		case *nodev1.FromNode_Reports:
			err = h.reports(ctx, s, m.Reports.Pods)
		case *nodev1.FromNode_Slots:
			h.slotReports(s, m.Slots.Slots)
		case *nodev1.FromNode_Segments:
			err = h.segments(ctx, s, m.Segments.Segments)
		case *nodev1.FromNode_Heartbeat:
			h.heartbeat(s, m.Heartbeat)
		case *nodev1.FromNode_Pool:
			h.poolReport(s, m.Pool, false)
		case *nodev1.FromNode_History:
			h.history(s, m.History)
		default:
			err = status.Errorf(codes.InvalidArgument, "message %T in a session", m)
		}
	}
	return err
}

// mark says that the nodelet has to see the pod's present state.
func (s *session) mark(uid string, key controlplane.Key) {
	s.push(func() {
		if _, ok := s.dirty[uid]; !ok {
			s.order = append(s.order, uid)
		}
		s.dirty[uid] = key
		if len(s.order) > maxMarks {
			s.sync, s.order = true, nil
			clear(s.dirty)
		}
	})
}

// ask queues a request for an exchange, unless too many wait.
func (s *session) ask(open *nodev1.Open) bool {
	asked := false
	s.push(func() {
		if asked = len(s.opens) < maxOpens; asked {
			s.opens = append(s.opens, open)
		}
	})
	return asked
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
	sync    bool
	pods    []podRef
	acks    []*nodev1.SegmentID
	opens   []*nodev1.Open
	boosts  map[string]bool
	history uint64
	grant   *controlplane.PoolGrant
}

func (s *session) take() work {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := work{sync: s.sync, acks: s.acks, opens: s.opens, boosts: s.boosts, history: s.heardHistory, grant: s.grant}
	if !s.sync {
		for _, uid := range s.order {
			w.pods = append(w.pods, podRef{uid: uid, node: s.node, key: s.dirty[uid]})
		}
	}
	s.sync, s.acks, s.opens, s.order, s.boosts, s.heardHistory, s.grant = false, nil, nil, nil, nil, 0, nil
	clear(s.dirty)
	return w
}

func (h *Hub) send(ctx context.Context, s *session, stream grpc.BidiStreamingServer[nodev1.FromNode, nodev1.ToNode]) error {
	for {
		w := s.take()
		// First, since what follows may take room from it.
		if w.grant != nil {
			if err := stream.Send(grantMessage(w.grant)); err != nil {
				return err
			}
		}
		if w.sync {
			if err := h.sendDesired(s.node, stream.Send); err != nil {
				return err
			}
		}
		for _, p := range w.pods {
			if err := stream.Send(h.present(p)); err != nil {
				return err
			}
		}
		if err := h.sendBoosts(w.boosts, stream.Send); err != nil {
			return err
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
		if w.history > 0 {
			if err := stream.Send(&nodev1.ToNode{Message: &nodev1.ToNode_HistoryAck{HistoryAck: &nodev1.UsageHistoryAck{Sequence: w.history}}}); err != nil {
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

func toStatus(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
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
