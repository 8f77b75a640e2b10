package containerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"swell.dev/swell/nodelet"
)

// ChildConfig says where a containerd of our own lives.
type ChildConfig struct {
	Dir      string // its root, state, socket, config and log; see paths
	Binaries Binaries
	// ReadyWithin is how long it may take until it answers. Default 30 s.
	ReadyWithin time.Duration
	Log         *slog.Logger
}

// A containerd that dies is started again after a wait that doubles from the first to the last of
// these; one that ran for steadyAfter starts from the first again.
const (
	firstRestart = 100 * time.Millisecond
	lastRestart  = 10 * time.Second
	steadyAfter  = time.Minute
	maxLog       = 16 << 20 // bytes at which containerd's log is put aside at a start
)

// Child is a containerd process. It is in a session of its own: neither Ctrl-C nor the end of the
// process that started it reaches it. The next StartChild on the same directory adopts it.
type Child struct {
	cfg    ChildConfig
	paths  paths
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex // guards proc
	proc *proc
}

// StartChild starts containerd, or adopts the one that runs, and waits until it answers.
func StartChild(ctx context.Context, cfg ChildConfig) (*Child, error) {
	if cfg.ReadyWithin == 0 {
		cfg.ReadyWithin = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("containerd: %w without root; run as root", nodelet.ErrUnsupported)
	}
	p, err := pathsOf(cfg.Dir)
	if err != nil {
		return nil, err
	}
	c := &Child{cfg: cfg, paths: p, done: make(chan struct{})}
	if err := p.make(); err != nil {
		return nil, fmt.Errorf("containerd directory: %w", err)
	}
	pr, err := c.adopt()
	if err != nil {
		return nil, err
	}
	if pr == nil {
		if err := p.checkOverlay(); err != nil {
			return nil, err
		}
		if pr, err = c.spawn(); err != nil {
			return nil, err
		}
	}
	if err := c.ready(ctx, pr); err != nil {
		pr.kill(unix.SIGKILL)
		<-pr.ended
		return nil, err
	}
	c.proc = pr
	var watch context.Context
	watch, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go c.supervise(watch)
	return c, nil
}

// Socket is where containerd answers.
func (c *Child) Socket() string { return c.paths.socket() }

// Config is what a Runtime needs to work with this containerd.
func (c *Child) Config() Config {
	return Config{
		Address:  c.paths.socket(),
		Runc:     c.cfg.Binaries.Runc,
		RuncRoot: c.paths.runc(),
		FIFODir:  c.paths.fifo(),
		Logger:   c.cfg.Binaries.Logger,
		Holder:   c.cfg.Binaries.Holder,
		GateDir:  c.paths.gates(),
		Log:      c.cfg.Log,
	}
}

// PID is the present process.
func (c *Child) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proc.pid
}

// Release stops watching over containerd and leaves it running.
func (c *Child) Release() {
	c.cancel()
	<-c.done
	c.proc.release()
	<-c.proc.ended
}

// Stop ends containerd. Containers run on: their shims don't need it.
func (c *Child) Stop(ctx context.Context) error {
	c.cancel()
	<-c.done
	c.proc.kill(unix.SIGTERM)
	select {
	case <-c.proc.ended:
	case <-ctx.Done():
		c.proc.kill(unix.SIGKILL)
		<-c.proc.ended
	}
	c.proc.release()
	return errors.Join(ignoreMissing(os.Remove(c.paths.pid())), ignoreMissing(os.Remove(c.paths.socket())))
}

func (c *Child) supervise(ctx context.Context) {
	defer close(c.done)
	wait, since := firstRestart, time.Now()
	for {
		select {
		case <-c.proc.ended:
		case <-ctx.Done():
			return
		}
		if time.Since(since) > steadyAfter {
			wait = firstRestart
		}
		c.cfg.Log.Error("containerd ended; starting it again", "pid", c.proc.pid, "in", wait, "log", c.paths.log())
		for {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
			wait = min(2*wait, lastRestart)
			since = time.Now()
			pr, err := c.spawn()
			if err == nil {
				c.mu.Lock()
				c.proc = pr
				c.mu.Unlock()
				break
			}
			c.cfg.Log.Error("containerd cannot be started", "cause", err, "again in", wait)
		}
	}
}

// adopt answers the process that the pid file names if it still is our containerd, nil otherwise.
func (c *Child) adopt() (*proc, error) {
	b, err := os.ReadFile(c.paths.pid())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("containerd pid file: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, nil // half written: that start was not completed
	}
	pr, err := watchProc(pid, nil)
	if err != nil {
		return nil, nil // gone
	}
	// The pid may be someone else's by now. The config's path is what no other process has on its
	// command line; it is read after the process is held, so it can't change hands in between.
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(cmdline), "\x00"+c.paths.config()+"\x00") {
		pr.release()
		<-pr.ended
		return nil, nil
	}
	return pr, nil
}

func (c *Child) spawn() (*proc, error) {
	if err := c.paths.writeConfig(); err != nil {
		return nil, err
	}
	if info, err := os.Stat(c.paths.log()); err == nil && info.Size() > maxLog {
		if err := os.Rename(c.paths.log(), c.paths.log()+".1"); err != nil {
			return nil, fmt.Errorf("containerd log: %w", err)
		}
	}
	log, err := os.OpenFile(c.paths.log(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("containerd log: %w", err)
	}
	defer log.Close() //nolint:errcheck // the child has its own
	cmd := exec.Command(c.cfg.Binaries.Containerd, "--config", c.paths.config(), "--log-level", "warn")
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	// containerd looks for the shim in PATH, the shim for nothing.
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(c.cfg.Binaries.Shim)+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	unignore()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("containerd: %w", err)
	}
	pr, err := watchProc(cmd.Process.Pid, cmd)
	if err == nil {
		err = os.WriteFile(c.paths.pid(), []byte(strconv.Itoa(pr.pid)+"\n"), 0o600)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("containerd: %w", err), cmd.Process.Kill(), cmd.Wait())
	}
	return pr, nil
}

// unignore lets children have the signals that this process ignores since it began: nohup and shells leave it
// so, and containers would inherit it. Signals that a Go program hears are reset in what it executes.
func unignore() {
	for _, sig := range []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM} {
		if signal.Ignored(sig) {
			signal.Notify(make(chan os.Signal, 1), sig) // heard by nobody, so it stays without effect here
		}
	}
}

// ready waits until containerd answers on its socket.
func (c *Child) ready(ctx context.Context, pr *proc) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ReadyWithin)
	defer cancel()
	conn, err := grpc.NewClient("unix://"+c.paths.socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("containerd socket: %w", err)
	}
	defer conn.Close() //nolint:errcheck // nothing was written
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(c.paths.socket()); err == nil {
			conn.Connect()
			one, cancel := context.WithTimeout(ctx, time.Second)
			answer, err := healthv1.NewHealthClient(conn).Check(one, &healthv1.HealthCheckRequest{})
			cancel()
			if err == nil && answer.GetStatus() == healthv1.HealthCheckResponse_SERVING {
				return nil
			}
			conn.ResetConnectBackoff()
		}
		select {
		case <-tick.C:
		case <-pr.ended:
			return fmt.Errorf("containerd ended before it was ready: %s", c.lastLog())
		case <-ctx.Done():
			return fmt.Errorf("containerd does not answer on %s: %w: %s", c.paths.socket(), ctx.Err(), c.lastLog())
		}
	}
}

// lastLog is the end of containerd's log, which says why it ended.
func (c *Child) lastLog() string {
	b, err := os.ReadFile(c.paths.log())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
