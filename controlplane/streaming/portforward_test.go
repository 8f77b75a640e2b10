package streaming

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// dialer answers client-go's: over SPDY, over a WebSocket, or as kubectl tries them.
func (w *world) dialer(way string) httpstream.Dialer {
	w.t.Helper()
	u := w.url("/portforward", nil)
	transport, upgrader, err := spdy.RoundTripperFor(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	direct := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, u)
	tunnelled, err := portforward.NewSPDYOverWebsocketDialerForStreaming(u, w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	switch way {
	case "SPDY":
		return direct
	case "WebSocket":
		return tunnelled
	}
	return portforward.NewFallbackDialerForStreaming(tunnelled, direct, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}

// forward opens a local port for each of the pod's, and answers their addresses, and how the forwarding
// ends.
func (w *world) forward(way string, ports ...int) (addrs []string, stop func(), ended chan error) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var specs []string
	for _, p := range ports {
		specs = append(specs, fmt.Sprintf("0:%d", p))
	}
	ready := make(chan struct{})
	f, err := portforward.NewOnAddressesForStreamingWithContext(ctx, w.dialer(way), []string{"127.0.0.1"}, specs, ready, io.Discard, io.Discard)
	if err != nil {
		w.t.Fatal(err)
	}
	ended = make(chan error, 1)
	go func() { ended <- f.ForwardPorts() }()
	w.t.Cleanup(cancel)
	select {
	case <-ready:
	case err := <-ended:
		w.t.Fatal(err)
	}
	local, err := f.GetPorts()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range local {
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", p.Local))
	}
	return addrs, cancel, ended
}

// upper answers in capitals when the other side has said all.
func upper(n *node) {
	if in, ended := n.input(); ended {
		for len(in) > 0 {
			k := min(len(in), 64<<10)
			if !n.write(stdout, strings.ToUpper(in[:k])) {
				return
			}
			in = in[k:]
		}
		n.result(&nodev1.Result{})
	}
}

// talk says something at an address and answers what comes back.
func talk(addr, say string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close() //nolint:errcheck // it is read to its end
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, say); err != nil {
		return "", err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(conn)
	return string(b), err
}

// TestForward: several connections at once, to several ports, each with its own bytes.
func TestForward(t *testing.T) {
	each(t, func(t *testing.T, way string) {
		var toPort [2]atomic.Int32
		w := newWorld(t, func(n *node) {
			r := n.open.GetPortForward()
			if r.GetPodUid() != "u1" || r.Port != 80 && r.Port != 81 {
				t.Errorf("the nodelet is asked for %v", n.open)
			}
			toPort[r.Port-80].Add(1)
			upper(n)
		})
		addrs, stop, ended := w.forward(way, 80, 81)
		var clients sync.WaitGroup
		for i := range 20 {
			clients.Go(func() {
				say := strings.Repeat(fmt.Sprintf("hello %d ", i), 10_000)
				if got, err := talk(addrs[i%2], say); err != nil || got != strings.ToUpper(say) {
					t.Errorf("connection %d: %d bytes come back, %v", i, len(got), err)
				}
			})
		}
		clients.Wait()
		if toPort[0].Load() != 10 || toPort[1].Load() != 10 {
			t.Errorf("connections to the ports: %d, %d", toPort[0].Load(), toPort[1].Load())
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestForwardIsLeft: connections end with their client.
func TestForwardIsLeft(t *testing.T) {
	each(t, func(t *testing.T, way string) {
		started, left := make(chan struct{}), make(chan struct{})
		w := newWorld(t, func(n *node) {
			close(started)
			n.left()
			close(left)
		})
		addrs, stop, _ := w.forward(way, 80)
		conn, err := net.Dial("tcp", addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // nobody answers
		<-started
		stop()
		<-left
	})
}

// connection opens the two streams of one forwarded connection by hand.
func connection(t *testing.T, conn httpstream.Connection, port, id string) (data, errs httpstream.Stream) {
	t.Helper()
	header := http.Header{}
	header.Set(corev1.PortHeader, port)
	header.Set(corev1.PortForwardRequestIDHeader, id)
	var err error
	header.Set(corev1.StreamType, corev1.StreamTypeError)
	if errs, err = conn.CreateStream(header); err != nil {
		t.Fatal(err)
	}
	header.Set(corev1.StreamType, corev1.StreamTypeData)
	if data, err = conn.CreateStream(header); err != nil {
		t.Fatal(err)
	}
	return data, errs
}

// TestForwardFails: a port that refuses is told on the error stream of its connection; others go on.
func TestForwardFails(t *testing.T) {
	each(t, func(t *testing.T, way string) {
		w := newWorld(t, func(n *node) {
			switch n.open.GetPortForward().Port {
			case 80:
				upper(n)
			case 81:
				n.result(&nodev1.Result{Reason: "InternalError", Message: "port 81: connect: connection refused"})
			case 82:
				close(n.w.broken)
			}
		})
		conn, protocol, err := w.dialer(way).Dial(portforward.PortForwardProtocolV1Name)
		if err != nil || protocol != portforward.PortForwardProtocolV1Name {
			t.Fatal(protocol, err)
		}
		defer conn.Close() //nolint:errcheck // the server's end is what is tested
		open, _ := connection(t, conn, "80", "1")
		for id, c := range map[string]struct{ port, says string }{
			"2": {"81", "error forwarding port 81 to pod web: port 81: connect: connection refused"},
			"3": {"82", "error forwarding port 82 to pod web: broken"},
		} {
			data, errs := connection(t, conn, c.port, id)
			if said, err := io.ReadAll(errs); err != nil || string(said) != c.says {
				t.Errorf("port %s tells %q, %v", c.port, said, err)
			}
			if said, err := io.ReadAll(data); err != nil || len(said) != 0 {
				t.Errorf("port %s says %q, %v", c.port, said, err)
			}
		}
		w.mu.Lock()
		w.openErr = fmt.Errorf("node a: the nodelet is not connected: %w", controlplane.ErrUnavailable)
		w.mu.Unlock()
		_, errs := connection(t, conn, "80", "4")
		if said, err := io.ReadAll(errs); err != nil || !strings.Contains(string(said), "the nodelet is not connected") {
			t.Errorf("a node that isn't there tells %q, %v", said, err)
		}
		if _, err := io.WriteString(open, "still here"); err != nil {
			t.Fatal(err)
		}
		if err := open.Close(); err != nil {
			t.Fatal(err)
		}
		if said, err := io.ReadAll(open); err != nil || string(said) != "STILL HERE" {
			t.Errorf("the first connection answers %q, %v", said, err)
		}
	})
}

// TestForwardedStreams: what isn't a forwarded port's is refused, and half a connection has its time.
func TestForwardedStreams(t *testing.T) {
	w := newWorld(t, func(n *node) { n.left() })
	conn, _, err := w.dialer("SPDY").Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the server's end is what is tested
	for name, header := range map[string]http.Header{
		"no port":      {"Streamtype": {"error"}},
		"port 0":       {"Streamtype": {"error"}, "Port": {"0"}},
		"port 65536":   {"Streamtype": {"data"}, "Port": {"65536"}},
		"another type": {"Streamtype": {"stdin"}, "Port": {"80"}},
	} {
		if s, err := conn.CreateStream(header); err == nil {
			if _, err := s.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: it is taken", name)
			}
		}
	}

	f := &forwarding{server: w.server, pod: running(), ctx: t.Context(), ready: make(chan struct{}), pairs: map[string]*pair{}}
	half := func(id string) *fakeHalf {
		return &fakeHalf{header: http.Header{"Streamtype": {"error"}, "Port": {"80"}, "Requestid": {id}}}
	}
	first := half("0")
	if err := f.accept(first, nil); err != nil {
		t.Fatal(err)
	}
	f.giveUp("0", f.pairs["0"])
	if !first.reset || len(f.pairs) != 0 {
		t.Errorf("half a connection stays: %v", f.pairs)
	}
	for i := range maxHalf {
		if err := f.accept(half(fmt.Sprint(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.accept(half("one more"), nil); err == nil {
		t.Error("halves of connections have no bound")
	}
	f.close()
	if err := f.accept(half("late"), nil); err == nil {
		t.Error("a stream is taken after the end")
	}
}

// TestForwardForgets: a connection that is over costs nothing for as long as the client stays.
func TestForwardForgets(t *testing.T) {
	server := New(Config{Open: func(context.Context, string, *nodev1.Open) (controlplane.Stream, error) { return nil, errors.New("no") }})
	conn := &fakeConnection{removed: make(chan int, 1)}
	f := &forwarding{server: server, pod: running(), ctx: t.Context(), ready: make(chan struct{}), conn: conn, pairs: map[string]*pair{}}
	close(f.ready)
	replied := make(chan struct{})
	close(replied)
	for _, kind := range []string{"error", "data"} {
		if err := f.accept(&fakeHalf{header: http.Header{"Streamtype": {kind}, "Port": {"80"}, "Requestid": {"1"}}}, replied); err != nil {
			t.Fatal(err)
		}
	}
	f.close()
	select {
	case n := <-conn.removed:
		if n != 2 || len(f.pairs) != 0 {
			t.Errorf("%d streams are forgotten, %d pairs kept", n, len(f.pairs))
		}
	default:
		t.Error("the streams are kept")
	}
}

type fakeConnection struct {
	httpstream.Connection
	removed chan int
}

func (c *fakeConnection) RemoveStreams(s ...httpstream.Stream) { c.removed <- len(s) }

type fakeHalf struct {
	httpstream.Stream
	header http.Header
	reset  bool
}

func (s *fakeHalf) Write(b []byte) (int, error) { return len(b), nil }
func (s *fakeHalf) Close() error                { return nil }

func (s *fakeHalf) Headers() http.Header { return s.header }

func (s *fakeHalf) Reset() error {
	s.reset = true
	return nil
}

// TestForwardFallback: as kubectl does it.
func TestForwardFallback(t *testing.T) {
	w := newWorld(t, upper)
	var refused atomic.Int32
	w.refuse = func(r *http.Request) bool {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			refused.Add(1)
			return true
		}
		return false
	}
	addrs, _, _ := w.forward("kubectl", 80)
	if got, err := talk(addrs[0], "hello"); err != nil || got != "HELLO" || refused.Load() != 1 {
		t.Errorf("%q, %v after %d refusals", got, err, refused.Load())
	}
}

// TestForwardRefused: before anything is upgraded.
func TestForwardRefused(t *testing.T) {
	w := newWorld(t, func(n *node) { t.Error("a node is asked") })
	if st := w.get("/portforward"); st.Code != 400 || st.Message != "Upgrade request required" {
		t.Errorf("%d %q", st.Code, st.Message)
	}
	w.setPod(with(func(p *corev1.Pod) { p.Spec.NodeName = "" }))
	for _, way := range bothWays {
		_, _, err := w.dialer(way).Dial(portforward.PortForwardProtocolV1Name)
		var upgrade *httpstream.UpgradeFailureError
		if err == nil || way == "WebSocket" && !errors.As(err, &upgrade) || !strings.Contains(err.Error(), "pod web does not have a host assigned") {
			t.Errorf("%s: a pod without a node tells %v", way, err)
		}
	}
}
