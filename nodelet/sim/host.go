// Package sim simulates a host's runtime and images in memory, instantly or with given latencies. What
// a container does is scripted. A Host keeps its containers while runtimes come and go, as a real host
// does while nodelets are restarted.
package sim

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"swell.dev/swell/internal/crilog"
	"swell.dev/swell/nodelet"
)

// Config says how the host behaves. Its zero value is an instant host where every image can be pulled
// and containers do what Interpret makes of their command.
type Config struct {
	CreateLatency time.Duration
	StartLatency  time.Duration
	ExecLatency   time.Duration
	PullLatency   time.Duration
	Script        func(nodelet.Container) Script // nil: Interpret of command and arguments
	PullError     func(ref string) error         // nil: every image is there
}

// Host is a simulated host.
type Host struct {
	cfg Config

	mu         sync.Mutex // guards what follows
	containers map[string]*container
	images     map[string]nodelet.Image
	runtimes   map[*Runtime]bool
	nextPID    int
}

type container struct {
	spec   nodelet.Container
	state  nodelet.ContainerState
	script Script
	timer  *time.Timer
}

// NewHost makes an empty host.
func NewHost(cfg Config) *Host {
	if cfg.Script == nil {
		cfg.Script = func(c nodelet.Container) Script {
			return Interpret(append(append([]string(nil), c.Command...), c.Args...))
		}
	}
	return &Host{
		cfg:        cfg,
		containers: map[string]*container{},
		images:     map[string]nodelet.Image{},
		runtimes:   map[*Runtime]bool{},
		nextPID:    1000,
	}
}

// Exit ends a running or held container as if by itself.
func (h *Host) Exit(id string, code int32, oomKilled bool) error {
	h.mu.Lock()
	c := h.containers[id]
	if c == nil {
		h.mu.Unlock()
		return fmt.Errorf("container %s: %w", id, nodelet.ErrNotFound)
	}
	told := h.endLocked(c, code, oomKilled)
	h.mu.Unlock()
	told()
	return nil
}

// endLocked ends a running container; what it answers tells the runtimes, without the lock.
func (h *Host) endLocked(c *container, code int32, oomKilled bool) (tell func()) {
	if c.state.State != nodelet.StateRunning && c.state.Held == "" {
		return func() {}
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	c.state.State, c.state.PID, c.state.Held = nodelet.StateExited, 0, ""
	c.state.ExitCode, c.state.OOMKilled, c.state.ExitedAt = code, oomKilled, time.Now()
	e := nodelet.Exit{ID: c.state.ID, PodUID: c.state.PodUID, ExitCode: code, OOMKilled: oomKilled, At: c.state.ExitedAt}
	var listeners []*Runtime
	for r := range h.runtimes {
		listeners = append(listeners, r)
	}
	return func() {
		for _, r := range listeners {
			select {
			case r.exits <- e:
			case <-r.closed:
			}
		}
	}
}

// startLocked makes a created container run its script.
func (h *Host) startLocked(c *container) error {
	if err := writeLog(c.spec.LogPath, c.script); err != nil {
		return err
	}
	h.nextPID++
	c.state.State, c.state.PID, c.state.StartedAt = nodelet.StateRunning, h.nextPID, time.Now()
	if !c.script.Forever {
		c.timer = time.AfterFunc(c.script.After, func() {
			h.mu.Lock()
			tell := h.endLocked(c, c.script.Code, c.script.OOMKilled)
			h.mu.Unlock()
			tell()
		})
	}
	return nil
}

func writeLog(path string, s Script) error {
	if path == "" || s.Stdout+s.Stderr == "" {
		return nil
	}
	w, err := crilog.NewWriter(path, 0, 0)
	if err != nil {
		return err
	}
	defer w.Close() //nolint:errcheck // each entry is written when Copy returns
	if err := w.Copy(crilog.Stdout, strings.NewReader(s.Stdout)); err != nil {
		return err
	}
	return w.Copy(crilog.Stderr, strings.NewReader(s.Stderr))
}
