package streaming

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// patience is how long a test waits for what can't take long.
const patience = time.Minute

// wire is a stream that holds nothing: what one side sends, the other takes.
type wire struct {
	down, up chan *nodev1.Frame
	closed   chan struct{}
	once     sync.Once
	broken   chan struct{} // closed when the node's side breaks off
}

func newWire() *wire {
	return &wire{down: make(chan *nodev1.Frame), up: make(chan *nodev1.Frame), closed: make(chan struct{}), broken: make(chan struct{})}
}

func (w *wire) Send(f *nodev1.Frame) error {
	select {
	case w.down <- f:
		return nil
	case <-w.closed:
	case <-w.broken:
	}
	return io.EOF
}

func (w *wire) Recv() (*nodev1.Frame, error) {
	select {
	case f := <-w.up:
		return f, nil
	case <-w.closed:
		return nil, io.EOF
	case <-w.broken:
		return nil, errors.New("broken")
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

// node plays the nodelet's end of one exchange.
type node struct {
	t    *testing.T
	w    *wire
	open *nodev1.Open
}

// recv answers nil when the control plane has ended the exchange.
func (n *node) recv() *nodev1.Frame {
	select {
	case f := <-n.w.down:
		return f
	case <-n.w.closed:
		return nil
	case <-time.After(patience):
		n.t.Error("the nodelet is told nothing")
		return nil
	}
}

func (n *node) send(f *nodev1.Frame) bool {
	select {
	case n.w.up <- f:
		return true
	case <-n.w.closed:
		return false
	case <-time.After(patience):
		n.t.Error("nobody takes what the nodelet sends")
		return false
	}
}

func (n *node) write(channel int32, s string) bool {
	return n.send(&nodev1.Frame{Frame: &nodev1.Frame_Data{Data: &nodev1.Data{Channel: channel, Bytes: []byte(s)}}})
}

func (n *node) result(r *nodev1.Result) {
	n.send(&nodev1.Frame{Frame: &nodev1.Frame_Result{Result: r}})
	n.left()
}

// left waits until the control plane has ended the exchange.
func (n *node) left() {
	select {
	case <-n.w.closed:
	case <-time.After(patience):
		n.t.Error("the exchange goes on")
	}
}

// input collects what comes on stdin up to its end; false if the exchange ends first.
func (n *node) input() (string, bool) {
	var b strings.Builder
	for f := n.recv(); f != nil; f = n.recv() {
		b.Write(f.GetData().GetBytes())
		if f.GetData().GetEof() {
			return b.String(), true
		}
	}
	return b.String(), false
}

// world is the server of a pod behind HTTP, and a client's configuration.
type world struct {
	t      *testing.T
	server *Server
	http   *httptest.Server
	config *rest.Config
	refuse func(*http.Request) bool // refuses upgrades

	mu      sync.Mutex // guards what follows
	pod     *corev1.Pod
	serve   func(*node)
	openErr error
	on      []string // nodes that were asked
}

// newWorld plays the nodelet with serve, once per exchange. Its end proves that nothing is left running.
func newWorld(t *testing.T, serve func(*node)) *world {
	w := &world{t: t, pod: running(), serve: serve, refuse: func(*http.Request) bool { return false }}
	var nodes, handlers sync.WaitGroup
	w.server = New(Config{Open: func(ctx context.Context, name string, open *nodev1.Open) (controlplane.Stream, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.on = append(w.on, name)
		if w.openErr != nil {
			return nil, w.openErr
		}
		wire, serve := newWire(), w.serve
		nodes.Go(func() { serve(&node{t: t, w: wire, open: open}) })
		return wire, nil
	}})
	mux := http.NewServeMux()
	for path, serve := range map[string]func(http.ResponseWriter, *http.Request, *corev1.Pod){
		"/exec": w.server.Exec, "/log": w.server.Log, "/portforward": w.server.PortForward,
	} {
		mux.HandleFunc(path, func(rw http.ResponseWriter, r *http.Request) {
			handlers.Add(1)
			defer handlers.Done()
			if w.refuse(r) {
				http.Error(rw, "no WebSocket here", http.StatusForbidden)
				return
			}
			w.mu.Lock()
			pod := w.pod
			w.mu.Unlock()
			serve(rw, r, pod)
		})
	}
	w.http = httptest.NewUnstartedServer(mux)
	w.http.EnableHTTP2 = true
	w.http.StartTLS()
	w.config = &rest.Config{Host: w.http.URL, TLSClientConfig: rest.TLSClientConfig{
		CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.http.Certificate().Raw}),
	}}
	t.Cleanup(func() {
		w.http.CloseClientConnections()
		w.http.Close()
		done := make(chan struct{})
		go func() { nodes.Wait(); handlers.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(patience):
			buf := make([]byte, 4<<20)
			t.Fatalf("an exchange goes on:\n%s", buf[:runtime.Stack(buf, true)])
		}
		checkNoneLeft(t)
	})
	return w
}

// killable puts a relay between the clients and the server. kill ends their connections as the end of a
// client's process does, whatever is under way.
func (w *world) killable() (kill func()) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.config.Host = "https://" + l.Addr().String()
	var mu sync.Mutex // guards conns
	var conns []net.Conn
	var copies sync.WaitGroup
	copies.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", w.http.Listener.Addr().String())
			if err != nil {
				w.t.Error(err)
				return
			}
			mu.Lock()
			conns = append(conns, client, server)
			mu.Unlock()
			for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
				copies.Go(func() {
					_, _ = io.Copy(way[0], way[1]) // either side may end it
					_ = way[0].Close()
				})
			}
		}
	})
	kill = func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			_ = c.Close()
		}
	}
	w.t.Cleanup(func() {
		_ = l.Close()
		kill()
		copies.Wait()
	})
	return kill
}

// checkNoneLeft waits for the goroutines that end with their connection.
func checkNoneLeft(t *testing.T) {
	ours := []string{"streaming.(*Server).", "streaming.(*forwarding).", "streaming.relayExec", "streaming.webSocketTerminal", "streaming.spdyTerminal"}
	buf := make([]byte, 4<<20)
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		stacks := string(buf[:runtime.Stack(buf, true)])
		if !slices.ContainsFunc(ours, func(s string) bool { return strings.Contains(stacks, s) }) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("a goroutine is left:\n%s", stacks)
		}
	}
}

func (w *world) url(path string, query url.Values) *url.URL {
	u, err := url.Parse(w.config.Host + path + "?" + query.Encode())
	if err != nil {
		w.t.Fatal(err)
	}
	return u
}

func (w *world) setPod(pod *corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pod = pod
}

// client speaks HTTP/1.1, or HTTP/2 where both sides can.
func (w *world) client(http2 bool) *http.Client {
	transport := w.http.Client().Transport.(*http.Transport).Clone()
	if !http2 {
		transport.ForceAttemptHTTP2 = false
		transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func running() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "u1"},
		Spec:       corev1.PodSpec{NodeName: "a", Containers: []corev1.Container{{Name: "main"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "main", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		}}},
	}
}

// with answers a running pod that is changed.
func with(change func(*corev1.Pod)) *corev1.Pod {
	p := running()
	change(p)
	return p
}
