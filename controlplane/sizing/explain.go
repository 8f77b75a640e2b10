package sizing

import (
	"fmt"
	"math"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
)

// span prints a time as kubectl does: 1h12m.
func span(d time.Duration) string { return duration.HumanDuration(d) }

func cpuText(milli int64) string {
	q := quantity("cpu", milli)
	return q.String()
}

func memoryText(bytes int64) string {
	q := quantity("memory", bytes)
	return q.String()
}

// basis says what a target rests on: p90 of 1h is 357m, margin 15 %.
func (e *estimate) basis(a aims, u *usage) (cpu, memory string) {
	cpu = fmt.Sprintf("%s of %s is %s, margin %s", percentile(a.cpu.percentile), span(e.history), cpuText(milli(e.cpu.aimed)), percent(a.cpu.margin))
	if u.lately >= 0.01 {
		cpu += fmt.Sprintf(", throttled %s of the time lately", percent(u.lately))
	}
	memory = fmt.Sprintf("%s of the peaks of %s is %s, margin %s", percentile(a.memory.percentile), span(e.history), memoryText(mebibytes(e.memory.aimed)), percent(a.memory.margin))
	if u.oomKills > 0 {
		memory += fmt.Sprintf(", %d OOM kills", u.oomKills)
	}
	return cpu, memory
}

func percentile(share float64) string {
	if share >= 1 {
		return "the highest"
	}
	return fmt.Sprintf("p%g", math.Round(share*100))
}

func percent(share float64) string { return fmt.Sprintf("%g %%", math.Round(share*100)) }

// changeText says what becomes of a container, and why: cpu 250m → 410m: p90 of 1h is 357m, margin 15 %.
func changeText(was, is amounts, e *estimate, b *bounds, needed int64, cpuBasis, memoryBasis string) string {
	var parts []string
	add := func(what, from, to, basis string, target, least, most, is, needed int64) {
		switch {
		case needed > target && is == needed:
			basis += ", more is in use now"
		case most > 0 && is == most && target > most:
			basis += ", max " + to
		case least > 0 && is == least && target < least:
			basis += ", min " + to
		case is != capped(target, least, most):
			basis += ", in steps"
		}
		parts = append(parts, fmt.Sprintf("%s %s → %s: %s", what, from, to, basis))
	}
	if was.cpu != is.cpu {
		add("cpu", cpuText(was.cpu), cpuText(is.cpu), cpuBasis, e.target.cpu, b.min.cpu, b.max.cpu, is.cpu, 0)
	}
	if was.memory != is.memory {
		add("memory", memoryText(was.memory), memoryText(is.memory), memoryBasis, e.target.memory, b.min.memory, b.max.memory, is.memory, roundUp(float64(needed), mebibyte))
	}
	return strings.Join(parts, "; ")
}
