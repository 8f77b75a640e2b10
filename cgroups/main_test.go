package cgroups

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// helperEnv makes the test binary a process to put into a group. It does what the lines on its stdin say
// and answers each with a line when it is done; it ends with its stdin.
const helperEnv = "SWELL_CGROUPS_HELPER"

const mib = 1 << 20

func TestMain(m *testing.M) {
	switch os.Getenv(helperEnv) {
	case "pause":
		for syscall.Pause() != nil { //nolint:revive // it answers EINTR after every signal
		}
	case "obey":
		if err := help(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "helper:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func help(in io.Reader, out io.Writer) error {
	var held []byte
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		var n int
		if len(words) > 1 {
			n, _ = strconv.Atoi(words[1])
		}
		switch words[0] {
		case "hold": // so many MiB of anonymous memory
			b, err := allocate(n)
			if err != nil {
				return err
			}
			held = b
		case "share": // so many MiB of shared memory, which counts as files of a tmpfs do
			b, err := shared(n)
			if err != nil {
				return err
			}
			held = b
		case "touch": // to say that it is still there
			for i := range held {
				if held[i] != 1 {
					return fmt.Errorf("byte %d of what was held is gone", i)
				}
			}
		case "release":
			if err := syscall.Munmap(held); err != nil {
				return err
			}
			held = nil
		case "read": // so many MiB of a file, which stay in the page cache
			if err := readFile(words[2], n); err != nil {
				return err
			}
		case "churn": // take so many MiB again and again, and answer once it has begun
			go churn(n)
		case "burn":
			go func() {
				for { //nolint:revive // it uses CPU
				}
			}()
		case "fork": // a process of its own, which ends with nothing but a signal
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), helperEnv+"=pause")
			if err := cmd.Start(); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(out, "done"); err != nil {
			return err
		}
	}
	return lines.Err()
}

func allocate(n int) ([]byte, error) {
	b, err := syscall.Mmap(-1, 0, n*mib, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return nil, err
	}
	for i := range b {
		b[i] = 1
	}
	return b, nil
}

func shared(n int) ([]byte, error) {
	fd, err := unix.MemfdCreate("shared", 0)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	if err := syscall.Ftruncate(fd, int64(n)*mib); err != nil {
		return nil, err
	}
	b, err := syscall.Mmap(fd, 0, n*mib, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	for i := range b {
		b[i] = 1
	}
	return b, err
}

func readFile(path string, n int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(io.Discard, f, int64(n)*mib)
	return err
}

func churn(n int) {
	for {
		b, err := allocate(n)
		if err == nil {
			err = syscall.Munmap(b)
		}
		if err != nil {
			panic(err)
		}
	}
}

// helper is such a process.
type helper struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// startHelper starts one and moves it into a group before it does anything.
func startHelper(t *testing.T, g *Group) *helper {
	t.Helper()
	h := &helper{t: t, cmd: exec.Command("/proc/self/exe")}
	h.cmd.Env = append(os.Environ(), helperEnv+"=obey", "GOMAXPROCS=2")
	h.cmd.Stderr = os.Stderr
	var err error
	if h.stdin, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.stdout = bufio.NewReader(out)
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.end)
	if err := g.Add(h.cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *helper) end() {
	if h.cmd.ProcessState == nil {
		h.cmd.Process.Kill()
		h.cmd.Wait()
	}
}

// do has it do something and waits for the answer. It fails if the helper was killed.
func (h *helper) do(what string, args ...any) {
	h.t.Helper()
	if err := h.try(what, args...); err != nil {
		h.t.Fatalf("helper: %s: %v", what, err)
	}
}

func (h *helper) try(what string, args ...any) error {
	if _, err := fmt.Fprintln(h.stdin, append([]any{what}, args...)...); err != nil {
		return err
	}
	_, err := h.stdout.ReadString('\n')
	return err
}

// within fails if something takes longer: it would hang.
func within(t *testing.T, d time.Duration, what string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(d):
		t.Fatalf("%s: not done after %v", what, d)
		return nil
	}
}
