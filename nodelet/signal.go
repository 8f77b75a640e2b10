package nodelet

import (
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// parseSignal reads TERM, SIGTERM, 15, RTMIN+3.
func parseSignal(s string) (syscall.Signal, bool) {
	if s == "" {
		return 0, false
	}
	if n, err := strconv.Atoi(s); err == nil {
		return syscall.Signal(n), n > 0 && n <= 64
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, true
	}
	const rtMin, rtMax = 34, 64 // glibc keeps 32 and 33
	if off, ok := strings.CutPrefix(name, "SIGRTMIN"); ok {
		n, err := strconv.Atoi("0" + strings.TrimPrefix(off, "+"))
		return syscall.Signal(rtMin + n), err == nil && rtMin+n <= rtMax
	}
	if off, ok := strings.CutPrefix(name, "SIGRTMAX"); ok {
		n, err := strconv.Atoi("0" + strings.TrimPrefix(off, "-"))
		return syscall.Signal(rtMax - n), err == nil && rtMax-n >= rtMin
	}
	return 0, false
}
