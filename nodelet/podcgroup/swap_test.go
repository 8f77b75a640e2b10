package podcgroup

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/nodelet"
)

// swapEnv is a blank disk that the tests may swap to: they have a machine of their own then.
const swapEnv = "SWELL_PODCGROUP_SWAP"

// errNeedsSwap is why a test is skipped: swap is all of a machine's, so a host's is left alone.
var errNeedsSwap = errors.New("swap needs a machine of its own: see package cgroups/vmtest")

// swapOn has the kernel swap to the disk until the test's end.
func swapOn(t *testing.T) {
	t.Helper()
	disk := os.Getenv(swapEnv)
	if disk == "" {
		t.Skip(errNeedsSwap)
	}
	f, err := os.OpenFile(disk, os.O_RDWR, 0)
	must(t, err)
	size, err := f.Seek(0, 2)
	must(t, err)
	// What mkswap writes: version, last page and bad pages behind 1 KiB for boot blocks, and the magic at the page's end.
	header := make([]byte, page)
	binary.NativeEndian.PutUint32(header[1024:], 1)
	binary.NativeEndian.PutUint32(header[1028:], uint32(size/page-1))
	copy(header[page-10:], "SWAPSPACE2")
	_, err = f.WriteAt(header, 0)
	must(t, errors.Join(err, f.Sync(), f.Close()))
	path, err := unix.BytePtrFromString(disk)
	must(t, err)
	swap := func(call uintptr) error {
		if _, _, errno := unix.Syscall(call, uintptr(unsafe.Pointer(path)), 0, 0); errno != 0 {
			return errno
		}
		return nil
	}
	must(t, swap(unix.SYS_SWAPON))
	t.Cleanup(func() { must(t, swap(unix.SYS_SWAPOFF)) })
}

// TestShrinkBesideSwap: containers have no swap, so a shrink below what they use is refused on a host that swaps too,
// and kills nobody; others go on swapping.
func TestShrinkBesideSwap(t *testing.T) {
	swapOn(t)
	tree, h := testTree(t)
	file := func(path, name string) string { return filepath.Join("/sys/fs/cgroup", path, name) }

	other := h.Group(tree.parent.Path()).Child("other")
	must(t, other.Create())
	must(t, other.SetMemory(t.Context(), 96*mib))
	swaps := startHolding(t, other, touched, 48)
	must(t, other.SetMemory(t.Context(), 24*mib)) // into which it goes by swapping
	if n := readNumber(t, file(other.Path(), "memory.swap.current")); n < 16*mib {
		t.Fatalf("%d bytes are swapped of a process that holds 48 MiB in 24", n)
	}

	sizes := map[string]corev1.ResourceRequirements{"a": sized(500, 128), "b": sized(500, 32)}
	must(t, tree.EnsurePod("u", nodelet.PodSize{Containers: sizes}))
	a := h.Group(tree.ContainerPath("u", "a"))
	start(t, tree, h, "u", "b", sizes["b"], 1)
	must(t, a.Create())
	l := limits(sizes["a"])
	must(t, a.SetMemory(t.Context(), l.Memory))
	must(t, a.SetCPU(l.Shares, l.Quota))
	unified := tree.Unified(nodelet.PodSize{Class: corev1.PodQOSGuaranteed, Containers: sizes}, "a")
	if unified["memory.swap.max"] != "0" {
		t.Errorf("containers are made with %v", unified)
	}
	for name, value := range unified { // as a runtime does
		must(t, os.WriteFile(file(a.Path(), name), []byte(value), 0))
	}
	holder := startHolding(t, a, touched, 48)
	for i, mebibytes := range []int64{24, 96, 40, 64, 16} {
		next := map[string]corev1.ResourceRequirements{"a": sized(500+int64(i), mebibytes), "b": sized(500, 32+mebibytes)}
		_, err := tree.Resize(t.Context(), "u", nodelet.PodSize{Containers: next})
		if mebibytes < 48 {
			if !errors.Is(err, nodelet.ErrMemoryInUse) {
				t.Fatalf("%d MiB for a process that holds 48: %v", mebibytes, err)
			}
		} else {
			must(t, err)
			sizes = next
		}
		wantKernel(t, h, tree.pod("u").Path(), podLimits(nodelet.PodSize{Containers: sizes}))
		for name, r := range sizes {
			wantKernel(t, h, tree.ContainerPath("u", name), limits(r))
		}
		if n := readNumber(t, file(a.Path(), "memory.swap.current")); n != 0 {
			t.Errorf("%d bytes of the container are swapped", n)
		}
	}
	for what, cmd := range map[string]*os.Process{"the container's": holder.Process, "the other": swaps.Process} {
		if err := cmd.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("%s process: %v", what, err)
		}
	}
	for _, g := range []string{other.Path(), tree.pod("u").Path()} {
		stats, err := h.Group(g).Stats()
		must(t, err)
		if stats.OOMKills != 0 {
			t.Errorf("%s: killed for want of memory: %+v", g, stats)
		}
	}
	if n := readNumber(t, file(other.Path(), "memory.swap.current")); n < 16*mib {
		t.Errorf("the other process doesn't swap any more: %d bytes", n)
	}
}
