package containerd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// TestRemoveWaitsForTheCgroup: a process that ends later than the container keeps the cgroup in use for a
// while, and Remove comes through.
func TestRemoveWaitsForTheCgroup(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sleep", "1000")
	h.Start(t, c)
	late := exec.CommandContext(inTime(t), "sleep", "3")
	if err := late.Start(); err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob(cgroupRoot + "/*" + c.CgroupPath)
	dirs = append(dirs, cgroupRoot+c.CgroupPath)
	entered := 0
	for _, dir := range dirs {
		if os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(late.Process.Pid)), 0) == nil {
			entered++
		}
	}
	if err != nil || entered == 0 {
		t.Fatalf("no cgroup of the container among %v, %v", dirs, err)
	}
	if err := h.Runtime.Remove(t.Context(), c.ID); err != nil {
		t.Error(err)
	}
	if err := late.Wait(); err != nil {
		t.Errorf("the process that isn't the container's was ended: %v", err)
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
}
