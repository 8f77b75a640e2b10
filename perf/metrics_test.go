package main

import (
	"os"
	"testing"
)

func TestParseMetrics(t *testing.T) {
	m, err := parseMetrics([]byte("# HELP a_total Of a.\n# TYPE a_total counter\na_total 12\nb{c=\"d\"} 3\nbig 1.5e+09\n\n"))
	if err != nil || len(m) != 2 || m["a_total"] != 12 || m["big"] != 1.5e9 {
		t.Errorf("%v, %v", m, err)
	}
	if d := (metrics{"a": 5}).since(metrics{"a": 2}, "a"); d != 3 {
		t.Errorf("grew by %v", d)
	}
	if _, err := parseMetrics([]byte("a x\n")); err == nil {
		t.Error("a sample that is no number was taken")
	}
}

func TestOwnProcess(t *testing.T) {
	now, err := presentRSS(os.Getpid())
	if err != nil || now < 1<<20 {
		t.Errorf("RSS %d, %v", now, err)
	}
	if peak, err := peakRSS(os.Getpid()); err != nil || peak < now/2 {
		t.Errorf("peak %d of now %d, %v", peak, now, err)
	}
	if cpu, err := cpuOf(os.Getpid()); err != nil || cpu < 0 {
		t.Errorf("CPU %v, %v", cpu, err)
	}
	if _, err := cpuOf(1 << 30); err == nil {
		t.Error("a process that isn't there has used CPU")
	}
}

func TestRoomForHosts(t *testing.T) {
	if err := roomFor(1); err != nil {
		t.Error(err)
	}
	if err := roomFor(1 << 30); err == nil {
		t.Error("more hosts than files can be opened for were taken")
	}
}
