package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/internal/crilog"
	"swell.dev/swell/nodelet"
)

// wire is the nodelet's end of a stream whose other end is the test.
type wire struct {
	down chan *nodev1.Frame
	up   chan *nodev1.Frame
	gone chan struct{}
}

func (w *wire) Send(f *nodev1.Frame) error {
	select {
	case w.up <- f:
		return nil
	case <-w.gone:
		return io.EOF
	}
}

func (w *wire) Recv() (*nodev1.Frame, error) {
	select {
	case f := <-w.down:
		return f, nil
	case <-w.gone:
		return nil, io.EOF
	}
}

// call is an exchange under way.
type call struct {
	t       *testing.T
	w       *wire
	handled chan error
}

func begin(t *testing.T, d Deps, open *nodev1.Open) *call {
	c := &call{t: t, w: &wire{make(chan *nodev1.Frame), make(chan *nodev1.Frame), make(chan struct{})}, handled: make(chan error, 1)}
	go func() { c.handled <- Handle(t.Context(), d, open, c.w) }()
	return c
}

func (c *call) send(frames ...*nodev1.Frame) {
	c.t.Helper()
	for _, f := range frames {
		select {
		case c.w.down <- f:
		case <-time.After(time.Minute):
			c.t.Fatal("the nodelet takes no frame")
		}
	}
}

func (c *call) next() *nodev1.Frame {
	c.t.Helper()
	select {
	case f := <-c.w.up:
		return f
	case <-time.After(time.Minute):
		c.t.Fatal("the nodelet sends nothing")
		return nil
	}
}

// end collects all channels up to the result, and ends the stream.
func (c *call) end() (map[int32]string, *nodev1.Result) {
	c.t.Helper()
	got := map[int32]string{}
	for {
		f := c.next()
		if r := f.GetResult(); r != nil {
			c.leave()
			return got, r
		}
		got[f.GetData().Channel] += string(f.GetData().Bytes)
	}
}

func (c *call) leave() {
	c.t.Helper()
	close(c.w.gone)
	select {
	case <-c.handled:
	case <-time.After(time.Minute):
		c.t.Fatal("Handle doesn't end")
	}
}

func found(s nodelet.ContainerState, ns string) func(context.Context, string, string, bool) (nodelet.ContainerState, string, error) {
	return func(_ context.Context, uid, name string, previous bool) (nodelet.ContainerState, string, error) {
		if uid != "u1" || previous {
			return s, "", fmt.Errorf("pod %s: %w", uid, nodelet.ErrNotFound)
		}
		return s, ns, nil
	}
}

func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	w, err := crilog.NewWriter(path, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Copy(crilog.Stdout, strings.NewReader("one\ntwo\n")); err != nil {
		t.Fatal(err)
	}
	d := Deps{FindContainer: found(nodelet.ContainerState{Name: "main", LogPath: path}, "")}
	request := func(r *nodev1.LogRequest) *nodev1.Open { return &nodev1.Open{Request: &nodev1.Open_Log{Log: r}} }

	got, r := begin(t, d, request(&nodev1.LogRequest{PodUid: "u1", TailLines: 1})).end()
	if got[stdout] != "two\n" || r.Reason != "" {
		t.Errorf("the tail is %v, %v", got, r)
	}
	if _, r := begin(t, d, request(&nodev1.LogRequest{PodUid: "u2", TailLines: -1})).end(); r.Reason != "NotFound" {
		t.Errorf("an unknown pod answers %v", r)
	}

	follow := begin(t, d, request(&nodev1.LogRequest{PodUid: "u1", TailLines: -1, Follow: true}))
	if f := follow.next(); string(f.GetData().GetBytes()) != "one\ntwo\n" {
		t.Errorf("following begins with %v", f)
	}
	if err := errors.Join(w.Copy(crilog.Stderr, strings.NewReader("three\n")), w.Close()); err != nil {
		t.Fatal(err)
	}
	if got, r := follow.end(); got[stdout] != "three\n" || r.Reason != "" {
		t.Errorf("following ends with %v, %v", got, r)
	}

	w, err = crilog.NewWriter(path, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // temporary
	left := begin(t, d, request(&nodev1.LogRequest{PodUid: "u1", TailLines: -1, Follow: true}))
	left.next()
	left.leave()

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, r := begin(t, d, request(&nodev1.LogRequest{PodUid: "u1"})).end(); r.Reason != "NotFound" {
		t.Errorf("a missing log answers %v", r)
	}
}

// fakeRuntime runs one scripted exec.
type fakeRuntime struct {
	nodelet.Runtime
	run   func(ctx context.Context, e nodelet.Exec) (int32, error)
	sizes chan string
	asked nodelet.Exec
}

func (r *fakeRuntime) Exec(_ context.Context, id string, e nodelet.Exec) (nodelet.Process, error) {
	if id != "c1" {
		return nil, nodelet.ErrNotFound
	}
	r.asked = e
	return r, nil
}

func (r *fakeRuntime) Wait(ctx context.Context) (int32, error) { return r.run(ctx, r.asked) }

func (r *fakeRuntime) Resize(_ context.Context, w, h uint32) error {
	r.sizes <- fmt.Sprintf("%dx%d", w, h)
	return nil
}

func execRequest(r *nodev1.ExecRequest) *nodev1.Open {
	return &nodev1.Open{Request: &nodev1.Open_Exec{Exec: r}}
}

func TestExec(t *testing.T) {
	rt := &fakeRuntime{sizes: make(chan string, 4)}
	d := Deps{Runtime: rt, FindContainer: found(nodelet.ContainerState{ID: "c1", State: nodelet.StateRunning}, "")}

	big := strings.Repeat("0123456789abcdef", 20_000)
	rt.run = func(_ context.Context, e nodelet.Exec) (int32, error) {
		n, err := io.Copy(e.Stdout, e.Stdin)
		fmt.Fprintf(e.Stderr, "%d bytes", n)
		return 3, err
	}
	c := begin(t, d, execRequest(&nodev1.ExecRequest{PodUid: "u1", Command: []string{"x"}, Stdin: true, Stdout: true, Stderr: true}))
	go c.send(dataFrame(stdin, []byte(big[:100_000]), false), dataFrame(stdin, []byte(big[100_000:]), true))
	got, r := c.end()
	if got[stdout] != big || got[stderr] != "320000 bytes" || r.Reason != "NonZeroExitCode" || r.ExitCode != 3 {
		t.Errorf("%d bytes came back, %q, %v", len(got[stdout]), got[stderr], r)
	}

	rt.run = func(_ context.Context, e nodelet.Exec) (int32, error) {
		fmt.Fprint(e.Stdout, <-rt.sizes, e.TTY, e.Stderr == nil, e.Stdin == nil)
		return 0, nil
	}
	c = begin(t, d, execRequest(&nodev1.ExecRequest{PodUid: "u1", Command: []string{"x"}, Stdout: true, Stderr: true, Tty: true}))
	c.send(&nodev1.Frame{Frame: &nodev1.Frame_Resize{Resize: &nodev1.TerminalSize{Width: 80, Height: 24}}})
	if got, r := c.end(); got[stdout] != "80x24true true true" && got[stdout] != "80x24 true true true" || r.Reason != "" {
		t.Errorf("a terminal answers %q, %v", got[stdout], r)
	}
}

// TestExecIsLeft: a process ends when who asked for it goes, even with unread input.
func TestExecIsLeft(t *testing.T) {
	started := make(chan struct{})
	rt := &fakeRuntime{run: func(ctx context.Context, _ nodelet.Exec) (int32, error) {
		close(started)
		<-ctx.Done()
		return -1, ctx.Err()
	}}
	d := Deps{Runtime: rt, FindContainer: found(nodelet.ContainerState{ID: "c1", State: nodelet.StateRunning}, "")}
	c := begin(t, d, execRequest(&nodev1.ExecRequest{PodUid: "u1", Command: []string{"x"}, Stdin: true}))
	<-started
	c.leave()
}

func TestExecRefused(t *testing.T) {
	d := Deps{Runtime: &fakeRuntime{}, FindContainer: found(nodelet.ContainerState{ID: "c1", State: nodelet.StateExited}, "")}
	for reason, open := range map[string]*nodev1.Open{
		"NotFound":   execRequest(&nodev1.ExecRequest{PodUid: "u2", Command: []string{"x"}}),
		"BadRequest": execRequest(&nodev1.ExecRequest{PodUid: "u1", Command: []string{"x"}}),
	} {
		if _, r := begin(t, d, open).end(); r.Reason != reason {
			t.Errorf("%v, want %s", r, reason)
		}
	}
	if _, r := begin(t, d, execRequest(&nodev1.ExecRequest{PodUid: "u1"})).end(); r.Reason != "BadRequest" {
		t.Errorf("an empty command answers %v", r)
	}
	if _, r := begin(t, d, &nodev1.Open{}).end(); r.Reason != "BadRequest" {
		t.Errorf("no request answers %v", r)
	}
}

// answerUpper serves one connection: it answers in capitals when the other side has said all.
func answerUpper(t *testing.T, l net.Listener) {
	conn, err := l.Accept()
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close() //nolint:errcheck // the test reads what was sent
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Error(err)
	}
	if _, err := conn.Write(bytes.ToUpper(b)); err != nil {
		t.Error(err)
	}
}

func testForward(t *testing.T, l net.Listener, ns string) {
	go answerUpper(t, l)
	d := Deps{FindContainer: found(nodelet.ContainerState{}, ns)}
	port := int32(l.Addr().(*net.TCPAddr).Port)
	c := begin(t, d, &nodev1.Open{Request: &nodev1.Open_PortForward{PortForward: &nodev1.PortForwardRequest{PodUid: "u1", Port: port}}})
	go c.send(dataFrame(stdin, []byte("hello "), false), dataFrame(stdin, []byte("pod"), true))
	if got, r := c.end(); got[stdout] != "HELLO POD" || r.Reason != "" {
		t.Errorf("the port answers %v, %v", got, r)
	}
	l.Close() //nolint:errcheck // nobody listens from here on
	c = begin(t, d, &nodev1.Open{Request: &nodev1.Open_PortForward{PortForward: &nodev1.PortForwardRequest{PodUid: "u1", Port: port}}})
	if _, r := c.end(); r.Reason != "InternalError" || !strings.Contains(r.Message, "connection refused") {
		t.Errorf("a closed port answers %v", r)
	}
}

func TestForward(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	testForward(t, l, "")
	if _, r := begin(t, Deps{}, &nodev1.Open{Request: &nodev1.Open_PortForward{PortForward: &nodev1.PortForwardRequest{}}}).end(); r.Reason != "BadRequest" {
		t.Errorf("port 0 answers %v", r)
	}
}

func TestForwardIntoNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces:", nodelet.ErrUnsupported)
	}
	type made struct {
		ns  netns.NsHandle
		l   net.Listener
		err error
	}
	done := make(chan made)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine, and with it its namespace's last thread
		var m made
		m.ns, m.err = netns.New()
		if m.err == nil {
			var lo netlink.Link
			if lo, m.err = netlink.LinkByName("lo"); m.err == nil {
				m.err = netlink.LinkSetUp(lo)
			}
		}
		if m.err == nil {
			m.l, m.err = net.Listen("tcp4", "127.0.0.1:0")
		}
		done <- m
	}()
	m := <-done
	if m.err != nil {
		t.Fatal(m.err)
	}
	defer m.ns.Close() //nolint:errcheck // nothing was written
	testForward(t, m.l, fmt.Sprintf("/proc/self/fd/%d", int(m.ns)))
}

type fakeImages struct{ nodelet.Images }

func (fakeImages) Import(_ context.Context, r io.Reader) ([]string, error) {
	b := make([]byte, 5)
	if _, err := io.ReadFull(r, b); err != nil || string(b) != "image" {
		return nil, fmt.Errorf("archive %q: %w", b, errors.Join(err, errors.New("not an image")))
	}
	return []string{"a:1"}, nil
}

func (fakeImages) List(context.Context) ([]nodelet.Image, error) {
	return []nodelet.Image{{Ref: "a:1", ID: "sha256:1", Digest: "sha256:2", Size: 3, User: "x"}}, nil
}

func TestImages(t *testing.T) {
	d := Deps{Images: fakeImages{}}
	open := &nodev1.Open{Request: &nodev1.Open_ImageImport{}}
	c := begin(t, d, open)
	go c.send(dataFrame(stdin, []byte("ima"), false), dataFrame(stdin, []byte("ge and padding"), false), dataFrame(stdin, nil, true))
	if got, r := c.end(); got[stdout] != `["a:1"]` || r.Reason != "" {
		t.Errorf("an import answers %v, %v", got, r)
	}
	c = begin(t, d, open)
	go c.send(dataFrame(stdin, []byte("text"), true))
	if _, r := c.end(); r.Reason != "BadRequest" {
		t.Errorf("text answers %v", r)
	}
	got, _ := begin(t, d, &nodev1.Open{Request: &nodev1.Open_ImageList{}}).end()
	if got[stdout] != `[{"ref":"a:1","id":"sha256:1","digest":"sha256:2","size":3}]` {
		t.Errorf("the list is %v", got)
	}
}
