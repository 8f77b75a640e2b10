// Package stream serves the exchanges that a control plane asks a nodelet for: a container's log, a
// process inside it, a connection to one of its ports, an image archive. What the frames mean is in
// node.proto.
package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/nodelet"
)

// Channels of Data frames.
const (
	stdin  = 0
	stdout = 1
	stderr = 2
)

// maxFrame is how much one frame carries; gRPC refuses messages above 4 MiB by default.
const maxFrame = 64 << 10

// Stream is the exchange. Send and Recv may be called by one goroutine each.
type Stream interface {
	Send(*nodev1.Frame) error
	Recv() (*nodev1.Frame, error)
}

// Deps is the host.
type Deps struct {
	Runtime nodelet.Runtime
	Images  nodelet.Images
	// FindContainer answers a container of a pod and the pod's network namespace; with an empty name
	// only the latter counts.
	FindContainer func(ctx context.Context, podUID, name string, previous bool) (nodelet.ContainerState, string, error)
}

// exchange is one kind of request. run does the work and answers an exit code; take gets each frame
// from the other side, in order, until run has returned or the other side has gone.
type exchange interface {
	run(ctx context.Context, out *sender) (int32, error)
	take(f *nodev1.Frame)
}

// Handle serves one exchange and tells its result as the last frame. It returns when the other side has
// ended the stream: until then it is the one that reads from it. The error is nil unless the result
// could not be told.
func Handle(ctx context.Context, d Deps, open *nodev1.Open, s Stream) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x, err := d.exchange(open)
	finished, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		defer cancel() // nobody is left to do it for
		for {
			f, err := s.Recv()
			if err != nil {
				return
			}
			select {
			case <-finished:
			default:
				if x != nil {
					x.take(f)
				}
			}
		}
	}()
	out := &sender{s: s}
	probed := make(chan struct{})
	go func() {
		defer close(probed)
		out.probe(ctx, finished, cancel)
	}()
	var code int32
	if err == nil {
		code, err = x.run(ctx, out)
	}
	close(finished)
	<-probed
	err = out.send(&nodev1.Frame{Frame: &nodev1.Frame_Result{Result: resultOf(code, err)}})
	<-gone
	return err
}

func (d Deps) exchange(open *nodev1.Open) (exchange, error) {
	switch r := open.GetRequest().(type) {
	case *nodev1.Open_Log:
		return &logExchange{d: d, r: r.Log}, nil
	case *nodev1.Open_Exec:
		return newExec(d, r.Exec), nil
	case *nodev1.Open_PortForward:
		return newForward(d, r.PortForward), nil
	case *nodev1.Open_ImageImport:
		return newImport(d), nil
	case *nodev1.Open_ImageList:
		return &listExchange{d: d}, nil
	default:
		return nil, badRequest{fmt.Errorf("request %T: this nodelet doesn't know it", r)}
	}
}

// silent is for exchanges that expect no frames.
type silent struct{}

func (silent) take(*nodev1.Frame) {}

// badRequest is an error of whoever asks.
type badRequest struct{ error }

func resultOf(code int32, err error) *nodev1.Result {
	switch {
	case err == nil && code == 0:
		return &nodev1.Result{}
	case err == nil:
		return &nodev1.Result{Reason: "NonZeroExitCode", Message: fmt.Sprintf("command terminated with exit code %d", code), ExitCode: code}
	case errors.Is(err, nodelet.ErrNotFound):
		return &nodev1.Result{Reason: "NotFound", Message: err.Error()}
	case errors.As(err, new(badRequest)):
		return &nodev1.Result{Reason: "BadRequest", Message: err.Error()}
	default:
		return &nodev1.Result{Reason: "InternalError", Message: err.Error()}
	}
}

// sender lets several goroutines send.
type sender struct {
	mu sync.Mutex // one Send at a time
	s  Stream
}

func (o *sender) send(f *nodev1.Frame) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.s.Send(f)
}

// probeEvery is how often the other side is written to although there is nothing to say: nothing is read
// from it while its last frame waits for a process that doesn't read, and so its end isn't noticed.
const probeEvery = 10 * time.Second

// probe sends Data frames with nothing in them, which say nothing, and calls gone when that fails. It
// returns then, or with the exchange.
func (o *sender) probe(ctx context.Context, finished <-chan struct{}, gone func()) {
	beat := time.NewTicker(probeEvery)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-finished:
			return
		case <-beat.C:
			if o.send(dataFrame(stdout, nil, false)) != nil {
				gone()
				return
			}
		}
	}
}

// channel is a writer of Data frames.
type channel struct {
	out    *sender
	number int32
}

// Write implements io.Writer. The bytes are copied: a stream may keep a frame after Send.
func (c channel) Write(b []byte) (int, error) {
	for sent := 0; sent < len(b); {
		piece := append([]byte(nil), b[sent:min(len(b), sent+maxFrame)]...)
		if err := c.out.send(dataFrame(c.number, piece, false)); err != nil {
			return sent, err
		}
		sent += len(piece)
	}
	return len(b), nil
}

func (c channel) eof() error { return c.out.send(dataFrame(c.number, nil, true)) }

func dataFrame(channel int32, b []byte, eof bool) *nodev1.Frame {
	return &nodev1.Frame{Frame: &nodev1.Frame_Data{Data: &nodev1.Data{Channel: channel, Bytes: b, Eof: eof}}}
}
