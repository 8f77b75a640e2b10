package vmtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"swell.dev/swell/internal/ociimage"
	"swell.dev/swell/internal/vm"
)

var passed = regexp.MustCompile(`(?m)^--- PASS: (\S+)`)

// withoutKernel are tests that compute much and ask no kernel.
const withoutKernel = "^(TestResizeAgainstTheModel|FuzzResize)$"

// TestOnVersion2 runs each suite in a machine of its own. A suite that skips what it should prove, or that
// lost tests, fails by their number or by name.
func TestOnVersion2(t *testing.T) {
	root, err := vm.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	var missing *vm.MissingError
	if _, _, err := vm.Find(root); errors.As(err, &missing) {
		t.Skip(missing)
	} else if err != nil {
		t.Fatal(err)
	}
	redis, err := ociimage.Tree(filepath.Join(root, ".cache/debian/redis-server"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pkg   string
		cpus  int
		files map[string]string
		env   string
		least int // tests that pass
		named []string
	}{
		{"cgroups", 2, nil, "SWELL_CGROUPS_CACHE=" + vm.Disk, 46, []string{
			"TestKernelResize", "TestKernelBurst", "TestKernelMemoryBelowUsageIsRefused", "TestKernelResizeBelowUsageChangesNothing",
			"TestKernelShrinkReclaimsPageCache", "TestKernelShrinkUnderAllocation", "TestKernelShrinkUnderGrowth",
			"TestKernelLeftStageIsLifted", "TestKernelDeleteKills", "TestKernelModel", "TestKernelMemoryQoS",
			"TestKernelShrinkSharedMemory", "TestKernelResizeUnderAllocation",
		}},
		{"cgroups/throttle", 2, nil, "", 12, []string{
			"TestKernelRungs", "TestKernelAbove", "TestKernelIn", "TestKernelEachWatched", "TestKernelUnwatched", "TestKernelCPU", "TestKernelOverflow", "TestNothingStays",
			"TestKernelMemory", "TestKernelMemoryLeavesNothing",
		}},
		{"nodelet/podcgroup", 3, redis, "SWELL_PODCGROUP_SWAP=" + vm.Disk, 16, []string{
			"TestPodIsMadeListedAndRemoved", "TestResizeAndReadBack", "TestMemoryInUseChangesNothing", "TestResizeWhileContainersEnd",
			"TestBurst", "TestMemoryBurst", "TestLeftGuard", "TestPodOfItsOwn",
			"TestMemoryIsProtected", "TestResizeMovesOOMScores", "TestResizeUnderLoad", "TestShrinkBesideSwap", "TestKernelMemoryInUseChangesNothing",
		}},
		{"nodelet/reflex", 2, nil, "", 10, []string{"TestKernelReflex", "TestKernelMemory", "TestKernelMemoryByRank", "TestKernelMemoryInUseWhenItEnds", "TestKernelMemoryAwaitsThePool"}},
	} {
		t.Run(c.pkg, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "program")
			build := exec.Command("go", "test", "-c", "-trimpath", "-ldflags=-s -w", "-o", program, "./"+c.pkg)
			build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("build of %s: %v: %s", c.pkg, err, out)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
			defer cancel()
			var said bytes.Buffer
			began := time.Now()
			machine := vm.Config{
				Root: root, Program: program, Args: []string{"-test.v", "-test.timeout=8m", "-test.skip=" + withoutKernel},
				Files: c.files, CPUs: c.cpus, Disk: 64,
				Env: []string{c.env, "SWELL_PODCGROUP_REDIS=/"}, Output: io.MultiWriter(&said, t.Output()),
			}
			code, err := vm.Run(ctx, machine)
			if errors.Is(err, vm.ErrLockup) {
				t.Logf("once more, in another machine: %v", err)
				said.Reset()
				code, err = vm.Run(ctx, machine)
			}
			if err != nil {
				t.Fatal(err)
			}
			if code != 0 {
				t.Errorf("the suite ended with exit code %d", code)
			}
			names := map[string]bool{}
			for _, m := range passed.FindAllSubmatch(said.Bytes(), -1) {
				names[string(m[1])] = true
			}
			if len(names) < c.least {
				t.Errorf("%d tests passed, want %d at least", len(names), c.least)
			}
			for _, name := range c.named {
				if !names[name] {
					t.Errorf("%s didn't pass", name)
				}
			}
			t.Logf("%d tests passed in %v, the machine's start included", len(names), time.Since(began).Round(time.Millisecond))
		})
	}
}
