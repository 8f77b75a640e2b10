package streaming

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// openWithin is how long a client may take to open its streams.
const openWithin = 30 * time.Second

// terminal is the client's side of an exec. What the client didn't ask for is nil.
type terminal struct {
	gone     <-chan struct{} // closed when the client has
	in       io.Reader
	out, err io.Writer
	resize   io.Reader
	status   io.Writer
	close    func() error
}

// Exec runs a command in a container.
func (s *Server) Exec(w http.ResponseWriter, r *http.Request, pod *corev1.Pod) {
	req, err := execRequest(r, pod)
	if err == nil {
		err = onNode(pod)
	}
	if err == nil {
		err = isRunning(pod, req.Container)
	}
	if err == nil {
		err = wantsUpgrade(r)
	}
	if err != nil {
		fail(w, err)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	// The node first: that it can't be reached is then an HTTP answer.
	stream, err := s.cfg.Open(ctx, pod.Spec.NodeName, &nodev1.Open{Request: &nodev1.Open_Exec{Exec: req}})
	if err != nil {
		fail(w, err)
		return
	}
	defer stream.Close()
	var t *terminal
	if wsstream.IsWebSocketRequest(r) {
		t, err = webSocketTerminal(w, r, req)
	} else {
		t, err = spdyTerminal(ctx, w, r, req)
	}
	if err != nil {
		return // the client has its answer
	}
	defer t.close() //nolint:errcheck // the client has its answer
	watched := make(chan struct{})
	defer func() { <-watched }()
	defer cancel()
	go func() {
		defer close(watched)
		s.watch(ctx, t, stream)
	}()
	relayExec(t, stream)
}

// watch ends the stream, and with it the process, when the client goes. It returns then or with ctx.
func (s *Server) watch(ctx context.Context, t *terminal, stream controlplane.Stream) {
	defer stream.Close()
	beat := time.NewTicker(s.beat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.gone:
			return
		case <-beat.C:
			if _, err := t.status.Write([]byte{}); err != nil {
				return
			}
		}
	}
}

func execRequest(r *http.Request, pod *corev1.Pod) (*nodev1.ExecRequest, error) {
	q := r.URL.Query()
	req := &nodev1.ExecRequest{PodUid: string(pod.UID), Command: q["command"]}
	var err error
	for name, into := range map[string]*bool{"stdin": &req.Stdin, "stdout": &req.Stdout, "stderr": &req.Stderr, "tty": &req.Tty} {
		if *into, err = boolean(q, name); err != nil {
			return nil, err
		}
	}
	if req.Container, err = container(pod, q.Get("container")); err != nil {
		return nil, err
	}
	if len(req.Command) == 0 {
		return nil, apierrors.NewBadRequest("you must specify at least one command: query parameter `command`")
	}
	if !req.Stdin && !req.Stdout && !req.Stderr {
		return nil, apierrors.NewBadRequest("you must specify at least 1 of stdin, stdout, stderr")
	}
	if req.Tty {
		req.Stderr = false // a terminal has one output
	}
	return req, nil
}

func isRunning(pod *corev1.Pod, name string) error {
	if st := statusOfContainer(pod, name); st != nil && st.State.Running != nil {
		return nil
	}
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return apierrors.NewBadRequest(fmt.Sprintf("cannot exec into a container in a completed pod; current phase is %s", pod.Status.Phase))
	}
	if pod.Status.Phase == corev1.PodUnknown {
		return nil // the nodelet knows better
	}
	return apierrors.NewBadRequest(fmt.Sprintf("container %q of pod %q is not running", name, pod.Name))
}

// webSocketTerminal upgrades to channels of a WebSocket.
func webSocketTerminal(w http.ResponseWriter, r *http.Request, req *nodev1.ExecRequest) (*terminal, error) {
	readIf := func(asked bool) wsstream.ChannelType {
		if asked {
			return wsstream.ReadChannel
		}
		return wsstream.IgnoreChannel
	}
	writeIf := func(asked bool) wsstream.ChannelType {
		if asked {
			return wsstream.WriteChannel
		}
		return wsstream.IgnoreChannel
	}
	channels := []wsstream.ChannelType{
		readIf(req.Stdin), writeIf(req.Stdout), writeIf(req.Stderr), wsstream.ReadWriteChannel, readIf(req.Tty),
	}
	config := wsstream.ChannelProtocolConfig{Binary: true, Channels: channels}
	conn := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{
		remotecommand.StreamProtocolV5Name: config,
		remotecommand.StreamProtocolV4Name: config,
	})
	_, streams, err := conn.Open(w, r)
	if err != nil {
		return nil, err
	}
	gone := make(chan struct{})
	go func() { // ends with the connection
		defer close(gone)
		_, _ = io.Copy(io.Discard, streams[3]) // clients say nothing here: it ends when they go
	}()
	t := &terminal{gone: gone, status: streams[3], close: conn.Close}
	if req.Stdin {
		t.in = streams[0]
	}
	if req.Stdout {
		t.out = streams[1]
	}
	if req.Stderr {
		t.err = streams[2]
	}
	if req.Tty {
		t.resize = streams[4]
	}
	return t, nil
}

// spdyTerminal upgrades to SPDY and waits for the client to open its streams.
func spdyTerminal(ctx context.Context, w http.ResponseWriter, r *http.Request, req *nodev1.ExecRequest) (*terminal, error) {
	if _, err := httpstream.Handshake(r, w, []string{remotecommand.StreamProtocolV4Name}); err != nil {
		return nil, err // it has answered the client
	}
	type opened struct {
		stream  httpstream.Stream
		replied <-chan struct{}
	}
	streams := make(chan opened, 8)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, replied <-chan struct{}) error {
		select {
		case streams <- opened{s, replied}:
			return nil
		default:
			return errors.New("more streams than an exec has")
		}
	})
	if conn == nil {
		return nil, errors.New("no upgrade to SPDY") // it has answered the client
	}
	gone := make(chan struct{})
	go func() { // ends with the connection
		defer close(gone)
		<-conn.CloseChan()
	}()
	t := &terminal{gone: gone, close: conn.Close}
	missing := 1 // the error stream
	for _, asked := range []bool{req.Stdin, req.Stdout, req.Stderr, req.Tty} {
		if asked {
			missing++
		}
	}
	timeout := time.NewTimer(openWithin)
	defer timeout.Stop()
	for ; missing > 0; missing-- {
		select {
		case o := <-streams:
			<-o.replied
			t.take(o.stream)
		case <-gone:
			return nil, errors.Join(errors.New("the client has gone"), conn.Close())
		case <-timeout.C:
			return nil, errors.Join(errors.New("the client didn't open its streams in time"), conn.Close())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), conn.Close())
		}
	}
	if t.status == nil {
		return nil, errors.Join(errors.New("the client opened no error stream"), conn.Close())
	}
	return t, nil
}

func (t *terminal) take(s httpstream.Stream) {
	switch s.Headers().Get(corev1.StreamType) {
	case corev1.StreamTypeStdin:
		t.in = s
	case corev1.StreamTypeStdout:
		t.out = s
	case corev1.StreamTypeStderr:
		t.err = s
	case corev1.StreamTypeResize:
		t.resize = s
	case corev1.StreamTypeError:
		t.status = s
	}
}

// relayExec carries everything until the process has ended or either side has gone.
func relayExec(t *terminal, stream controlplane.Stream) {
	to := &sender{s: stream}
	if t.in != nil {
		go func() { // ends with the connection
			buf := make([]byte, 32<<10)
			for {
				n, err := t.in.Read(buf)
				if n > 0 && to.data(append([]byte(nil), buf[:n]...)) != nil {
					return
				}
				if err != nil {
					_ = to.eof() // a node that has gone ends the exec by itself
					return
				}
			}
		}()
	}
	if t.resize != nil {
		go func() { // ends with the connection
			decoder := json.NewDecoder(t.resize)
			for {
				var size struct{ Width, Height uint16 }
				if decoder.Decode(&size) != nil {
					return
				}
				if to.send(&nodev1.Frame{Frame: &nodev1.Frame_Resize{Resize: &nodev1.TerminalSize{Width: uint32(size.Width), Height: uint32(size.Height)}}}) != nil {
					return
				}
			}
		}()
	}
	for {
		f, err := stream.Recv()
		if err != nil {
			t.tell(statusOf(fmt.Errorf("the node ended the stream: %w", err)))
			return
		}
		if d := f.GetData(); d != nil && len(d.Bytes) > 0 {
			w := t.out
			if d.Channel == stderr {
				w = t.err
			}
			if w == nil {
				continue
			}
			if _, err := w.Write(d.Bytes); err != nil {
				return // the client has gone
			}
		}
		if r := f.GetResult(); r != nil {
			t.tell(resultStatus(r))
			return
		}
	}
}

// tell writes how it ended to the error channel; nil is success.
func (t *terminal) tell(st *metav1.Status) {
	if st == nil {
		st = &metav1.Status{Status: metav1.StatusSuccess}
	}
	if b, err := json.Marshal(st); err == nil {
		_, _ = t.status.Write(b) // a client that has gone isn't an error
	}
}
