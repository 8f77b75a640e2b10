package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/google/uuid"

	"swell.dev/swell/nodelet"
)

// outputWithin is how long after a process's end its output is waited for: a process that it left
// behind may hold the streams open for ever.
const outputWithin = 5 * time.Second

// cleanupWithin bounds the removal of an ended exec.
const cleanupWithin = 10 * time.Second

// Exec implements nodelet.Runtime. The process has the container's user, capabilities and environment.
func (r *Runtime) Exec(ctx context.Context, id string, e nodelet.Exec) (nodelet.Process, error) {
	ctx = r.in(ctx)
	p, err := r.exec(ctx, id, e)
	if err != nil {
		return nil, fmt.Errorf("container %s: exec: %w", id, r.withDisk(err))
	}
	return p, nil
}

func (r *Runtime) exec(ctx context.Context, id string, e nodelet.Exec) (*process, error) {
	if err := r.awaitRecord(ctx, id); err != nil {
		return nil, err
	}
	container, err := r.client.LoadContainer(ctx, id)
	if err != nil {
		return nil, classed(err, nil)
	}
	task, err := container.Task(ctx, nil)
	if err != nil {
		return nil, classed(err, nil)
	}
	spec, err := container.Spec(ctx)
	if err != nil {
		return nil, classed(err, nil)
	}
	what := *spec.Process
	what.Args, what.Terminal = e.Command, e.TTY
	if e.TTY {
		what.Env = append(what.Env[:len(what.Env):len(what.Env)], "TERM=xterm")
	}
	p := &process{r: r}
	creator := cio.NewCreator(p.streams(e)...)
	if p.process, err = task.Exec(ctx, "exec-"+uuid.NewString(), &what, creator); err != nil {
		return nil, classed(err, nil)
	}
	// The process outlives ctx, which is of its start.
	p.ctx, p.cancel = context.WithCancel(r.in(r.ctx))
	if p.ended, err = p.process.Wait(p.ctx); err == nil {
		err = p.process.Start(ctx)
	}
	p.closeStdin.started()
	if err != nil {
		p.cancel()
		return nil, errors.Join(classed(err, nodelet.ErrStart), p.remove())
	}
	return p, nil
}

// process is a running exec.
type process struct {
	r          *Runtime
	process    client.Process
	ended      <-chan client.ExitStatus
	ctx        context.Context //nolint:containedctx // of the wait for the end
	cancel     context.CancelFunc
	closeStdin stdinCloser
}

func (p *process) streams(e nodelet.Exec) []cio.Opt {
	var stdin io.Reader
	if e.Stdin != nil {
		p.closeStdin = stdinCloser{ready: make(chan struct{}), p: p}
		stdin = &closing{Reader: e.Stdin, closer: &p.closeStdin}
	}
	stdout, stderr := e.Stdout, e.Stderr
	if stdout == nil {
		stdout = io.Discard
	}
	if stderr == nil {
		stderr = io.Discard
	}
	opts := []cio.Opt{cio.WithStreams(stdin, stdout, stderr)}
	if e.TTY {
		opts = []cio.Opt{cio.WithStreams(stdin, stdout, nil), cio.WithTerminal}
	}
	if p.r.cfg.FIFODir != "" {
		opts = append(opts, cio.WithFIFODir(p.r.cfg.FIFODir))
	}
	return opts
}

// closing tells its closer when the input has ended. Closing our end of the FIFO isn't enough: the shim
// holds it open too.
type closing struct {
	io.Reader
	closer *stdinCloser
}

func (c *closing) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	if err != nil {
		c.closer.close()
	}
	return n, err
}

type stdinCloser struct {
	once  sync.Once
	ready chan struct{} // closed when the start is over: before it there is nothing to close
	p     *process
}

func (s *stdinCloser) started() {
	if s.ready != nil {
		close(s.ready)
	}
}

func (s *stdinCloser) close() {
	s.once.Do(func() {
		s.p.r.background(cleanupWithin, func(ctx context.Context) {
			select {
			case <-s.ready:
			case <-ctx.Done():
				return
			}
			// It may have ended by itself meanwhile.
			s.p.process.CloseIO(ctx, client.WithStdinCloser) //nolint:errcheck // as above
		})
	})
}

// Resize implements nodelet.Process.
func (p *process) Resize(ctx context.Context, width, height uint32) error {
	if err := p.process.Resize(p.r.in(ctx), width, height); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("terminal: %w", err)
	}
	return nil
}

// Wait implements nodelet.Process.
func (p *process) Wait(ctx context.Context) (int32, error) {
	defer p.cancel()
	var status client.ExitStatus
	select {
	case status = <-p.ended:
	case <-ctx.Done():
		kill, cancel := context.WithTimeout(p.r.in(context.WithoutCancel(ctx)), cleanupWithin)
		defer cancel()
		err := ignoreNotFound(p.process.Kill(kill, syscall.SIGKILL))
		select {
		case <-p.ended:
		case <-kill.Done():
		}
		p.process.IO().Cancel()
		return -1, errors.Join(ctx.Err(), err, p.remove())
	}
	p.drain(ctx)
	code, _, err := status.Result()
	if err != nil {
		return -1, errors.Join(fmt.Errorf("exec: %w", err), p.remove())
	}
	return int32(code), p.remove()
}

// drain waits until all output was delivered.
func (p *process) drain(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		p.process.IO().Wait()
		close(done)
	}()
	limit := time.NewTimer(outputWithin)
	defer limit.Stop()
	select {
	case <-done:
		return
	case <-limit.C:
	case <-ctx.Done():
	}
	p.process.IO().Cancel()
	p.process.IO().Close() //nolint:errcheck // it ends the copying
	<-done
}

func (p *process) remove() error {
	ctx, cancel := context.WithTimeout(p.r.in(context.Background()), cleanupWithin)
	defer cancel()
	_, err := p.process.Delete(ctx)
	return ignoreNotFound(err)
}
