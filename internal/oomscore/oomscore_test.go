package oomscore

import (
	"os/exec"
	"strings"
	"testing"
)

// sleepers starts processes with scores of their own, which end with the test.
func sleepers(t *testing.T, scores ...string) (pids []int) {
	t.Helper()
	for _, score := range scores {
		cmd := exec.Command("/bin/sh", "-c", "echo "+score+" > /proc/self/oom_score_adj && echo set && exec cat")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			in.Close()
			cmd.Process.Kill()
			cmd.Wait()
		})
		b := make([]byte, 3)
		if _, err := out.Read(b); err != nil || strings.TrimSpace(string(b)) != "set" {
			t.Fatalf("the process says %q, %v", b, err)
		}
		pids = append(pids, cmd.Process.Pid)
	}
	return pids
}

func TestMove(t *testing.T) {
	pids := sleepers(t, "900", "950", "900")
	looks := 0
	processes := func() ([]int, error) {
		if looks++; looks == 1 {
			return pids[:2], nil // the third is forked meanwhile
		}
		return append(pids, 1<<22+1), nil // and one has ended
	}
	if err := Move(processes, 900, 930); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{930, 950, 930} {
		if got, err := Of(pids[i]); got != want || err != nil {
			t.Errorf("process %d has %d, want %d: %v", i, got, want, err)
		}
	}
	if looks != 3 {
		t.Errorf("looked %d times", looks)
	}
}

// A host that doesn't let us lower a score below our own is not asked to.
func TestAllowed(t *testing.T) {
	if got := Allowed(1000); got != 1000 {
		t.Errorf("1000 became %d", got)
	}
	if got := Allowed(-1000); got != -1000 {
		own, err := Of(1)
		if err != nil || got < own {
			t.Errorf("-1000 became %d", got)
		}
		t.Logf("this host allows no less than %d", got)
	}
}
