package streaming

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

var bothWays = []string{"WebSocket", "SPDY"}

// execute runs a command as client-go does.
func (w *world) execute(ctx context.Context, way string, streams remotecommand.StreamOptions, command ...string) error {
	w.t.Helper()
	q := url.Values{"command": command}
	for name, asked := range map[string]bool{"stdin": streams.Stdin != nil, "stdout": streams.Stdout != nil, "stderr": streams.Stderr != nil, "tty": streams.Tty} {
		if asked {
			q.Set(name, "true")
		}
	}
	u := w.url("/exec", q)
	ws, err := remotecommand.NewWebSocketExecutor(w.config, http.MethodGet, u.String())
	if err != nil {
		w.t.Fatal(err)
	}
	spdy, err := remotecommand.NewSPDYExecutor(w.config, http.MethodPost, u)
	if err != nil {
		w.t.Fatal(err)
	}
	executor := map[string]remotecommand.Executor{"WebSocket": ws, "SPDY": spdy}[way]
	if way == "kubectl" {
		if executor, err = remotecommand.NewFallbackExecutor(ws, spdy, func(err error) bool {
			return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
		}); err != nil {
			w.t.Fatal(err)
		}
	}
	return executor.StreamWithContext(ctx, streams)
}

func each(t *testing.T, test func(t *testing.T, way string)) {
	for _, way := range bothWays {
		t.Run(way, func(t *testing.T) { test(t, way) })
	}
}

func exited(code int32) *nodev1.Result {
	return &nodev1.Result{Reason: "NonZeroExitCode", Message: fmt.Sprintf("command terminated with exit code %d", code), ExitCode: code}
}

// TestExec: input to its end, both outputs apart, and the exit code.
func TestExec(t *testing.T) {
	each(t, func(t *testing.T, way string) {
		big := strings.Repeat("0123456789abcdef", 1<<16)
		w := newWorld(t, func(n *node) {
			if got := n.open.GetExec(); got.PodUid != "u1" || got.Container != "main" || fmt.Sprint(got.Command) != "[cat -]" || !got.Stdin || !got.Stdout || !got.Stderr || got.Tty {
				t.Errorf("the nodelet is asked for %v", got)
			}
			in, ended := n.input()
			if in != big || !ended {
				t.Errorf("the process gets %d bytes, their end %v", len(in), ended)
			}
			n.write(stderr, "no ")
			n.write(stdout, "yes")
			n.write(stdout, "") // nothing, as a nodelet says that finds out who is still there
			n.write(stderr, "more")
			n.result(exited(3))
		})
		var out, errOut bytes.Buffer
		err := w.execute(t.Context(), way, remotecommand.StreamOptions{Stdin: strings.NewReader(big), Stdout: &out, Stderr: &errOut}, "cat", "-")
		var code exec.CodeExitError
		if !errors.As(err, &code) || code.Code != 3 || out.String() != "yes" || errOut.String() != "no more" {
			t.Errorf("%v, with %q and %q", err, out.String(), errOut.String())
		}
	})
}

// TestExecEnds: what a process ends with is what the client is told.
func TestExecEnds(t *testing.T) {
	each(t, func(t *testing.T, way string) {
		for _, c := range []struct {
			result *nodev1.Result
			says   string
		}{
			{&nodev1.Result{}, ""},
			{exited(137), "command terminated with exit code 137"},
			{&nodev1.Result{Reason: "InternalError", Message: `exec: "nope": executable file not found in $PATH`}, `exec: "nope": executable file not found in $PATH`},
			{&nodev1.Result{Reason: "BadRequest", Message: "container main: it is not running"}, "container main: it is not running"},
			{&nodev1.Result{Reason: "NotFound", Message: "pod u1: not found"}, "pod u1: not found"},
		} {
			w := newWorld(t, func(n *node) { n.result(c.result) })
			var out bytes.Buffer
			err := w.execute(t.Context(), way, remotecommand.StreamOptions{Stdout: &out}, "x")
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v tells %v, want %q", c.result, err, c.says)
			}
		}
		w := newWorld(t, func(n *node) { close(n.w.broken) })
		if err := w.execute(t.Context(), way, remotecommand.StreamOptions{Stdout: io.Discard}, "x"); err == nil || !strings.Contains(err.Error(), "the node ended the stream") {
			t.Errorf("a node that goes tells %v", err)
		}
	})
}

type sizes chan remotecommand.TerminalSize

func (s sizes) Next() *remotecommand.TerminalSize {
	size, ok := <-s
	if !ok {
		return nil
	}
	return &size
}

func TestExecTerminal(t *testing.T) {
	each(t, func(t *testing.T, way string) {
		w := newWorld(t, func(n *node) {
			if got := n.open.GetExec(); !got.Tty || got.Stderr {
				t.Errorf("the nodelet is asked for %v", got)
			}
			got := ""
			for len(got) < len("80x24 100x50 ") {
				f := n.recv()
				if f == nil {
					break
				}
				if size := f.GetResize(); size != nil {
					got += fmt.Sprintf("%dx%d ", size.Width, size.Height)
				}
			}
			n.write(stdout, got)
			n.result(&nodev1.Result{})
		})
		queue := make(sizes, 2)
		queue <- remotecommand.TerminalSize{Width: 80, Height: 24}
		queue <- remotecommand.TerminalSize{Width: 100, Height: 50}
		defer close(queue)
		in, hold := io.Pipe()
		defer hold.Close() //nolint:errcheck // it always succeeds
		var out bytes.Buffer
		if err := w.execute(t.Context(), way, remotecommand.StreamOptions{Stdin: in, Stdout: &out, Tty: true, TerminalSizeQueue: queue}, "sh"); err != nil || out.String() != "80x24 100x50 " {
			t.Errorf("%v, %q", err, out.String())
		}
	})
}

// endless is an input that never ends.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// TestExecIsLeft: a process ends when its client goes, whatever it was doing.
func TestExecIsLeft(t *testing.T) {
	each(t, func(t *testing.T, way string) {
		for name, c := range map[string]struct {
			streams remotecommand.StreamOptions
			work    func(n *node, started func())
		}{
			// What the client is told proves that it is connected.
			"silent": {remotecommand.StreamOptions{Stdout: io.Discard}, func(n *node, started func()) {
				n.write(stdout, "hello")
				started()
			}},
			"reading": {remotecommand.StreamOptions{Stdin: blocked{}, Stdout: io.Discard}, func(n *node, started func()) {
				n.write(stdout, "hello")
				started()
				n.input()
			}},
			"not reading": {remotecommand.StreamOptions{Stdin: endless{}, Stdout: io.Discard}, func(n *node, started func()) {
				n.recv()
				started()
			}},
			"writing": {remotecommand.StreamOptions{Stdout: io.Discard}, func(n *node, started func()) {
				n.write(stdout, "y")
				started()
				for n.write(stdout, "y") {
				}
			}},
		} {
			for _, killed := range []bool{true, false} {
				if name == "not reading" && !killed {
					continue // client-go can't leave while its writes are stuck
				}
				t.Run(fmt.Sprintf("%s, killed %v", name, killed), func(t *testing.T) {
					started, ended := make(chan struct{}), make(chan struct{})
					w := newWorld(t, func(n *node) {
						c.work(n, func() { close(started) })
						n.left()
						close(ended)
					})
					kill := w.killable()
					w.server.beat = time.Hour
					if name == "not reading" {
						w.server.beat = 10 * time.Millisecond // nothing else tells
					}
					ctx, leave := context.WithCancel(t.Context())
					done := make(chan error, 1)
					go func() { done <- w.execute(ctx, way, c.streams, "x") }()
					<-started
					if killed {
						kill()
						<-ended
					}
					leave()
					<-done
					<-ended
				})
			}
		}
	})
}

// blocked is an input that says nothing.
type blocked struct{}

func (blocked) Read([]byte) (int, error) { select {} }

// TestExecDoesntRead: the exit code arrives although the client goes on sending.
func TestExecDoesntRead(t *testing.T) {
	each(t, func(t *testing.T, way string) {
		w := newWorld(t, func(n *node) {
			for range 10 {
				n.recv()
			}
			n.write(stdout, "enough")
			n.result(exited(7))
		})
		for range 20 {
			var out bytes.Buffer
			err := w.execute(t.Context(), way, remotecommand.StreamOptions{Stdin: endless{}, Stdout: &out}, "head")
			var code exec.CodeExitError
			if !errors.As(err, &code) || code.Code != 7 || out.String() != "enough" {
				t.Fatalf("%v, with %q", err, out.String())
			}
		}
	})
}

// TestExecBackpressure: output is taken from the node as the client takes it; what is under way is
// bounded by the connection.
func TestExecBackpressure(t *testing.T) {
	// Between the two sides are the buffers of one TCP connection.
	const size, bound = 64 << 20, 16 << 20
	each(t, func(t *testing.T, way string) {
		var sent, taken, most atomic.Int64
		piece := strings.Repeat("x", 32<<10)
		w := newWorld(t, func(n *node) {
			for range size / len(piece) {
				if !n.write(stdout, piece) {
					t.Error("the client has gone")
					return
				}
				most.Store(max(most.Load(), sent.Add(int64(len(piece)))-taken.Load()))
			}
			n.result(&nodev1.Result{})
		})
		count := &counter{total: &taken}
		if err := w.execute(t.Context(), way, remotecommand.StreamOptions{Stdout: count}, "x"); err != nil || count.n != size {
			t.Errorf("%d bytes arrive, %v", count.n, err)
		}
		t.Logf("of 64 MiB at most %d KiB were under way", most.Load()>>10)
		if most.Load() > bound {
			t.Errorf("%d bytes were under way", most.Load())
		}
	})
}

// TestExecAtOnce: several streams, each with its own bytes.
func TestExecAtOnce(t *testing.T) {
	const size = 10 << 20
	each(t, func(t *testing.T, way string) {
		w := newWorld(t, func(n *node) {
			piece := strings.Repeat(n.open.GetExec().Command[0], 32<<10)
			for range size / len(piece) {
				if !n.write(stdout, piece) {
					t.Error("the client has gone")
					return
				}
			}
			n.result(&nodev1.Result{})
		})
		var clients sync.WaitGroup
		for i := range 8 {
			clients.Go(func() {
				letter := string(rune('a' + i))
				var out bytes.Buffer
				if err := w.execute(t.Context(), way, remotecommand.StreamOptions{Stdout: &out}, letter); err != nil || out.Len() != size || strings.Trim(out.String(), letter) != "" {
					t.Errorf("%d bytes arrive, %v", out.Len(), err)
				}
			})
		}
		clients.Wait()
	})
}

type counter struct {
	n     int
	total *atomic.Int64
}

func (c *counter) Write(b []byte) (int, error) {
	c.n += len(b)
	c.total.Add(int64(len(b)))
	return len(b), nil
}

// TestExecFallback: kubectl turns to SPDY where WebSockets are refused, and says what was wrong with a
// request that both refuse.
func TestExecFallback(t *testing.T) {
	var upgrades atomic.Int32
	w := newWorld(t, func(n *node) { n.write(stdout, "hello"); n.result(&nodev1.Result{}) })
	for _, refuse := range []bool{false, true} {
		upgrades.Store(0)
		w.refuse = func(r *http.Request) bool {
			upgrades.Add(1)
			return refuse && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
		}
		var out bytes.Buffer
		err := w.execute(t.Context(), "kubectl", remotecommand.StreamOptions{Stdout: &out}, "x")
		if want := map[bool]int32{false: 1, true: 2}[refuse]; err != nil || out.String() != "hello" || upgrades.Load() != want {
			t.Errorf("%v, %q after %d upgrades", err, out.String(), upgrades.Load())
		}
	}
	w.refuse = func(*http.Request) bool { return false }
	w.setPod(with(func(p *corev1.Pod) { p.Spec.NodeName = "" }))
	if err := w.execute(t.Context(), "kubectl", remotecommand.StreamOptions{Stdout: io.Discard}, "x"); err == nil || !strings.Contains(err.Error(), "pod web does not have a host assigned") {
		t.Errorf("a pod without a node tells %v", err)
	}
}

// TestExecRefused: what can't be done is told before anything is upgraded.
func TestExecRefused(t *testing.T) {
	two := with(func(p *corev1.Pod) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "side"})
		p.Spec.InitContainers = []corev1.Container{{Name: "init"}}
	})
	for _, c := range []struct {
		query string
		pod   *corev1.Pod
		open  error
		code  int32
		says  string
	}{
		{"stdout=1", running(), nil, 400, "at least one command"},
		{"command=x", running(), nil, 400, "at least 1 of stdin, stdout, stderr"},
		{"command=x&stdout=maybe", running(), nil, 400, `stdout: "maybe" is neither true nor false`},
		{"command=x&stdout=1&container=nope", running(), nil, 400, "container nope is not valid for pod web"},
		{"command=x&stdout=1", two, nil, 400, "a container name must be specified for pod web, choose one of: [main side] or one of the init containers: [init]"},
		{"command=x&stdout=1&container=side", two, nil, 400, `container "side" of pod "web" is not running`},
		{"command=x&stdout=1", with(func(p *corev1.Pod) { p.Spec.NodeName = "" }), nil, 400, "pod web does not have a host assigned"},
		{"command=x&stdout=1", with(func(p *corev1.Pod) { p.Status = corev1.PodStatus{Phase: corev1.PodSucceeded} }), nil, 400, "cannot exec into a container in a completed pod; current phase is Succeeded"},
		{"command=x&stdout=1", running(), fmt.Errorf("node a: the nodelet is not connected: %w", controlplane.ErrUnavailable), 503, "node a: the nodelet is not connected"},
		{"command=x&stdout=1", running(), fmt.Errorf("node a: %w", controlplane.ErrOverloaded), 429, "too many requests are waiting"},
		{"command=x&stdout=1", with(func(p *corev1.Pod) { p.Status = corev1.PodStatus{Phase: corev1.PodUnknown} }), errors.New("asked"), 500, "asked"},
		{"command=x&stdout=1&container=init", with(func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "init"}}
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "init", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
		}), errors.New("asked"), 500, "asked"},
	} {
		w := newWorld(t, func(n *node) { n.left() })
		w.setPod(c.pod)
		w.openErr = c.open
		got := w.get("/exec?"+c.query, "SPDY/3.1")
		if got.Code != c.code || !strings.Contains(got.Message, c.says) {
			t.Errorf("%s: %d %q, want %d %q", c.query, got.Code, got.Message, c.code, c.says)
		}
	}
	w := newWorld(t, func(*node) { t.Error("a node is asked") })
	if got := w.get("/exec?command=x&stdout=1"); got.Code != 400 || got.Message != "Upgrade request required" {
		t.Errorf("no upgrade: %d %q", got.Code, got.Message)
	}
	// A client sees it as an error of the API.
	err := w.execute(t.Context(), "SPDY", remotecommand.StreamOptions{Stdout: io.Discard})
	if !apierrors.IsBadRequest(err) && (err == nil || !strings.Contains(err.Error(), "at least one command")) {
		t.Errorf("%v", err)
	}
}
