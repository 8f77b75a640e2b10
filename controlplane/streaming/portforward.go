package streaming

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/portforward"
	tunnel "k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	nodev1 "swell.dev/swell/api/node/v1"
)

// PortForward connects a client to ports of a pod: for each connection the client opens an error stream
// and a data stream with the same request id.
func (s *Server) PortForward(w http.ResponseWriter, r *http.Request, pod *corev1.Pod) {
	err := onNode(pod)
	if err == nil {
		err = wantsUpgrade(r)
	}
	if err != nil {
		fail(w, err)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	f := &forwarding{server: s, pod: pod, ctx: ctx, ready: make(chan struct{}), pairs: map[string]*pair{}}
	conn, err := upgrade(w, r, f.accept)
	if err != nil {
		return // the client has its answer
	}
	defer conn.Close()
	conn.SetIdleTimeout(idleFor)
	f.conn = conn
	close(f.ready)
	select {
	case <-conn.CloseChan():
	case <-ctx.Done():
	}
	cancel()
	f.close()
}

// idleFor is how long a client's connection may be silent.
const idleFor = 4 * time.Hour

// upgrade answers the SPDY connection, directly or through a WebSocket.
func upgrade(w http.ResponseWriter, r *http.Request, accept httpstream.NewStreamHandler) (httpstream.Connection, error) {
	if !wsstream.IsWebSocketRequestWithTunnelingProtocol(r) {
		if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardV1Name}); err != nil {
			return nil, err // it has answered the client
		}
		conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, accept)
		if conn == nil {
			return nil, errors.New("no upgrade to SPDY") // it has answered the client
		}
		return conn, nil
	}
	upgrader := websocket.Upgrader{
		HandshakeTimeout: openWithin, CheckOrigin: func(*http.Request) bool { return true }, // clients authenticate by certificate or token, not by cookie
		Subprotocols: []string{portforward.WebsocketsSPDYTunnelingPortForwardV1},
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil, err
	}
	return spdy.NewServerConnection(tunnel.NewTunnelingConnection("server", ws), accept)
}

// forwarding is one client's connection.
type forwarding struct {
	server *Server
	pod    *corev1.Pod
	ctx    context.Context // of the request: accept is called by the connection
	ready  chan struct{}   // closed when conn is set
	conn   httpstream.Connection
	wg     sync.WaitGroup

	mu     sync.Mutex // guards what follows
	closed bool
	pairs  map[string]*pair // those that lack a stream
}

// pair is the two streams of one forwarded connection.
type pair struct {
	data, err httpstream.Stream
	timeout   *time.Timer
}

// maxHalf bounds the connections of one client that lack a stream.
const maxHalf = 256

// close waits for the connections under way; they end with the context.
func (f *forwarding) close() {
	f.mu.Lock()
	f.closed = true
	for _, p := range f.pairs {
		p.timeout.Stop()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

func (f *forwarding) accept(s httpstream.Stream, replied <-chan struct{}) error {
	port, err := strconv.ParseUint(s.Headers().Get(corev1.PortHeader), 10, 16)
	if err != nil || port == 0 {
		return fmt.Errorf("header %s: %q is not a port", corev1.PortHeader, s.Headers().Get(corev1.PortHeader))
	}
	kind := s.Headers().Get(corev1.StreamType)
	if kind != corev1.StreamTypeError && kind != corev1.StreamTypeData {
		return fmt.Errorf("header %s: %q is neither %s nor %s", corev1.StreamType, kind, corev1.StreamTypeData, corev1.StreamTypeError)
	}
	id := s.Headers().Get(corev1.PortForwardRequestIDHeader)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return errors.New("the connection ends")
	}
	p := f.pairs[id]
	if p == nil {
		if len(f.pairs) >= maxHalf {
			return fmt.Errorf("%d connections lack a stream", maxHalf)
		}
		p = &pair{}
		p.timeout = time.AfterFunc(openWithin, func() { f.giveUp(id, p) })
		f.pairs[id] = p
	}
	if kind == corev1.StreamTypeError {
		p.err = s
	} else {
		p.data = s
	}
	if p.data == nil || p.err == nil {
		return nil
	}
	delete(f.pairs, id)
	p.timeout.Stop()
	f.wg.Go(func() {
		for _, c := range []<-chan struct{}{replied, f.ready} {
			select {
			case <-c:
			case <-f.ctx.Done():
				return
			}
		}
		defer f.conn.RemoveStreams(p.data, p.err) // or they are kept for as long as the client stays
		f.relay(p, int32(port))
	})
	return nil
}

// giveUp resets the one stream of a pair whose other one doesn't come.
func (f *forwarding) giveUp(id string, p *pair) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pairs[id] != p {
		return
	}
	delete(f.pairs, id)
	for _, s := range []httpstream.Stream{p.data, p.err} {
		if s != nil {
			_ = s.Reset() // a client that has gone isn't an error
		}
	}
}

// relay carries one connection.
func (f *forwarding) relay(p *pair, port int32) {
	defer p.data.Close()
	defer p.err.Close()
	ctx, cancel := context.WithTimeout(f.ctx, openWithin)
	stream, err := f.server.cfg.Open(ctx, f.pod.Spec.NodeName, &nodev1.Open{Request: &nodev1.Open_PortForward{
		PortForward: &nodev1.PortForwardRequest{PodUid: string(f.pod.UID), Port: port},
	}})
	cancel()
	if err != nil {
		fmt.Fprintf(p.err, "error forwarding port %d to pod %s: %v", port, f.pod.Name, err)
		return
	}
	defer stream.Close()
	stop := context.AfterFunc(f.ctx, func() { stream.Close() })
	defer stop()
	to := &sender{s: stream}
	go func() { // ends with the data stream
		buf := make([]byte, 32<<10)
		for {
			n, err := p.data.Read(buf)
			if n > 0 && to.data(append([]byte(nil), buf[:n]...)) != nil {
				return
			}
			if err != nil {
				_ = to.eof() // a node that has gone ends the connection by itself
				return
			}
		}
	}()
	for {
		frame, err := stream.Recv()
		if err != nil {
			if !errors.Is(err, io.EOF) && f.ctx.Err() == nil {
				fmt.Fprintf(p.err, "error forwarding port %d to pod %s: %v", port, f.pod.Name, err)
			}
			return
		}
		if d := frame.GetData(); d != nil && len(d.Bytes) > 0 {
			if _, err := p.data.Write(d.Bytes); err != nil {
				return
			}
		}
		if r := frame.GetResult(); r != nil {
			if r.Reason != "" {
				fmt.Fprintf(p.err, "error forwarding port %d to pod %s: %s", port, f.pod.Name, r.Message)
			}
			return
		}
	}
}
