package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
)

// Unlimited is the value of a quota or a memory limit that doesn't limit.
const Unlimited = -1

// What the kernel takes.
const (
	Period    = 100_000 // µs; the CPU period that all quotas are for
	minQuota  = 1000    // µs; the kernel's least
	minShares = 2
	maxShares = 262144
)

// The kernel counts memory in whole pages, and v1 shows no limit as the largest number of them.
var (
	pageSize    = int64(os.Getpagesize())
	v1Unlimited = math.MaxInt64 / pageSize * pageSize
)

// Limits of a group. Shares and Quota are set together, since the CPU's files are.
type Limits struct {
	Shares uint64 // relative CPU weight, 1024 for one CPU
	Quota  int64  // µs of CPU per Period, or Unlimited
	Memory int64  // bytes, or Unlimited
	MemoryQoS
}

// QuotaOf answers the quota of a CPU limit in thousandths, at least the kernel's least.
func QuotaOf(milli int64) int64 {
	if milli <= 0 {
		return Unlimited
	}
	return max(milli*Period/1000, minQuota)
}

// MilliOfQuota is the inverse of QuotaOf.
func MilliOfQuota(quota int64) int64 { return quota * 1000 / Period }

// SharesOf answers the shares of a CPU request in thousandths, as Kubernetes does.
func SharesOf(milli int64) uint64 {
	return uint64(min(max(milli*1024/1000, minShares), maxShares))
}

// MilliOfShares is the inverse of SharesOf.
func MilliOfShares(shares uint64) int64 {
	if shares <= minShares {
		return 0
	}
	return int64((shares*1000 + 1023) / 1024)
}

// WeightOf answers version 2's weight for version 1's shares: ⌈10^((L²+125L)/612 − 7/34)⌉ with L = log₂
// of the shares, the formula of opencontainers/cgroups 0.0.2 and later (1024 → 100).
func WeightOf(shares uint64) uint64 {
	if shares <= minShares {
		return 1
	}
	if shares >= maxShares {
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

// SharesOfWeight answers the largest shares that have a weight.
func SharesOfWeight(weight uint64) uint64 {
	low, high := uint64(minShares), uint64(maxShares)
	for low < high {
		mid := (low + high + 1) / 2
		if WeightOf(mid) <= weight {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return low
}

// SetCPU writes the quota and the shares. A burst that the new quota couldn't hold is made smaller first.
func (g *Group) SetCPU(shares uint64, quota int64) error {
	if quota != Unlimited && quota < minQuota {
		return fmt.Errorf("cgroup %s: CPU quota of %d µs: the least is %d", g.path, quota, minQuota)
	}
	burst, err := g.burst()
	if err != nil {
		return err
	}
	if quota != Unlimited && burst > quota {
		if err := g.setInt(CPU, g.burstFile(), quota); err != nil {
			return err
		}
	}
	if g.h.version == 2 {
		value := "max"
		if quota != Unlimited {
			value = strconv.FormatInt(quota, 10)
		}
		// The period is always written along: without the quota it would reset the limit.
		if err := g.set(CPU, "cpu.max", fmt.Sprintf("%s %d", value, Period)); err != nil {
			return err
		}
		return g.set(CPU, "cpu.weight", strconv.FormatUint(WeightOf(shares), 10))
	}
	if err := g.setPeriod(); err != nil {
		return err
	}
	if err := g.setInt(CPU, "cpu.cfs_quota_us", quota); err != nil {
		return err
	}
	return g.set(CPU, "cpu.shares", strconv.FormatUint(min(max(shares, minShares), maxShares), 10))
}

// setPeriod takes the quota away while another period is changed: with it, a shorter one could be more
// CPU than the parent has.
func (g *Group) setPeriod() error {
	period, err := g.readInt(CPU, "cpu.cfs_period_us")
	if err != nil || period == Period {
		return err
	}
	if err := g.setInt(CPU, "cpu.cfs_quota_us", Unlimited); err != nil {
		return err
	}
	return g.setInt(CPU, "cpu.cfs_period_us", Period)
}

func (g *Group) burstFile() string {
	if g.h.version == 2 {
		return "cpu.max.burst"
	}
	return "cpu.cfs_burst_us"
}

// burst is what a group may save up of its quota, in µs; 0 with a kernel before 5.14, which has none.
func (g *Group) burst() (int64, error) {
	burst, err := g.readInt(CPU, g.burstFile())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return burst, err
}

func (g *Group) restoreBurst(burst int64) error {
	now, err := g.burst()
	if err != nil || now == burst {
		return err
	}
	return g.setInt(CPU, g.burstFile(), burst)
}

// sameShares compares shares as the kernel keeps them.
func (g *Group) sameShares(a, b uint64) bool {
	if g.h.version == 2 {
		return WeightOf(a) == WeightOf(b)
	}
	return min(max(a, minShares), maxShares) == min(max(b, minShares), maxShares)
}

// Read answers what the kernel holds.
func (g *Group) Read() (Limits, error) {
	var l Limits
	var err error
	if l.Memory, err = g.memoryLimit(); err != nil {
		return l, err
	}
	if l.MemoryQoS, err = g.memoryQoS(); err != nil {
		return l, err
	}
	var quota, period string
	if g.h.version == 1 {
		shares, err := g.readInt(CPU, "cpu.shares")
		if err != nil {
			return l, err
		}
		l.Shares = uint64(shares)
		if quota, err = g.read(CPU, "cpu.cfs_quota_us"); err != nil {
			return l, err
		}
		if period, err = g.read(CPU, "cpu.cfs_period_us"); err != nil {
			return l, err
		}
	} else {
		weight, err := g.readInt(CPU, "cpu.weight")
		if err != nil {
			return l, err
		}
		l.Shares = SharesOfWeight(uint64(weight))
		s, err := g.read(CPU, "cpu.max")
		if err != nil {
			return l, err
		}
		quota, period, _ = strings.Cut(s, " ")
	}
	q, err := g.parseInt("CPU quota", quota)
	if err != nil {
		return l, err
	}
	p, err := g.parseInt("CPU period", period)
	if err == nil && p <= 0 {
		err = fmt.Errorf("cgroup %s: CPU period of %q", g.path, period)
	}
	if l.Quota = q; q != Unlimited && err == nil {
		l.Quota = q * Period / p
	}
	return l, err
}

func (g *Group) memoryFile() string {
	if g.h.version == 2 {
		return "memory.max"
	}
	return "memory.limit_in_bytes"
}

func (g *Group) memoryLimit() (int64, error) {
	n, err := g.readInt(Memory, g.memoryFile())
	if g.h.version == 1 && n >= v1Unlimited {
		n = Unlimited
	}
	return n, err
}
