package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// daemon is a server that runs as a process of its own, with its output in a file.
type daemon struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // of its end; read after done
}

// How long servers may take: to be ready, on a machine that is busy with other things, and to end when asked.
const (
	readyWithin = 2 * time.Minute
	endWithin   = 15 * time.Second
)

// startDaemon runs a program with its log beside its data.
func startDaemon(name, program, dir string, args ...string) (*daemon, error) {
	d := &daemon{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	out, err := os.Create(d.log)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer out.Close() //nolint:errcheck // the process has its own
	d.cmd = exec.Command(program, args...)
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = dir, out, out
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C here is not one there
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		defer close(d.done)
		d.err = d.cmd.Wait()
	}()
	return d, nil
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// await asks an address until it answers 200.
func (d *daemon) await(running context.Context, client *http.Client, address string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(running, within)
	defer cancel()
	var last error
	for {
		if _, last = get(ctx, client, address); last == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-d.done:
			return fmt.Errorf("%s ended before it was ready: %v\n%s", d.name, d.err, d.tail())
		case <-ctx.Done():
			if running.Err() != nil {
				return context.Cause(running) // nothing is wrong with it
			}
			return fmt.Errorf("%s isn't ready: %w: %w\n%s", d.name, ctx.Err(), last, d.tail())
		}
	}
}

// get answers the body of a 200.
func get(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	said, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // it was only read
	if err == nil && res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %.4000s", res.Status, said)
	}
	return said, err
}

// stop ends the process, by force if it doesn't end when asked. It is idempotent.
func (d *daemon) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // of a process that has ended: nothing to do
	select {
	case <-d.done:
	case <-time.After(endWithin):
		_ = d.cmd.Process.Kill()
		<-d.done
	}
}

// tail is the end of its log, for errors.
func (d *daemon) tail() string {
	raw, err := os.ReadFile(d.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-25):], "\n")
}
