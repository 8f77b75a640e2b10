package cgroups

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"syscall"
)

// Unlimited is the value of a quota or a memory limit that doesn't limit.
const Unlimited = -1

// What the kernel takes.
const (
	Period    = 100_000 // µs; the CPU period that all quotas are for
	minQuota  = 1000    // µs; the kernel's least
	minShares = 2
	maxShares = 262144
	pageSize  = 4096
	// v1 shows no limit as the largest number of whole pages.
	v1Unlimited = math.MaxInt64 / pageSize * pageSize
)

// Limits of a group. Shares and Quota are set together, since the CPU's files are.
type Limits struct {
	Shares uint64 // relative CPU weight, 1024 for one CPU
	Quota  int64  // µs of CPU per Period, or Unlimited
	Memory int64  // bytes, or Unlimited
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
	if err := g.fitBurst(quota); err != nil {
		return err
	}
	if g.h.version == 2 {
		value := "max"
		if quota != Unlimited {
			value = strconv.FormatInt(quota, 10)
		}
		// The period is always written along: without the quota it would reset the limit.
		if err := g.write(CPU, "cpu.max", fmt.Sprintf("%s %d", value, Period)); err != nil {
			return err
		}
		return g.write(CPU, "cpu.weight", strconv.FormatUint(WeightOf(shares), 10))
	}
	if err := g.setPeriod(); err != nil {
		return err
	}
	if err := g.write(CPU, "cpu.cfs_quota_us", strconv.FormatInt(quota, 10)); err != nil {
		return err
	}
	return g.write(CPU, "cpu.shares", strconv.FormatUint(min(max(shares, minShares), maxShares), 10))
}

func (g *Group) setPeriod() error {
	period, err := g.readInt(CPU, "cpu.cfs_period_us")
	if err != nil || period == Period {
		return err
	}
	return g.write(CPU, "cpu.cfs_period_us", strconv.Itoa(Period))
}

func (g *Group) burstFile() string {
	if g.h.version == 2 {
		return "cpu.max.burst"
	}
	return "cpu.cfs_burst_us"
}

func (g *Group) fitBurst(quota int64) error {
	if quota == Unlimited {
		return nil
	}
	burst, err := g.readInt(CPU, g.burstFile())
	if errors.Is(err, syscall.ENOENT) {
		return nil // a kernel before 5.14
	}
	if err != nil || burst <= quota {
		return err
	}
	return g.write(CPU, g.burstFile(), strconv.FormatInt(quota, 10))
}

// Read answers what the kernel holds.
func (g *Group) Read() (Limits, error) {
	var l Limits
	var err error
	if l.Memory, err = g.memoryLimit(); err != nil {
		return l, err
	}
	if g.h.version == 1 {
		shares, err := g.readInt(CPU, "cpu.shares")
		if err != nil {
			return l, err
		}
		l.Shares = uint64(shares)
		l.Quota, err = g.readInt(CPU, "cpu.cfs_quota_us")
		return l, err
	}
	weight, err := g.readInt(CPU, "cpu.weight")
	if err != nil {
		return l, err
	}
	l.Shares = SharesOfWeight(uint64(weight))
	s, err := g.read(CPU, "cpu.max")
	if err != nil {
		return l, err
	}
	quota, period, _ := strings.Cut(s, " ")
	if l.Quota, err = g.parseInt("cpu.max", quota); err != nil || l.Quota == Unlimited {
		return l, err
	}
	p, err := g.parseInt("cpu.max", period)
	if err != nil || p <= 0 {
		return l, errors.Join(err, fmt.Errorf("cgroup %s: cpu.max: %q", g.path, s))
	}
	l.Quota = l.Quota * Period / p
	return l, nil
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
