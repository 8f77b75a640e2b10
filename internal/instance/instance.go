// Package instance runs `swell up`, or a role of it, as a user would, as a process of its own under a data
// directory, for the demo and the end-to-end tests: start, wait until it is ready, kill it or end it, start
// it again on the same directory, and remove what it made.
package instance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// ReadyLine is what a role prints, alone on a line, when it works: `swell up` when pods can be created.
const ReadyLine = "swell is ready"

// Config says what to run.
type Config struct {
	Binary  string    // path of swell
	DataDir string    // absolute
	Role    string    // up, controlplane or nodelet; default up
	Args    []string  // more flags of the role
	Output  io.Writer // what it prints; nil: kept for errors only
}

// Instance is a data directory and at most one process on it.
type Instance struct {
	cfg    Config
	listen string

	mu   sync.Mutex // guards cmd and exited
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	err  error         // of the ended cmd
}

// New chooses a free port for the API, which the instance keeps over its restarts.
func New(cfg Config) (*Instance, error) {
	if cfg.Role == "" {
		cfg.Role = "up"
	}
	if !filepath.IsAbs(cfg.DataDir) || !filepath.IsAbs(cfg.Binary) {
		return nil, fmt.Errorf("instance: data directory %q and binary %q must be absolute", cfg.DataDir, cfg.Binary)
	}
	i := &Instance{cfg: cfg}
	if cfg.Role == "nodelet" {
		return i, nil // it dials out
	}
	var err error
	i.listen, err = FreeAddress()
	return i, err
}

// FreeAddress answers a loopback address with a port that nobody listens on.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Kubeconfig is the file that `swell up` writes.
func (i *Instance) Kubeconfig() string { return filepath.Join(i.cfg.DataDir, "kubeconfig") }

// Start runs the role and returns when it is ready.
func (i *Instance) Start(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.cmd != nil {
		return errors.New("instance: already started")
	}
	args := []string{i.cfg.Role, "--data-dir", i.cfg.DataDir}
	if i.listen != "" {
		args = append(args, "--listen", i.listen)
	}
	cmd := exec.Command(i.cfg.Binary, append(args, i.cfg.Args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C here is not one there
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s %s: %w", i.cfg.Binary, i.cfg.Role, err)
	}
	ready, done := make(chan struct{}), make(chan struct{})
	var tail tailBuffer
	i.cmd, i.done = cmd, done
	go func() {
		defer close(done)
		scan := bufio.NewScanner(out)
		scan.Buffer(nil, 1<<20)
		seen := false
		for scan.Scan() {
			line := scan.Text()
			tail.add(line)
			if i.cfg.Output != nil {
				fmt.Fprintln(i.cfg.Output, line)
			}
			if !seen && strings.TrimSpace(line) == ReadyLine {
				seen = true
				close(ready)
			}
		}
		_, _ = io.Copy(io.Discard, out)
		i.err = cmd.Wait()
	}()
	select {
	case <-ready:
		return nil
	case <-done:
		i.cmd = nil
		return fmt.Errorf("swell %s ended before it was ready: %v\n%s", i.cfg.Role, i.err, tail.String())
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		<-done
		i.cmd = nil
		return fmt.Errorf("swell %s wasn't ready in time: %w\n%s", i.cfg.Role, ctx.Err(), tail.String())
	}
}

// Signal ends the process by a signal and waits for its end: SIGINT as a Ctrl-C, SIGKILL as a crash.
func (i *Instance) Signal(sig syscall.Signal) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.cmd == nil {
		return nil
	}
	if err := i.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-i.done
	i.cmd = nil
	if sig != syscall.SIGKILL && i.err != nil {
		return fmt.Errorf("swell %s after %v: %w", i.cfg.Role, sig, i.err)
	}
	return nil
}

// PID of the running process, 0 if there is none.
func (i *Instance) PID() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.cmd == nil {
		return 0
	}
	return i.cmd.Process.Pid
}

// Down ends the process and removes everything that it made on the host.
func (i *Instance) Down(ctx context.Context) error {
	err := i.Signal(syscall.SIGINT)
	cmd := exec.CommandContext(ctx, i.cfg.Binary, "down", "--data-dir", i.cfg.DataDir)
	if out, derr := cmd.CombinedOutput(); derr != nil {
		err = errors.Join(err, fmt.Errorf("swell down: %w\n%s", derr, out))
	}
	return err
}

// REST is the configuration of a client with the administrator's rights.
func (i *Instance) REST() (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", i.Kubeconfig())
	if err != nil {
		return nil, err
	}
	cfg.QPS, cfg.Burst = -1, -1
	return cfg, nil
}

// Client is a typed client with the administrator's rights.
func (i *Instance) Client() (*kubernetes.Clientset, error) {
	cfg, err := i.REST()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(cfg)
}

// tailBuffer keeps the last lines, for errors.
type tailBuffer struct {
	mu    sync.Mutex
	lines []string
}

func (t *tailBuffer) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines = append(t.lines, line); len(t.lines) > 40 {
		t.lines = t.lines[1:]
	}
}

func (t *tailBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
