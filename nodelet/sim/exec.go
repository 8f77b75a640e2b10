package sim

import (
	"context"
	"fmt"
	"io"
	"time"

	"swell.dev/swell/nodelet"
)

// Exec implements nodelet.Runtime: it runs what Interpret makes of the command.
func (r *Runtime) Exec(ctx context.Context, id string, e nodelet.Exec) (nodelet.Process, error) {
	if err := wait(ctx, r.h.cfg.ExecLatency); err != nil {
		return nil, err
	}
	r.h.mu.Lock()
	c, err := r.h.getLocked(id)
	running := err == nil && c.state.State == nodelet.StateRunning
	r.h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if !running {
		return nil, fmt.Errorf("container %s: exec: it is not running", id)
	}
	p := &process{script: Interpret(e.Command), done: make(chan struct{})}
	var run context.Context
	run, p.kill = context.WithCancel(context.Background())
	go p.run(run, e)
	return p, nil
}

type process struct {
	script Script
	kill   context.CancelFunc
	done   chan struct{}
	code   int32 // after done
}

func (p *process) run(ctx context.Context, e nodelet.Exec) {
	defer close(p.done)
	stdout, stderr := e.Stdout, e.Stderr
	if e.TTY {
		stderr = e.Stdout
	}
	put(stdout, p.script.Stdout)
	put(stderr, p.script.Stderr)
	p.code = p.script.Code
	if p.script.Echo && e.Stdin != nil && stdout != nil {
		io.Copy(stdout, e.Stdin) //nolint:errcheck // either side has gone
	}
	after := p.script.After
	if p.script.Forever {
		after = 1 << 62
	}
	if after > 0 && wait(ctx, time.Duration(after)) != nil {
		p.code = 137
	}
}

func put(w io.Writer, text string) {
	if w != nil && text != "" {
		io.WriteString(w, text) //nolint:errcheck // the other side has gone
	}
}

// Resize implements nodelet.Process.
func (p *process) Resize(context.Context, uint32, uint32) error { return nil }

// Wait implements nodelet.Process.
func (p *process) Wait(ctx context.Context) (int32, error) {
	defer p.kill()
	select {
	case <-p.done:
		return p.code, nil
	case <-ctx.Done():
		return -1, ctx.Err()
	}
}
