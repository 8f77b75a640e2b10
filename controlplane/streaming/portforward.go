package streaming

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	if err := onNode(pod); err != nil {
		fail(w, err)
		return
	}
	f := &forwarding{server: s, pod: pod, pairs: map[string]*pair{}}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	f.ctx = ctx
	conn, err := upgrade(w, r, f.accept)
	if err != nil {
		return // the client has its answer
	}
	defer conn.Close()
	conn.SetIdleTimeout(idleFor)
	select {
	case <-conn.CloseChan():
	case <-r.Context().Done():
	}
	cancel()
	f.wg.Wait()
}

// upgrade answers the SPDY connection, directly or through a WebSocket.
func upgrade(w http.ResponseWriter, r *http.Request, accept httpstream.NewStreamHandler) (httpstream.Connection, error) {
	if !wsstream.IsWebSocketRequestWithTunnelingProtocol(r) {
		if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardV1Name}); err != nil {
			fail(w, apierrors.NewBadRequest(err.Error()))
			return nil, err
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
	wg     sync.WaitGroup

	mu    sync.Mutex // guards pairs
	pairs map[string]*pair
}

// pair is the two streams of one forwarded connection.
type pair struct{ data, err httpstream.Stream }

func (f *forwarding) accept(s httpstream.Stream, replied <-chan struct{}) error {
	port, err := strconv.ParseUint(s.Headers().Get(corev1.PortHeader), 10, 16)
	if err != nil || port == 0 {
		return fmt.Errorf("header %s: %q is not a port", corev1.PortHeader, s.Headers().Get(corev1.PortHeader))
	}
	id := s.Headers().Get(corev1.PortForwardRequestIDHeader)
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pairs[id]
	if p == nil {
		p = &pair{}
		f.pairs[id] = p
	}
	switch kind := s.Headers().Get(corev1.StreamType); kind {
	case corev1.StreamTypeError:
		p.err = s
	case corev1.StreamTypeData:
		p.data = s
	default:
		return fmt.Errorf("header %s: %q is neither %s nor %s", corev1.StreamType, kind, corev1.StreamTypeData, corev1.StreamTypeError)
	}
	if p.data == nil || p.err == nil {
		return nil
	}
	delete(f.pairs, id)
	f.wg.Go(func() {
		select {
		case <-replied:
		case <-f.ctx.Done():
			return
		}
		f.relay(p, int32(port))
	})
	return nil
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
