package podcgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/cgroups"
	"swell.dev/swell/nodelet"
)

// Kinds of memory that a process holds.
const (
	plain   = "plain"   // anonymous
	touched = "touched" // the same, written again and again
	pipes   = "pipes"   // the kernel's, in pipes that nobody reads
	sockets = "sockets" // the kernel's, in objects: sockets, with an inode, a directory entry and an open file each
)

// fillPipes fills pipes of a MiB each.
func fillPipes(n int) error {
	for range n {
		var fds [2]int
		if err := unix.Pipe2(fds[:], 0); err != nil {
			return err
		}
		if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, mib); err != nil {
			return err
		}
		if _, err := unix.Write(fds[1], make([]byte, mib)); err != nil {
			return err
		}
	}
	return nil
}

// openSockets opens as many as the kernel holds so much memory for: 2 KiB and more for each.
func openSockets(n int) error {
	files := uint64(n) << 9
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = max(limit.Cur, files+100)
	limit.Max = max(limit.Max, limit.Cur)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for range files {
		if _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); err != nil {
			return err
		}
	}
	return nil
}

// TestKernelMemoryInUseChangesNothing: what the kernel itself holds for a container counts, and can't be reclaimed.
func TestKernelMemoryInUseChangesNothing(t *testing.T) {
	for _, kind := range []string{pipes, sockets} {
		t.Run(kind, func(t *testing.T) {
			tree, h := testTree(t)
			sizes := map[string]corev1.ResourceRequirements{"a": sized(500, 128), "b": sized(1000, 32)}
			must(t, tree.EnsurePod("u", nodelet.PodSize{Containers: sizes}))
			start(t, tree, h, "u", "b", sizes["b"], 1)
			start(t, tree, h, "u", "a", sizes["a"], 1)
			a := h.Group(tree.ContainerPath("u", "a"))
			holder := startHolding(t, a, kind, 24)
			if bytes := kernelMemory(t, h, a); bytes < 20*mib {
				t.Fatalf("the kernel holds %d bytes for the container", bytes)
			}
			less := map[string]corev1.ResourceRequirements{"a": sized(2000, 16), "b": sized(2000, 256)}
			unchanged := func() {
				t.Helper()
				wantKernel(t, h, tree.pod("u").Path(), podLimits(nodelet.PodSize{Containers: sizes}))
				for name, r := range sizes {
					wantKernel(t, h, tree.ContainerPath("u", name), limits(r))
				}
			}
			if _, err := tree.Resize(t.Context(), "u", nodelet.PodSize{Containers: less}); !errors.Is(err, nodelet.ErrMemoryInUse) {
				t.Fatalf("got %v", err)
			}
			unchanged()
			if err := holder.Process.Signal(syscall.Signal(0)); err != nil {
				t.Errorf("the process: %v", err)
			}
			usage, err := tree.Usage("u", []string{"a", "b"})
			must(t, err)
			if usage["a"].OOMKills+usage["b"].OOMKills != 0 {
				t.Errorf("killed for want of memory: %+v", usage)
			}

			// Once it is given back, the same resize is taken. The kernel frees its objects some time later.
			must(t, holder.Process.Kill())
			_ = holder.Wait()
			for deadline := time.Now().Add(patience); ; {
				got, err := tree.Resize(t.Context(), "u", nodelet.PodSize{Containers: less})
				if err == nil {
					wantActual(t, got, less)
					break
				}
				if unchanged(); time.Now().After(deadline) || !errors.Is(err, nodelet.ErrMemoryInUse) {
					t.Fatal(err)
				}
			}
		})
	}
}

// kernelMemory answers what of a group's usage the kernel has for itself.
func kernelMemory(t *testing.T, h *cgroups.Hierarchy, g *cgroups.Group) int64 {
	t.Helper()
	if h.Version() == 1 {
		return readNumber(t, filepath.Join("/sys/fs/cgroup/memory", g.Path(), "memory.kmem.usage_in_bytes"))
	}
	b, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", g.Path(), "memory.stat"))
	must(t, err)
	var bytes int64
	for line := range strings.Lines(string(b)) {
		if n, err := fmt.Sscanf(line, "kernel %d\n", &bytes); n == 1 && err == nil {
			return bytes
		}
	}
	t.Fatalf("memory.stat has no line kernel:\n%s", b)
	return 0
}

func readNumber(t *testing.T, file string) int64 {
	t.Helper()
	b, err := os.ReadFile(file)
	must(t, err)
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	must(t, err)
	return n
}
