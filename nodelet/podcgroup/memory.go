package podcgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"swell.dev/swell/cgroups"
	"swell.dev/swell/nodelet"
)

// Memory answers the bytes that a pod's limits come to, 0 where it isn't limited, and what it has beyond that in the
// kernel: a burst, also one that an earlier nodelet left.
func (t *Tree) Memory(podUID string) (size, extra int64, err error) {
	s := t.known(podUID)
	s.memory.Lock()
	defer s.memory.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	size = podLimits(s.size).Memory
	if size == cgroups.Unlimited {
		return 0, 0, nil
	}
	if s.extraMemory == 0 {
		l, err := t.pod(podUID).Read()
		if err != nil {
			return 0, 0, err
		}
		s.extraMemory = max(l.Memory-size, 0)
	}
	return size, s.extraMemory, nil
}

// SetMemoryBurst gives a running pod so many bytes beyond its size. Each of its containers with a limit may take all
// of it. With a room, what comes within so many bytes of a limit waits for more instead of being killed
// (cgroups.Group.GuardMemory). Less than is in use is nodelet.ErrMemoryInUse and changes nothing: it is tried once,
// without waiting for processes to release something.
func (t *Tree) SetMemoryBurst(podUID string, extra, room int64) error {
	s := t.known(podUID)
	s.memory.Lock()
	defer s.memory.Unlock()
	s.mu.Lock()
	was := s.extraMemory
	grows := extra > was
	if grows {
		s.extraMemory = extra // a reading that comes now doesn't show it
	}
	s.mu.Unlock()
	s.room, s.left = room, false
	all := t.limited(podUID, s)
	if len(all) == 0 {
		return fmt.Errorf("pod %s: %w", podUID, fs.ErrNotExist)
	}
	pod := all[0].g
	if !grows { // children first
		all = append(all[1:len(all):len(all)], all[0])
	}
	once, cancel := context.WithCancel(context.Background())
	cancel()
	var done []func() error
	for _, c := range all {
		l, err := c.g.Read()
		if err == nil {
			err = c.g.SetMemory(once, c.base+extra)
		}
		if errors.Is(err, fs.ErrNotExist) && c.g != pod {
			continue // it has ended
		}
		if err != nil {
			for i := len(done) - 1; i >= 0; i-- {
				err = errors.Join(err, done[i]())
			}
			s.mu.Lock()
			s.extraMemory = was
			s.mu.Unlock()
			return inUse(errors.Join(err, t.guard(podUID, s)))
		}
		done = append(done, func() error { return c.g.SetMemory(context.Background(), l.Memory) })
	}
	s.mu.Lock()
	s.extraMemory = extra
	s.mu.Unlock()
	return t.guard(podUID, s)
}

// limitedGroup is a group with a memory limit, which is base without a burst.
type limitedGroup struct {
	g    *cgroups.Group
	base int64
	high int64 // memory.high without a guard; 0: none
}

// limited answers the pod, first, and its containers that run, if the pod has a limit. The caller holds s.memory.
func (t *Tree) limited(podUID string, s *sizes) []limitedGroup {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := podLimits(s.size).Memory
	if size == cgroups.Unlimited {
		return nil
	}
	pod := t.pod(podUID)
	out := []limitedGroup{{pod, size, t.high(s, t.qos.ofPod(s.size))}}
	for name := range s.size.Containers {
		if c := pod.Child(name); c.Exists() {
			out = append(out, limitedGroup{c, limitsOf(s.size, name).Memory, t.high(s, t.qos.of(s.size, name))})
		}
	}
	return out
}

// high answers memory.high of a group that isn't guarded. One that is guarded has the guard instead: it shall
// grow there, not be slowed down before. The caller holds s.mu.
func (t *Tree) high(s *sizes, q cgroups.MemoryQoS) int64 {
	if q.High != 0 {
		return q.High + s.extraMemory
	}
	return 0
}

// guard sets or lifts the guards of a pod. The caller holds s.memory.
func (t *Tree) guard(podUID string, s *sizes) error {
	var errs []error
	for _, c := range t.limited(podUID, s) {
		var err error
		if s.room > 0 {
			err = c.g.GuardMemory(min(s.room, c.base/4))
		} else {
			err = c.g.UnguardMemory(c.high)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// guardAgain sets the guards again that a change of limits has lifted. The caller holds s.memory.
func (t *Tree) guardAgain(podUID string, s *sizes) {
	if s.room > 0 {
		_ = t.guard(podUID, s) // the limits hold without
	}
}

// unguard lifts the guards that an earlier nodelet left, unless they are wanted again.
func (t *Tree) unguard(podUID string, size nodelet.PodSize) error {
	s := t.known(podUID)
	s.memory.Lock()
	defer s.memory.Unlock()
	if !s.left || size.Guarded {
		return nil
	}
	err := t.guard(podUID, s)
	s.left = err != nil
	return err
}

// MemoryAlarms opens what tells that a pod or one of its containers comes near to its limit: to its guard, or where
// that doesn't slow it down, within twice the room, so that there is time.
func (t *Tree) MemoryAlarms(podUID string, room int64) ([]*cgroups.MemoryAlarm, error) {
	s := t.known(podUID)
	s.memory.Lock()
	defer s.memory.Unlock()
	all := t.limited(podUID, s)
	if len(all) > 0 && all[0].g.AlarmsBelow() {
		all = all[:1]
	}
	s.mu.Lock()
	extra := s.extraMemory
	s.mu.Unlock()
	var out []*cgroups.MemoryAlarm
	for _, c := range all {
		a, err := c.g.OpenMemoryAlarm(c.base + extra - 2*min(room, c.base/4))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			for _, a := range out {
				err = errors.Join(err, a.Close())
			}
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

// MemoryFree answers how many bytes the pod, or the one of its containers that has the least, can still take: its
// limit less the working set, caches that can be reclaimed not counted. It is 0 where something waits already.
func (t *Tree) MemoryFree(podUID string) (int64, error) {
	s := t.known(podUID)
	s.memory.Lock()
	defer s.memory.Unlock()
	all := t.limited(podUID, s)
	if len(all) == 0 {
		return 0, fmt.Errorf("pod %s: %w", podUID, fs.ErrNotExist)
	}
	s.mu.Lock()
	extra := s.extraMemory
	s.mu.Unlock()
	free := all[0].base + extra
	for i, c := range all {
		m, err := c.g.MemoryUse()
		if errors.Is(err, fs.ErrNotExist) && i > 0 {
			continue
		}
		if err != nil {
			return 0, err
		}
		if m.Waits {
			return 0, nil
		}
		free = min(free, max(c.base+extra-m.Working, 0))
	}
	return free, nil
}
