package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// binaries answers the folder that `make` builds into.
func binaries(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("short: it runs the built binary")
	}
	bin, err := filepath.Abs("../bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "swell")); err != nil {
		t.Fatalf("%v: run make first", err)
	}
	return bin
}

// TestKillInABurst kills the control plane at random moments of a burst of 20,000 creates. Every pod that was
// answered 201 must be in etcd, as the one that was answered, and run on the one host that etcd names; what
// was sent again must not be there twice.
func TestKillInABurst(t *testing.T) {
	s := &setting{bin: binaries(t), rounds: 1}
	c := killConfig{nodes: 50, pods: 20_000, clients: 128, kills: 3, seed: uint64(time.Now().UnixNano())}
	t.Logf("seed %d", c.seed)
	began := time.Now()
	r, err := s.killRound(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d answered 201, %d there after a lost answer, %d without an answer, down for %v; %v in all", r.created, r.there, r.broken, r.down, time.Since(began))
	if r.created+r.there != int64(c.pods) || len(r.down) != c.kills {
		t.Errorf("%d answered of %d, %d kills", r.created+r.there, c.pods, len(r.down))
	}
	if r.broken == 0 {
		t.Error("no request was broken off: it wasn't killed in the middle")
	}
	if r.found.wrong() > 0 {
		t.Errorf("%v", r.found)
	}
}

func TestMomentsAreInTheMiddle(t *testing.T) {
	for seed := range uint64(200) {
		last := 0
		for _, m := range (&burst{}).moments(killConfig{pods: 1000, kills: 4, seed: seed}) {
			if m.at < 100 || m.at > 900 || m.at < last {
				t.Errorf("seed %d: killed after %d of 1000, the one before after %d", seed, m.at, last)
			}
			last = m.at
		}
	}
}
