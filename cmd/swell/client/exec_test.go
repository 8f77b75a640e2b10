package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// Channels of v5.channel.k8s.io: the first byte of each message.
const (
	channelStdin = iota
	channelStdout
	channelStderr
	channelStatus
	channelResize
	channelClose = 255
)

// fakeExec is a command in a container that copies its input to its output, says "oops" on stderr, tells
// of each new size, and ends with code at the end of its input or when it reads "q".
type fakeExec struct {
	code  int
	sizes chan remotecommand.TerminalSize

	mu    sync.Mutex
	query url.Values // of the last request; guarded by mu
}

func (e *fakeExec) asked() url.Values {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.query
}

func (e *fakeExec) status() []byte {
	status := metav1.Status{Status: metav1.StatusSuccess}
	if e.code != 0 {
		status = metav1.Status{Status: metav1.StatusFailure, Reason: "NonZeroExitCode", Message: "command terminated",
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: "ExitCode", Message: fmt.Sprint(e.code)}}}}
	}
	raw, _ := json.Marshal(status)
	return raw
}

func (e *fakeExec) websocket(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.query = r.URL.Query()
	e.mu.Unlock()
	upgrader := websocket.Upgrader{Subprotocols: []string{"v5.channel.k8s.io"}}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	send := func(channel byte, data []byte) {
		_ = conn.WriteMessage(websocket.BinaryMessage, append([]byte{channel}, data...))
	}
	if r.URL.Query().Get("stderr") == "true" {
		send(channelStderr, []byte("oops\n"))
	}
	for r.URL.Query().Get("stdin") == "true" {
		_, data, err := conn.ReadMessage()
		if err != nil {
			return
		}
		switch {
		case data[0] == channelResize:
			var size remotecommand.TerminalSize
			if json.Unmarshal(data[1:], &size) == nil {
				e.sizes <- size
			}
			continue
		case data[0] == channelStdin && string(data[1:]) != "q":
			send(channelStdout, data[1:])
			continue
		}
		break
	}
	send(channelStatus, e.status())
	_ = conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
	_, _, _ = conn.ReadMessage() // the client's answer to the close
}

// spdyOnly refuses WebSockets, as an old proxy does.
func (e *fakeExec) spdyOnly(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		http.Error(w, "no upgrade", http.StatusBadRequest)
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{"v4.channel.k8s.io"}); err != nil {
		return
	}
	want := 0
	for _, name := range []string{"stdin", "stdout", "stderr"} {
		if r.URL.Query().Get(name) == "true" {
			want++
		}
	}
	streams := make(chan httpstream.Stream, 8)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, replied <-chan struct{}) error {
		go func() { <-replied; streams <- s }()
		return nil
	})
	if conn == nil {
		return
	}
	defer conn.Close()
	got := map[string]httpstream.Stream{}
	for range want + 1 { // and the one for errors
		select {
		case s := <-streams:
			got[s.Headers().Get("streamType")] = s
		case <-time.After(deadline):
			return
		}
	}
	if in := got["stdin"]; in != nil {
		_, _ = io.Copy(got["stdout"], in)
	}
	_, _ = got["error"].Write(e.status())
	for _, s := range got {
		_ = s.Close()
	}
	<-conn.CloseChan()
}

func (f *fakeAPI) exec(handler http.HandlerFunc) {
	f.extra.HandleFunc("/api/v1/namespaces/default/pods/web/exec", handler)
}

func TestExec(t *testing.T) {
	for name, serve := range map[string]func(*fakeExec) http.HandlerFunc{
		"websocket": func(e *fakeExec) http.HandlerFunc { return e.websocket },
		"spdy":      func(e *fakeExec) http.HandlerFunc { return e.spdyOnly },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAPI(t)
			e := &fakeExec{}
			f.exec(serve(e))
			big := strings.Repeat("0123456789", 100_000)
			if r := f.runWith(strings.NewReader(big), "exec", "-i", "web", "-c", "app", "--", "cat", "-n"); r.err != nil || r.stdout != big {
				t.Errorf("copied %d of %d bytes, %v", len(r.stdout), len(big), r.err)
			}
			e.code = 42
			f.run("exec", "web", "--", "false").wantExit(t, 42)
		})
	}
}

func TestExecRequest(t *testing.T) {
	f := newFakeAPI(t)
	e := &fakeExec{}
	f.exec(e.websocket)
	r := f.run("exec", "web", "-c", "app", "--", "sh", "-c", "echo oops >&2")
	if r.err != nil || r.stderr != "oops\n" {
		t.Errorf("stderr %q, %v", r.stderr, r.err)
	}
	q := e.asked()
	if !slices.Equal(q["command"], []string{"sh", "-c", "echo oops >&2"}) || q.Get("container") != "app" || q.Get("stdin") != "" || q.Get("tty") != "" {
		t.Errorf("asked for %v", q)
	}
	r = f.runWith(strings.NewReader("hello"), "exec", "-it", "web", "--", "cat")
	if r.stdout != "hello" || !strings.Contains(r.stderr, "no terminal: going on without -t") || e.asked().Get("tty") != "" {
		t.Errorf("-t without a terminal: %+v, %v", r, e.asked())
	}
}

func TestExecRefused(t *testing.T) {
	f := newFakeAPI(t)
	f.exec(func(w http.ResponseWriter, _ *http.Request) { refuse(w, missing("pods", "web")) })
	f.run("exec", "web", "--", "true").wantError(t, `pods "web" not found`)
}

func TestExecTerminal(t *testing.T) {
	master, slave := openPTY(t)
	setSize := func(w, h uint16) {
		t.Helper()
		if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: w, Row: h}); err != nil {
			t.Fatal(err)
		}
	}
	setSize(80, 24)
	f := newFakeAPI(t)
	e := &fakeExec{code: 5, sizes: make(chan remotecommand.TerminalSize, 8)}
	f.exec(e.websocket)
	done := make(chan result, 1)
	cmd := f.command(io.Discard, io.Discard, slave, "exec", "-it", "web", "--", "sh")
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	go func() { done <- result{err: cmd.ExecuteContext(ctx)} }()
	await := func(w, h uint16) {
		t.Helper()
		select {
		case got := <-e.sizes:
			if got != (remotecommand.TerminalSize{Width: w, Height: h}) {
				t.Fatalf("size %v, want %d×%d", got, w, h)
			}
		case r := <-done:
			t.Fatalf("ended: %+v", r)
		case <-time.After(deadline):
			t.Fatal("no size")
		}
	}
	await(80, 24)
	setSize(100, 30)
	if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	await(100, 30)
	if _, err := master.Write([]byte("q")); err != nil { // raw: no line end is needed
		t.Fatal(err)
	}
	select {
	case r := <-done:
		r.wantExit(t, 5)
		if q := e.asked(); q.Get("tty") != "true" || q.Get("stderr") != "" {
			t.Errorf("asked for %v", q)
		}
	case <-time.After(deadline):
		t.Fatal("exec doesn't end")
	}
}

// openPTY answers both ends of a new pseudo-terminal.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		t.Skip("needs pseudo-terminals: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func TestLogs(t *testing.T) {
	f := newFakeAPI(t)
	var query url.Values
	f.log = func(w io.Writer, r *http.Request) {
		query = r.URL.Query()
		fmt.Fprint(w, "one\ntwo")
	}
	for args, want := range map[string]string{
		"logs web": "",
		"logs pod/web -c app --tail 0 --previous":        "container=app&previous=true&tailLines=0",
		"logs web --since 1500ms --timestamps":           "sinceSeconds=2&timestamps=true",
		"logs web --since 2026-03-01T12:00:00Z --tail 5": "sinceTime=2026-03-01T12%3A00%3A00Z&tailLines=5",
	} {
		if r := f.mustRun(strings.Fields(args)...); r.stdout != "one\ntwo" || query.Encode() != want {
			t.Errorf("%s: asked for %s, want %s; printed %q", args, query.Encode(), want, r.stdout)
		}
	}
	f.log = func(w io.Writer, _ *http.Request) { refuse(w.(http.ResponseWriter), missing("pods", "web")) }
	f.run("logs", "web").wantError(t, `pods "web" not found`)
}

func TestLogsFollow(t *testing.T) {
	f := newFakeAPI(t)
	more := make(chan string)
	f.log = func(w io.Writer, r *http.Request) {
		for {
			select {
			case line := <-more:
				fmt.Fprintln(w, line)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}
	c := f.start("logs", "-f", "web")
	for _, line := range []string{"one", "two"} {
		more <- line
		c.line(line) // as soon as it is written
	}
	if err := c.stop(); err == nil {
		t.Error("an interrupted command answers nil")
	}
}
