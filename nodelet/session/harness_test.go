package session

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/internal/pki"
)

// fakeHub is the control plane's end, played by the test.
type fakeHub struct {
	nodev1.UnimplementedFleetServer
	sessions chan *talk
	streams  chan *exchange
}

// talk is one session at the fake hub.
type talk struct {
	t      *testing.T
	stream grpc.BidiStreamingServer[nodev1.FromNode, nodev1.ToNode]
	end    chan error // what the handler returns
}

type exchange struct {
	stream grpc.BidiStreamingServer[nodev1.Frame, nodev1.Frame]
	end    chan error
}

func (h *fakeHub) Session(s grpc.BidiStreamingServer[nodev1.FromNode, nodev1.ToNode]) error {
	c := &talk{stream: s, end: make(chan error, 1)}
	h.sessions <- c
	select {
	case err := <-c.end:
		return err
	case <-s.Context().Done():
		return s.Context().Err()
	}
}

func (h *fakeHub) Stream(s grpc.BidiStreamingServer[nodev1.Frame, nodev1.Frame]) error {
	x := &exchange{stream: s, end: make(chan error, 1)}
	h.streams <- x
	select {
	case err := <-x.end:
		return err
	case <-s.Context().Done():
		return s.Context().Err()
	}
}

// world is a session against a fake hub over TLS.
type world struct {
	t       *testing.T
	ca      *pki.CA
	hub     *fakeHub
	server  *grpc.Server
	addr    string
	pods    *fakePods
	journal *fakeJournal
	cfg     Config
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, pods: newFakePods(), journal: newFakeJournal(),
		hub: &fakeHub{sessions: make(chan *talk, 16), streams: make(chan *exchange, 16)}}
	var err error
	if w.ca, err = pki.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	w.addr = "127.0.0.1:0"
	w.serve()
	w.cfg = Config{
		Address: w.addr, TLS: w.clientTLS(w.ca), Version: "test", Heartbeat: MaxHeartbeat, Log: slog.New(slog.DiscardHandler),
		Node:    func() *corev1.Node { return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}} },
		Pods:    w.pods,
		Journal: w.journal,
		Serve:   func(context.Context, *nodev1.Open, Stream) error { return nil },
	}
	return w
}

// serve starts the server, the second time at the same address.
func (w *world) serve() {
	w.t.Helper()
	cert, err := w.ca.Server("server", []string{"127.0.0.1"})
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := net.Listen("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.addr = l.Addr().String()
	server := grpc.NewServer(grpc.WaitForHandlers(true), grpc.MaxRecvMsgSize(64<<20), grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{cert}, ClientCAs: w.ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	})))
	nodev1.RegisterFleetServer(server, w.hub)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	w.server = server
	w.t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			w.t.Errorf("Serve: %v", err)
		}
	})
}

func (w *world) clientTLS(ca *pki.CA) *tls.Config {
	w.t.Helper()
	csr, key, err := pki.NewRequest("a")
	if err != nil {
		w.t.Fatal(err)
	}
	certPEM, _, err := ca.SignNode(csr, "a")
	if err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode(certPEM)
	return &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{{Certificate: [][]byte{block.Bytes}, PrivateKey: key}}}
}

// run starts the session; its end, at the latest with the test, leaves no goroutine.
func (w *world) run() (stop func()) {
	w.t.Helper()
	s, err := New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				w.t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			w.t.Fatal("Run doesn't end")
		}
		buf := make([]byte, 4<<20)
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "session.(*Session).") || strings.Contains(g, "session.(*sender).") {
				w.t.Errorf("a goroutine is left:\n%s", g)
			}
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// next answers the next session and its hello.
func (w *world) next() (*talk, *nodev1.Hello) {
	w.t.Helper()
	select {
	case c := <-w.hub.sessions:
		c.t = w.t
		hello := c.receive().GetHello()
		if hello == nil {
			w.t.Fatal("the session begins without a hello")
		}
		return c, hello
	case <-time.After(patience):
		w.t.Fatal("no session begins")
		return nil, nil
	}
}

func (c *talk) receive() *nodev1.FromNode {
	c.t.Helper()
	got := make(chan *nodev1.FromNode, 1)
	failed := make(chan error, 1)
	go func() {
		m, err := c.stream.Recv()
		if err != nil {
			failed <- err
			return
		}
		got <- m
	}()
	select {
	case m := <-got:
		return m
	case err := <-failed:
		c.t.Fatalf("the session ended: %v", err)
	case <-time.After(patience):
		c.t.Fatal("the nodelet says nothing")
	}
	return nil
}

// told answers what the nodelet says next: its segments by id, open ones in brackets; its reports by uid
// and phase, finished ones with a star.
func (c *talk) told() string {
	c.t.Helper()
	return tell(c.receive())
}

func tell(m *nodev1.FromNode) string {
	switch m := m.Message.(type) {
	case *nodev1.FromNode_Heartbeat:
		return "heartbeat"
	case *nodev1.FromNode_History:
		out := fmt.Sprintf("history %d", m.History.Sequence)
		for _, p := range m.History.Pods {
			out += " " + p.Uid
		}
		if m.History.Again {
			out += " again"
		}
		return out
	case *nodev1.FromNode_Segments:
		out := "segments"
		for _, s := range m.Segments.Segments {
			if s.EndUnixMilli == 0 {
				out += fmt.Sprintf(" [%s/%d]", s.PodUid, s.Sequence)
			} else {
				out += fmt.Sprintf(" %s/%d", s.PodUid, s.Sequence)
			}
		}
		return out
	case *nodev1.FromNode_Slots:
		return "slots" + describeSlots(m.Slots.Slots)
	case *nodev1.FromNode_Pool:
		return "pool" + describePool(m.Pool)
	case *nodev1.FromNode_Reports:
		return "reports" + describeReports(m.Reports.Pods)
	}
	return fmt.Sprintf("%T", m.Message)
}

func describePool(p *nodev1.PoolReport) string {
	return fmt.Sprintf(" want %d held %d heard %d", p.GetWant().GetCpuMilli(), p.GetHeld().GetCpuMilli(), p.GetHeard())
}

func describeSlots(in []*nodev1.SlotReport) string {
	out := ""
	for _, r := range in {
		out += " " + r.Uid + "=" + strings.TrimPrefix(r.Depth.String(), "SLOT_DEPTH_")
		if r.Message != "" {
			out += "+" + r.Message
		}
	}
	return out
}

func describeReports(in []*nodev1.PodReport) string {
	out := ""
	for _, r := range in {
		var st corev1.PodStatus
		if err := st.Unmarshal(r.Status); err != nil {
			return err.Error()
		}
		out += " " + r.Uid + "=" + string(st.Phase)
		if r.Finished {
			out += "*"
		}
		for _, e := range r.Events {
			out += "+" + e.Reason
		}
	}
	return out
}

func (c *talk) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.told(); got != w {
			c.t.Fatalf("the nodelet tells %q, want %q", got, w)
		}
	}
}

func (c *talk) send(m *nodev1.ToNode) {
	c.t.Helper()
	if err := c.stream.Send(m); err != nil {
		c.t.Fatal(err)
	}
}

func (c *talk) sync(pods ...*nodev1.Assignment) {
	c.t.Helper()
	c.send(&nodev1.ToNode{Message: &nodev1.ToNode_Sync{Sync: &nodev1.Sync{Pods: pods}}})
}

func (c *talk) ack(ids ...*nodev1.SegmentID) {
	c.t.Helper()
	c.send(&nodev1.ToNode{Message: &nodev1.ToNode_Ack{Ack: &nodev1.SegmentsAck{Ids: ids}}})
}

func id(pod string, sequence int64) *nodev1.SegmentID {
	return &nodev1.SegmentID{PodUid: pod, Generation: 1, Sequence: sequence}
}

func assign(t *testing.T, name string, with ...interface{ Marshal() ([]byte, error) }) *nodev1.Assignment {
	t.Helper()
	a := &nodev1.Assignment{}
	var err error
	if a.Pod, err = (&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}).Marshal(); err != nil {
		t.Fatal(err)
	}
	for _, o := range with {
		b, err := o.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, secret := o.(*corev1.Secret); secret {
			a.Secrets = append(a.Secrets, b)
		} else {
			a.ConfigMaps = append(a.ConfigMaps, b)
		}
	}
	return a
}
