package cgroups

import (
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path"
	"strconv"
	"strings"
	"syscall"
)

// model is the kernel's rules in memory: what it takes, what it refuses and with which error, and what it then
// holds. TestKernelModel compares it with the kernel itself. On top of that it watches: a moment at which a group has
// more than the one above it, or a limit that would make the kernel kill, is noted as wrong.
type model struct {
	version int
	groups  map[string]*modelGroup // by path
	writes  []string
	wrong   []string

	// before, if it is set, is asked before the write of that number, from 0, and may refuse it.
	before func(n int) error
	// grow, if it is set, is asked after each write, and each reading of a usage, what processes of a group try to take.
	grow func(group string) int64
	dead bool // whoever writes was killed: nothing is read or written any more
}

type modelGroup struct {
	files map[string]string
	usage int64 // of this group alone
	cache int64 // the part of usage that can be reclaimed
}

func newModel(version int) (*model, *Hierarchy) {
	m := &model{version: version, groups: map[string]*modelGroup{}}
	h := &Hierarchy{files: m, version: version, unified: "/v2"}
	if version == 1 {
		h.mounts = map[string]string{CPU: "/v1", CPUAcct: "/v1", Memory: "/v1", PIDs: "/v1"}
	}
	return m, h
}

func (m *model) split(file string) (group, name string) {
	return strings.TrimPrefix(path.Dir(file), fmt.Sprintf("/v%d", m.version)), path.Base(file)
}

func (m *model) mkdir(dir string) error {
	group, _ := m.split(dir + "/x")
	for ; group != "/" && group != ""; group = path.Dir(group) {
		if m.groups[group] == nil {
			m.groups[group] = &modelGroup{files: maps.Clone(fakeFiles[m.version])}
		}
	}
	return nil
}

func (m *model) read(file string) (string, error) {
	if m.dead {
		return "", syscall.EIO
	}
	group, name := m.split(file)
	if name == "cgroup.subtree_control" {
		return "cpu memory pids", nil
	}
	g := m.groups[group]
	if g == nil {
		return "", &fs.PathError{Op: "open", Path: file, Err: fs.ErrNotExist}
	}
	if name == "memory.current" || name == "memory.usage_in_bytes" || name == swapUsageFile {
		defer m.growAll() // no reading is true for long
		return strconv.FormatInt(m.usage(group), 10), nil
	}
	value, ok := g.files[name]
	if !ok {
		return "", &fs.PathError{Op: "open", Path: file, Err: fs.ErrNotExist}
	}
	return value, nil
}

func (m *model) write(file, value string) error {
	if m.dead {
		return syscall.EIO
	}
	group, name := m.split(file)
	n := len(m.writes)
	m.writes = append(m.writes, group+" "+name+"="+value)
	err := error(nil)
	if m.before != nil {
		err = m.before(n)
	}
	if m.dead {
		return syscall.EIO
	}
	g := m.groups[group]
	if err == nil && (g == nil || g.files[name] == "" && name != "memory.reclaim") {
		err = fs.ErrNotExist
	}
	if err == nil {
		err = m.take(group, name, value)
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: file, Err: err}
	}
	m.growAll()
	m.watch()
	return nil
}

func (m *model) growAll() {
	if m.grow == nil {
		return
	}
	for _, at := range sortedKeys(m.groups) {
		m.allocate(at, m.grow(at))
	}
}

// take applies the kernel's rules.
func (m *model) take(group, name, value string) error {
	g := m.groups[group]
	number, err := strconv.ParseInt(value, 10, 64)
	switch name {
	case "cpu.shares":
		g.files[name] = strconv.FormatInt(min(max(number, minShares), maxShares), 10)
		return err
	case "cpu.weight":
		if number < 1 || number > 10000 {
			return syscall.ERANGE
		}
	case "cpu.cfs_quota_us":
		return m.bandwidth(group, number, m.number(group, "cpu.cfs_period_us"), m.number(group, "cpu.cfs_burst_us"))
	case "cpu.cfs_period_us":
		return m.bandwidth(group, m.number(group, "cpu.cfs_quota_us"), number, m.number(group, "cpu.cfs_burst_us"))
	case "cpu.cfs_burst_us":
		return m.bandwidth(group, m.number(group, "cpu.cfs_quota_us"), m.number(group, "cpu.cfs_period_us"), number)
	case "cpu.max":
		q, p, both := strings.Cut(value, " ")
		quota, period := modelNumber(q), int64(Period)
		if both {
			period = modelNumber(p)
		} else {
			_, was, _ := strings.Cut(g.files[name], " ")
			period = modelNumber(was)
		}
		return m.bandwidth(group, quota, period, m.number(group, "cpu.max.burst"))
	case "cpu.max.burst":
		q, p, _ := strings.Cut(g.files["cpu.max"], " ")
		return m.bandwidth(group, modelNumber(q), modelNumber(p), number)
	case "memory.limit_in_bytes", swapFile:
		return m.limitV1(group, name, number)
	case "memory.max", "memory.high":
		limit := wholePages(modelNumber(value))
		if limit == Unlimited {
			value = "max"
		} else {
			value = strconv.FormatInt(limit, 10)
			if m.reclaim(group, limit) > limit && name == "memory.max" {
				m.wrong = append(m.wrong, fmt.Sprintf("%s %s=%s kills: %d in use", group, name, value, m.usage(group)))
			}
		}
		g.files[name] = value
		return nil
	case "memory.min", "memory.low":
		value = strconv.FormatInt(wholePages(number), 10)
	case "memory.reclaim":
		want := m.usage(group) - number
		if m.reclaim(group, want) > want {
			return syscall.EAGAIN
		}
		return nil
	}
	g.files[name] = value
	return err
}

// bandwidth is tg_set_cfs_bandwidth: limits in µs, and on version 1 none above that of the nearest limited group above.
func (m *model) bandwidth(group string, quota, period, burst int64) error {
	const largest = math.MaxInt64 / 1000
	switch {
	case quota < Unlimited || quota > largest || period < 1000 || period > 1_000_000 || burst < 0 || burst > largest:
		return syscall.EINVAL
	case quota != Unlimited && (quota < minQuota || burst > quota):
		return syscall.EINVAL
	}
	g := m.groups[group]
	was := maps.Clone(g.files)
	if m.version == 2 {
		q := "max"
		if quota != Unlimited {
			q = strconv.FormatInt(quota, 10)
		}
		g.files["cpu.max"], g.files["cpu.max.burst"] = fmt.Sprintf("%s %d", q, period), strconv.FormatInt(burst, 10)
		return nil
	}
	g.files["cpu.cfs_quota_us"], g.files["cpu.cfs_period_us"], g.files["cpu.cfs_burst_us"] =
		strconv.FormatInt(quota, 10), strconv.FormatInt(period, 10), strconv.FormatInt(burst, 10)
	for at := range m.groups {
		if ratio := m.ratio(at); ratio != Unlimited && ratio > m.above(at) {
			g.files = was
			return syscall.EINVAL
		}
	}
	return nil
}

// ratio is a quota by its period in 2⁻²⁰, as the kernel compares them.
func (m *model) ratio(group string) int64 {
	quota, period := m.number(group, "cpu.cfs_quota_us"), m.number(group, "cpu.cfs_period_us")
	if m.version == 2 {
		q, p, _ := strings.Cut(m.groups[group].files["cpu.max"], " ")
		quota, period = modelNumber(q), modelNumber(p)
	}
	if quota == Unlimited {
		return Unlimited
	}
	return quota << 20 / period
}

// above is the ratio that a group's may not exceed.
func (m *model) above(group string) int64 {
	for up := path.Dir(group); m.groups[up] != nil; up = path.Dir(up) {
		if ratio := m.ratio(up); ratio != Unlimited {
			return ratio
		}
	}
	return math.MaxInt64
}

// limitV1 keeps the limit of memory below that of memory and swap, and refuses one that can't be reached.
func (m *model) limitV1(group, name string, limit int64) error {
	limit = wholePages(limit)
	if limit == Unlimited || limit > v1Unlimited {
		limit = v1Unlimited
	}
	if name == swapFile && limit < m.number(group, "memory.limit_in_bytes") || name != swapFile && limit > m.number(group, swapFile) {
		return syscall.EINVAL
	}
	if m.reclaim(group, limit) > limit {
		return syscall.EBUSY
	}
	m.groups[group].files[name] = strconv.FormatInt(limit, 10)
	return nil
}

func modelNumber(s string) int64 {
	if s == "max" {
		return Unlimited
	}
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

func (m *model) number(group, name string) int64 { return modelNumber(m.groups[group].files[name]) }

// in calls f for a group and those in it.
func (m *model) in(group string, f func(*modelGroup)) {
	for at, g := range m.groups {
		if at == group || strings.HasPrefix(at, group+"/") {
			f(g)
		}
	}
}

func (m *model) usage(group string) (sum int64) {
	m.in(group, func(g *modelGroup) { sum += g.usage })
	return sum
}

// reclaim brings the usage down to what is wanted, as far as caches allow, and answers it.
func (m *model) reclaim(group string, want int64) int64 {
	over := m.usage(group) - max(want, 0)
	m.in(group, func(g *modelGroup) {
		take := max(0, min(over, g.cache))
		over, g.usage, g.cache = over-take, g.usage-take, g.cache-take
	})
	return m.usage(group)
}

// allocate is what processes of a group get: what its limits and those above allow, and a page at a time where
// memory.high slows them down. What they don't get they would be killed for, but not by whoever set the limits.
func (m *model) allocate(group string, bytes int64) {
	for at := group; m.groups[at] != nil; at = path.Dir(at) {
		used := m.usage(at)
		limit := m.number(at, map[int]string{1: "memory.limit_in_bytes", 2: "memory.max"}[m.version])
		if limit != Unlimited {
			bytes = min(bytes, max(0, limit-used))
		}
		if m.version == 2 {
			if high := m.number(at, "memory.high"); high != Unlimited {
				bytes = min(bytes, max(pageSize, high-used))
			}
		}
	}
	m.groups[group].usage += max(0, bytes)
}

// watch notes whatever group has more than the one above it.
func (m *model) watch() {
	limit := map[int]string{1: "memory.limit_in_bytes", 2: "memory.max"}[m.version]
	none := func(n int64) bool { return n == Unlimited || m.version == 1 && n >= v1Unlimited }
	for at := range m.groups {
		up := path.Dir(at)
		if m.groups[up] == nil {
			continue
		}
		say := func(what string) {
			m.wrong = append(m.wrong, fmt.Sprintf("after %s: %s of %s above that of %s", m.writes[len(m.writes)-1], what, at, up))
		}
		if ratio := m.ratio(at); ratio != Unlimited && ratio > m.above(at) {
			say("CPU quota")
		}
		if own, above := m.number(at, limit), m.number(up, limit); !none(own) && !none(above) && own > above {
			say("memory limit")
		}
		if m.version == 2 {
			for _, name := range []string{"memory.min", "memory.low"} {
				if m.number(at, name) > m.number(up, name) && m.number(up, name) != 0 || m.number(at, name) > 0 && !none(m.number(at, limit)) && m.number(at, name) > m.number(at, limit) {
					say(name)
				}
			}
		}
	}
}

// state is all that the groups hold.
func (m *model) state() string {
	var b strings.Builder
	for _, at := range sortedKeys(m.groups) {
		for _, name := range sortedKeys(m.groups[at].files) {
			fmt.Fprintf(&b, "%s %s=%s\n", at, name, m.groups[at].files[name])
		}
	}
	return b.String()
}
