package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

// The model answers as the kernel does: the same writes, good and bad, to a pod and containers of it, are taken or
// refused with the same error, and leave the same in every file.
func TestKernelModel(t *testing.T) {
	top := testGroup(t)
	m, h := newModel(top.h.version)
	groups := map[string]*Group{}
	for _, name := range []string{"/pod", "/pod/a", "/pod/b", "/pod/b/deep"} {
		groups[name] = top.Child(name)
		must(t, groups[name].Create())
		must(t, h.Group("/top"+name).Create())
	}
	names := sortedKeys(groups)
	files := map[int][]string{
		1: {"cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us", "memory.limit_in_bytes", swapFile},
		2: {"cpu.weight", "cpu.max", "cpu.max", "cpu.max.burst", "memory.max", "memory.high", "memory.min", "memory.low"},
	}[top.h.version]
	of := func(file string) string { return file[:strings.IndexByte(file, '.')] }
	absent := map[string]bool{} // with this kernel
	for _, file := range files {
		if _, err := groups["/pod"].read(of(file), file); errors.Is(err, fs.ErrNotExist) {
			t.Logf("%s isn't compared: this kernel has none", file)
			absent[file] = true
			for _, g := range m.groups {
				delete(g.files, file)
			}
		}
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	const writes, whole = 1000, 50 // of which so many are followed by a look at every file
	refused, taken := 0, 0
	for i := range writes {
		file, name := files[rnd.IntN(len(files))], names[rnd.IntN(len(names))]
		if absent[file] {
			continue
		}
		value := modelValue(rnd, file)
		var got, want syscall.Errno
		errors.As(groups[name].write(of(file), file, value), &got)
		errors.As(m.write("/v"+fmt.Sprint(m.version)+"/top"+name+"/"+file, value), &want)
		if got != want {
			t.Fatalf("write %d: %s of %s = %q: the kernel says %v (%d), the model %v; the model holds\n%s", i, file, name, value, got, got, want, m.state())
		}
		if got != 0 {
			refused++
		} else {
			taken++
		}
		for _, at := range names {
			for _, f := range files {
				if absent[f] || (f != file || at != name) && i%(writes/whole) != 0 {
					continue
				}
				holds, err := groups[at].read(of(f), f)
				must(t, err)
				if model := m.groups["/top"+at].files[f]; holds != model {
					t.Fatalf("after write %d, %s of %s = %q: %s of %s holds %q, in the model %q", i, file, name, value, f, at, holds, model)
				}
			}
		}
	}
	t.Logf("%d writes taken, %d refused", taken, refused)
	if taken < 200 || refused < 50 {
		t.Error("that's too few to say much")
	}
}

// modelValue draws one that is mostly near what matters.
func modelValue(rnd *rand.Rand, file string) string {
	one := func(of ...int64) int64 { return of[rnd.IntN(len(of))] }
	switch file {
	case "cpu.shares":
		return fmt.Sprint(one(0, 1, 2, 1024, 262144, 262145, rnd.Int64N(5000)))
	case "cpu.weight":
		return fmt.Sprint(one(0, 1, 100, 10000, 10001, rnd.Int64N(10000)))
	case "cpu.cfs_quota_us":
		return fmt.Sprint(one(-1, 999, 1000, 50_000, 50_001, 100_000, rnd.Int64N(200_000), rnd.Int64N(200_000)))
	case "cpu.cfs_period_us":
		return fmt.Sprint(one(999, 1000, 50_000, 100_000, 100_000, 1_000_000, 1_000_001))
	case "cpu.cfs_burst_us", "cpu.max.burst":
		return fmt.Sprint(one(0, 0, 1000, 50_000, rnd.Int64N(200_000)))
	case "cpu.max":
		quota := fmt.Sprint(one(999, 1000, 50_000, 100_000, rnd.Int64N(200_000)))
		if rnd.IntN(6) == 0 {
			quota = "max"
		}
		if rnd.IntN(3) == 0 {
			return quota
		}
		return fmt.Sprintf("%s %d", quota, one(999, 1000, 50_000, 100_000, 100_000, 1_000_000, 1_000_001))
	}
	if rnd.IntN(8) == 0 && (file == "memory.max" || file == "memory.high") {
		return "max"
	}
	least := int64(16 * mib) // more than the kernel itself uses for a group
	return fmt.Sprint(one(least, least+1, least+4095, least+4096, least+rnd.Int64N(64*mib), 1<<40))
}
