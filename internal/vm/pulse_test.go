package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestPulse: a machine is silent once its pulse has stopped for long enough, and not before.
func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pulse := filepath.Join(t.TempDir(), "pulse")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan bool, 1)
		began := time.Now()
		go func() { done <- listen(ctx, pulse, time.Minute, time.Second) }()
		beat := func() {
			f, err := os.OpenFile(pulse, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString("."); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			time.Sleep(50 * time.Second)
			beat()
		}
		select {
		case <-done:
			t.Fatal("a machine with a pulse is taken for silent")
		default:
		}
		if silent := <-done; !silent || time.Since(began) < 560*time.Second || time.Since(began) > 565*time.Second {
			t.Errorf("silent %v after %v", silent, time.Since(began))
		}
		go func() { done <- listen(ctx, pulse, time.Minute, time.Second) }()
		cancel()
		if <-done {
			t.Error("a machine that has ended is taken for silent")
		}
	})
}

// hanging stops the emulator as soon as the program prints.
type hanging struct {
	t    *testing.T
	hung bool
}

func (h *hanging) Write(p []byte) (int, error) {
	if h.hung || !strings.Contains(string(p), "waits") {
		return len(p), nil
	}
	threads, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		h.t.Error(err)
	}
	for _, file := range threads {
		children, _ := os.ReadFile(file) // a thread may have ended
		for _, child := range strings.Fields(string(children)) {
			name, _ := os.ReadFile("/proc/" + child + "/comm")
			if !strings.HasPrefix(string(name), "qemu-system") {
				continue
			}
			pid, err := strconv.Atoi(child)
			if err == nil {
				err = syscall.Kill(pid, syscall.SIGSTOP)
			}
			if err != nil {
				h.t.Error(err)
			}
			h.hung = true
		}
	}
	return len(p), nil
}

// TestSilentMachineIsEnded: one that hangs without a word is a lock-up, long before its time is over.
func TestSilentMachineIsEnded(t *testing.T) {
	root := needVM(t)
	h := &hanging{t: t}
	_, err := Run(t.Context(), Config{Root: root, Program: ownBinary(t, root), Args: []string{"-inside=wait"}, Output: h, silence: 45 * time.Second})
	if !errors.Is(err, ErrLockup) || !h.hung {
		t.Errorf("hung %v, got %v", h.hung, err)
	}
}
