package vm

import (
	"context"
	"os"
	"time"
)

// silence is for how long a machine may say nothing of itself, which its first process does every few seconds: a kernel
// that hangs with interrupts off has no words. It is long enough for a boot on a busy host.
const silence = 2 * time.Minute

// listen returns when a file hasn't grown for so long, or when ctx ends.
func listen(ctx context.Context, pulse string, longest, every time.Duration) (silent bool) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var size int64
	for last := time.Now(); time.Since(last) < longest; {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if info, err := os.Stat(pulse); err == nil && info.Size() > size {
			size, last = info.Size(), time.Now()
		}
	}
	return true
}
