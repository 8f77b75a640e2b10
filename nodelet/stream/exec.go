package stream

import (
	"context"
	"fmt"
	"sync"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/nodelet"
)

// execExchange runs a process in a container. When the other side goes, the process is killed.
type execExchange struct {
	d  Deps
	r  *nodev1.ExecRequest
	in input

	mu      sync.Mutex // guards what follows
	process nodelet.Process
	size    *nodev1.TerminalSize // came before the process was there
}

func newExec(d Deps, r *nodev1.ExecRequest) *execExchange {
	return &execExchange{d: d, r: r, in: newInput()}
}

func (x *execExchange) take(f *nodev1.Frame) {
	size := f.GetResize()
	if size == nil {
		x.in.take(f)
		return
	}
	x.mu.Lock()
	p := x.process
	x.size = size
	x.mu.Unlock()
	if p != nil {
		resize(context.Background(), p, size)
	}
}

func (x *execExchange) run(ctx context.Context, out *sender) (int32, error) {
	defer x.in.endWith(ctx)()
	if len(x.r.Command) == 0 {
		return 0, badRequest{fmt.Errorf("exec: command is empty")}
	}
	c, _, err := x.d.FindContainer(ctx, x.r.PodUid, x.r.Container, false)
	if err != nil {
		return 0, err
	}
	if c.State != nodelet.StateRunning {
		return 0, badRequest{fmt.Errorf("container %s: it is not running", c.Name)}
	}
	e := nodelet.Exec{Command: x.r.Command, TTY: x.r.Tty}
	if x.r.Stdin {
		e.Stdin = x.in.r
	} else {
		x.in.r.Close() //nolint:errcheck // it always succeeds
	}
	if x.r.Stdout {
		e.Stdout = channel{out, stdout}
	}
	if x.r.Stderr && !x.r.Tty {
		e.Stderr = channel{out, stderr}
	}
	p, err := x.d.Runtime.Exec(ctx, c.ID, e)
	if err != nil {
		return 0, err
	}
	x.mu.Lock()
	x.process = p
	size := x.size
	x.mu.Unlock()
	if size != nil {
		resize(ctx, p, size)
	}
	return p.Wait(ctx)
}

// resize passes the terminal's size on. A process that has ended has none.
func resize(ctx context.Context, p nodelet.Process, size *nodev1.TerminalSize) {
	p.Resize(ctx, size.Width, size.Height) //nolint:errcheck // as above
}
