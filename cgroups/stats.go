package cgroups

import "time"

// Stats are a group's counters.
type Stats struct {
	CPU       time.Duration // used since the group was made
	Throttled time.Duration
	Periods   int64 // in which it ran
	Throttles int64 // of those, in which it was stopped
	Memory    int64 // bytes in use
	Working   int64 // bytes in use less inactive file pages: what can't be taken without harm
	OOMKills  int64
}

// Stats reads the counters.
func (g *Group) Stats() (Stats, error) {
	if g.h.version == 2 {
		return g.statsV2()
	}
	return g.statsV1()
}

func (g *Group) statsV2() (Stats, error) {
	var s Stats
	cpu, err := g.readFields(CPU, "cpu.stat")
	if err != nil {
		return s, err
	}
	s.CPU, s.Throttled = time.Duration(cpu["usage_usec"])*time.Microsecond, time.Duration(cpu["throttled_usec"])*time.Microsecond
	s.Periods, s.Throttles = cpu["nr_periods"], cpu["nr_throttled"]
	if s.Memory, err = g.readInt(Memory, "memory.current"); err != nil {
		return s, err
	}
	memory, err := g.readFields(Memory, "memory.stat")
	if err != nil {
		return s, err
	}
	s.Working = max(s.Memory-memory["inactive_file"], 0)
	events, err := g.readFields(Memory, "memory.events")
	s.OOMKills = events["oom_kill"]
	return s, err
}

func (g *Group) statsV1() (Stats, error) {
	var s Stats
	used, err := g.readInt(CPUAcct, "cpuacct.usage")
	if err != nil {
		return s, err
	}
	cpu, err := g.readFields(CPU, "cpu.stat")
	if err != nil {
		return s, err
	}
	s.CPU, s.Throttled = time.Duration(used), time.Duration(cpu["throttled_time"])
	s.Periods, s.Throttles = cpu["nr_periods"], cpu["nr_throttled"]
	if s.Memory, err = g.readInt(Memory, "memory.usage_in_bytes"); err != nil {
		return s, err
	}
	memory, err := g.readFields(Memory, "memory.stat")
	if err != nil {
		return s, err
	}
	s.Working = max(s.Memory-memory["total_inactive_file"], 0)
	events, err := g.readFields(Memory, "memory.oom_control")
	s.OOMKills = events["oom_kill"]
	return s, err
}
