package role

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A nodelet runs beside its pods: what it doesn't need is theirs. trimGC keeps its heap close to what is alive,
// which is little; and every trimEvery what is free of it goes back, with the pages of the program that were
// touched since, most of which only the start or a moment has needed.
const (
	trimGC    = 50
	trimEvery = 30 * time.Second
)

// trim runs until ctx ends.
func trim(ctx context.Context) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(trimGC)
	}
	ticker := time.NewTicker(trimEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		debug.FreeOSMemory()
		if err := dropProgramPages(); err != nil {
			return // nothing is lost but memory
		}
	}
}

// dropProgramPages unmaps the program's own pages that can be read from its file again. Those that are in use
// come back at their next touch, from the kernel's cache.
func dropProgramPages() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer f.Close()
	var begin, end uintptr // of the mapping that is read; both zero where it isn't to be dropped
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		var from, to uintptr
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err == nil {
			begin, end = 0, 0
			if strings.HasSuffix(line, " "+exe) && mode[1] != 'w' {
				begin, end = from, to
			}
			continue
		}
		// A page that was written, as by a loader, is in no file.
		name, value, _ := strings.Cut(line, ":")
		if name != "Anonymous" || begin == end || strings.TrimSpace(value) != "0 kB" {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, begin, end-begin, unix.MADV_DONTNEED); errno != 0 {
			return errno
		}
	}
	return lines.Err()
}
