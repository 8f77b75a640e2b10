package stream

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/nodelet"
)

// stuck is a stream whose last frame is never taken: what comes after it, its end included, isn't seen.
type stuck struct {
	frames chan *nodev1.Frame
	sent   atomic.Int32
	gone   atomic.Bool
}

func (s *stuck) Recv() (*nodev1.Frame, error) {
	f, ok := <-s.frames
	if !ok {
		return nil, io.EOF
	}
	return f, nil
}

func (s *stuck) Send(f *nodev1.Frame) error {
	if s.gone.Load() {
		return io.EOF
	}
	s.sent.Add(1)
	if d := f.GetData(); d != nil && (len(d.Bytes) > 0 || d.Eof) {
		return errors.New("a frame that says something")
	}
	return nil
}

// TestExecIsLeftWhileStuck: a process that doesn't read its input ends, too, when who asked for it goes.
func TestExecIsLeftWhileStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &fakeRuntime{run: func(ctx context.Context, _ nodelet.Exec) (int32, error) {
			<-ctx.Done()
			return -1, ctx.Err()
		}}
		d := Deps{Runtime: rt, FindContainer: found(nodelet.ContainerState{ID: "c1", State: nodelet.StateRunning}, "")}
		s := &stuck{frames: make(chan *nodev1.Frame, 2)}
		s.frames <- dataFrame(stdin, []byte("unread"), false)
		s.frames <- dataFrame(stdin, []byte("unseen"), false)
		close(s.frames)
		handled := make(chan error, 1)
		go func() {
			handled <- Handle(t.Context(), d, execRequest(&nodev1.ExecRequest{PodUid: "u1", Command: []string{"x"}, Stdin: true}), s)
		}()
		time.Sleep(10*probeEvery + time.Second)
		synctest.Wait()
		if s.sent.Load() != 10 || len(handled) != 0 {
			t.Fatalf("%d probes while the other side is there", s.sent.Load())
		}
		s.gone.Store(true)
		time.Sleep(probeEvery)
		synctest.Wait()
		if len(handled) != 1 {
			t.Error("the process goes on")
		}
	})
}

// TestForwardReset: a process that closes with input unread ends its connection, which is no error: to
// clients one would end all connections.
func TestForwardReset(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing was written
	go func() {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Error(err)
		}
		if err := errors.Join(conn.(*net.TCPConn).SetLinger(0), conn.Close()); err != nil {
			t.Error(err)
		}
	}()
	d := Deps{FindContainer: found(nodelet.ContainerState{}, "")}
	c := begin(t, d, &nodev1.Open{Request: &nodev1.Open_PortForward{PortForward: &nodev1.PortForwardRequest{PodUid: "u1", Port: int32(l.Addr().(*net.TCPAddr).Port)}}})
	c.send(dataFrame(stdin, []byte("hello"), false))
	if got, r := c.end(); got[stdout] != "" || r.Reason != "" {
		t.Errorf("a reset answers %v, %v", got, r)
	}
}
