package reflex

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// hostStat is where the kernel counts how long each CPU was idle, in hundredths of a second (proc_stat(5)).
const (
	hostStat = "/proc/stat"
	jiffy    = 10 * time.Millisecond
)

// idler measures the host's idle CPU. /proc/stat counts in steps of 10 ms, so that looks must be some of them apart.
type idler struct {
	file string
	idle time.Duration // of all CPUs together, at the last look
	at   time.Time
}

// look answers the idle CPU since the last look in thousandths; known is false for the first.
func (i *idler) look(now time.Time) (milli int64, known bool, err error) {
	raw, err := os.ReadFile(i.file)
	if err != nil {
		return 0, false, fmt.Errorf("idle CPU: %w", err)
	}
	idle, err := idleTime(raw)
	if err != nil {
		return 0, false, err
	}
	if elapsed := now.Sub(i.at); !i.at.IsZero() && elapsed > 0 {
		milli, known = int64(max(idle-i.idle, 0))*1000/int64(elapsed), true
	}
	i.idle, i.at = idle, now
	return milli, known, nil
}

// idleTime reads the sum over all CPUs of the time that they did nothing, waiting for disks included.
func idleTime(stat []byte) (time.Duration, error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 6 || string(fields[0]) != "cpu" {
		return 0, fmt.Errorf("idle CPU: %s begins with %q", hostStat, line)
	}
	var sum time.Duration
	for _, f := range fields[4:6] { // idle, iowait
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("idle CPU: %s: %w", hostStat, err)
		}
		sum += time.Duration(n) * jiffy
	}
	return sum, nil
}
