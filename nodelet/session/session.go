package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/nodelet"
)

// pods is the nodelet behind the session.
type pods interface {
	// Sync takes the whole desired state.
	Sync(all []nodelet.Assignment)
	Assign(nodelet.Assignment)
	Remove(uid string)
	// Boost takes the answer to a pod's wish for CPU beyond its size while it starts.
	Boost(uid string, g nodelet.BoostGrant)
	// Reports answers every pod.
	Reports() []nodelet.Report
	// Take answers pods that changed since they were taken, each once, as they are now.
	Take(limit int) []nodelet.Report
	// Return puts back what was taken and not told.
	Return([]nodelet.Report)
	// Slots answers every slot that has no pod yet, TakeSlots those that changed since they were taken.
	Slots() []nodelet.SlotReport
	TakeSlots(limit int) []nodelet.SlotReport
	// Changed receives (capacity 1) when Take or TakeSlots has something.
	Changed() <-chan struct{}
	// Usage answers what the containers use.
	Usage(ctx context.Context) []*nodev1.PodUsage
	// TakeHistory answers what these pods (nil: all) have used since it was taken last, in messages of at most
	// so many pods; UnackedHistory what was taken and not acknowledged, to be sent again.
	TakeHistory(uids []string, most int) []*nodev1.UsageHistory
	UnackedHistory() []*nodev1.UsageHistory
	AckHistory(sequence uint64)
}

type journal interface {
	Open() []usagev1.Segment
	Pending(limit int) []usagev1.Segment
	Ack(ids []usagev1.ID) error
	Changed() <-chan struct{}
}

// Stream is the nodelet's side of an exchange.
type Stream interface {
	Send(*nodev1.Frame) error
	Recv() (*nodev1.Frame, error)
}

// Config says whom to dial and what to offer.
type Config struct {
	Address string              // host:port of the control plane's node endpoint
	TLS     *tls.Config         // with the node's certificate and the control plane's CA
	Node    func() *corev1.Node // what to tell of the host; asked at each connection
	Pods    pods
	Journal journal
	Pool    pool // nil: pods never have more than their size
	// Serve runs one exchange; what it returns has already been told to the other side.
	Serve func(ctx context.Context, open *nodev1.Open, s Stream) error
	// Conditions answers the host's conditions with each heartbeat. Optional.
	Conditions func() []corev1.NodeCondition
	// Heartbeat is the interval at which usage is sent. Default 10 s; at most 20 s, for the control plane
	// takes a nodelet that is silent for 40 s for gone.
	Heartbeat time.Duration
	// History is the interval at which histograms of usage are sent, each time a little earlier or later.
	// 0: they aren't.
	History time.Duration
	Version string
	Log     *slog.Logger
}

// Session dials until its context ends.
type Session struct {
	cfg  Config
	conn *grpc.ClientConn
}

// The wait between attempts doubles from the first to the last of these, with jitter.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// MaxHeartbeat is how rare a heartbeat may be: half of the silence after which a node counts as lost.
const MaxHeartbeat = 20 * time.Second

// New checks the configuration. It doesn't dial.
func New(cfg Config) (*Session, error) {
	if cfg.Address == "" || cfg.TLS == nil || cfg.Node == nil || cfg.Pods == nil || cfg.Journal == nil || cfg.Serve == nil {
		return nil, errors.New("session: address, TLS, node, pods, journal and serve are required")
	}
	if cfg.Heartbeat <= 0 {
		cfg.Heartbeat = 10 * time.Second
	}
	if cfg.Heartbeat > MaxHeartbeat {
		return nil, fmt.Errorf("session: a heartbeat every %s is too rare: at most every %s", cfg.Heartbeat, MaxHeartbeat)
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	conn, err := grpc.NewClient(cfg.Address,
		grpc.WithTransportCredentials(credentials.NewTLS(cfg.TLS)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)),
		// TLS has a record in a buffer of its own, and what is written goes out at once.
		grpc.WithReadBufferSize(0), grpc.WithSharedWriteBuffer(true),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: connectBackoff, MinConnectTimeout: 5 * time.Second}),
	)
	if err != nil {
		return nil, fmt.Errorf("session with %s: %w", cfg.Address, err)
	}
	return &Session{cfg: cfg, conn: conn}, nil
}

// Run keeps a session until ctx ends.
func (s *Session) Run(ctx context.Context) error {
	defer s.conn.Close()
	wait := firstRetry
	for ctx.Err() == nil {
		began := time.Now()
		err := s.once(ctx)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > lastRetry {
			wait = firstRetry
		}
		s.cfg.Log.Warn("control plane session ended", "address", s.cfg.Address, "cause", err, "retry", wait)
		timer := time.NewTimer(wait/2 + rand.N(wait))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		wait = min(wait*2, lastRetry)
	}
	return nil
}

// once is one stream from hello to its end.
func (s *Session) once(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client := nodev1.NewFleetClient(s.conn)
	stream, err := client.Session(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	// A pod that ended while there was no session: its segments go first.
	running, ended := split(s.cfg.Pods.Reports())
	hello, err := s.hello(running)
	if err != nil {
		return err
	}
	sender := &sender{cfg: &s.cfg, stream: stream, sent: map[usagev1.ID]bool{}, pool: poolTeller{pool: s.cfg.Pool}}
	hello.Pool = sender.pool.hello()
	defer sender.pool.stop()
	if sender.ended, err = reports(ended); err != nil {
		return err
	}
	if err := stream.Send(&nodev1.FromNode{Message: &nodev1.FromNode_Hello{Hello: hello}}); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel() // before the wait
	received := make(chan error, 1)
	acked := make(chan []usagev1.ID, 16)
	wg.Go(func() { received <- s.receive(ctx, client, stream, acked, &sender.pool, &wg) })
	return sender.run(ctx, acked, received)
}

func split(all []nodelet.Report) (running, ended []nodelet.Report) {
	for _, r := range all {
		if hasEnded(r) {
			ended = append(ended, r)
		} else {
			running = append(running, r)
		}
	}
	return running, ended
}

func (s *Session) hello(running []nodelet.Report) (*nodev1.Hello, error) {
	node, err := s.cfg.Node().Marshal()
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	hello := &nodev1.Hello{Version: s.cfg.Version, Node: node}
	hello.Slots = slotReports(s.cfg.Pods.Slots())
	hello.Pods, err = reports(running)
	return hello, err
}

// receive applies what the control plane says.
func (s *Session) receive(ctx context.Context, client nodev1.FleetClient, stream grpc.BidiStreamingClient[nodev1.FromNode, nodev1.ToNode], acked chan<- []usagev1.ID, pool *poolTeller, wg *sync.WaitGroup) error {
	var all []nodelet.Assignment // the parts of a Sync so far
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		switch m := m.Message.(type) {
		case *nodev1.ToNode_Sync:
			for _, p := range m.Sync.Pods {
				a, err := assignment(p)
				if err != nil {
					return err // acting on a part of the desired state would remove pods
				}
				all = append(all, a)
			}
			if !m.Sync.More {
				s.cfg.Pods.Sync(all)
				all = nil
			}
		case *nodev1.ToNode_Assign:
			a, err := assignment(m.Assign)
			if err != nil {
				return err
			}
			s.cfg.Pods.Assign(a)
		case *nodev1.ToNode_Boost:
			s.cfg.Pods.Boost(m.Boost.Uid, nodelet.BoostGrant{Ask: m.Boost.Ask, CPU: m.Boost.CpuMilli})
		case *nodev1.ToNode_Remove:
			s.cfg.Pods.Remove(m.Remove.Uid)
		case *nodev1.ToNode_Ack:
			ids := make([]usagev1.ID, 0, len(m.Ack.Ids))
			for _, id := range m.Ack.Ids {
				ids = append(ids, usagev1.ID{PodUID: id.PodUid, Generation: id.Generation, Sequence: id.Sequence})
			}
			if err := s.cfg.Journal.Ack(ids); err != nil {
				return err
			}
			select {
			case acked <- ids:
			case <-ctx.Done():
				return ctx.Err()
			}
		case *nodev1.ToNode_HistoryAck:
			s.cfg.Pods.AckHistory(m.HistoryAck.Sequence)
		case *nodev1.ToNode_Pool:
			if err := pool.granted(m.Pool); err != nil {
				return err
			}
		case *nodev1.ToNode_Open:
			wg.Go(func() { s.serve(ctx, client, m.Open) })
		}
	}
}

// serve opens the stream that the control plane asked for and runs the exchange on it.
func (s *Session) serve(ctx context.Context, client nodev1.FleetClient, open *nodev1.Open) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Stream(ctx)
	if err == nil {
		err = stream.Send(&nodev1.Frame{Frame: &nodev1.Frame_Begin{Begin: &nodev1.Begin{Id: open.Id}}})
	}
	if err == nil {
		err = s.cfg.Serve(stream.Context(), open, stream)
	}
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.Debug("stream ended", "id", open.Id, "cause", err)
	}
	if stream != nil {
		if stream.CloseSend() == nil {
			// Wait for the other side to have read everything: it ends the call.
			for {
				if _, err := stream.Recv(); err != nil {
					break
				}
			}
		}
	}
}
