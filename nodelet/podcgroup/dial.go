package podcgroup

import (
	"errors"
	"io/fs"
	"sync"
	"syscall"

	"swell.dev/swell/cgroups"
	"swell.dev/swell/nodelet"
)

// sizes are what the tree knows of a pod: its containers' resources, and how much CPU it has beyond them now. A
// pod with a burst has it as a whole, and each of its containers that has a CPU limit may take all of it. The pod's
// weight is that of size and burst together, or else what others leave would be shared by sizes; its containers keep
// theirs, by which they share what the pod has.
type sizes struct {
	memory sync.Mutex // orders writes of memory limits, and guards room and left; taken before mu
	room   int64      // see SetMemoryBurst
	left   bool       // there may be guards of an earlier nodelet

	mu          sync.Mutex // guards what follows, and orders writes of CPU quotas
	known       bool       // size is what the kernel was told
	size        nodelet.PodSize
	extra       int64 // milli-CPU beyond the sum
	extraMemory int64 // bytes beyond the sum
	pod         *held
	weight      *cgroups.Weight // of the pod
	shares      uint64          // that without a burst
	held        []*held         // containers
}

// held is a quota whose file is open, with what it is without a burst.
type held struct {
	quota *cgroups.Quota
	base  int64
}

func (h *held) set(extra int64) error { return h.quota.Set(h.base + quotaOfExtra(extra)) }

// sizesOf answers what is known of a pod, or begins to know it.
func (t *Tree) sizesOf(podUID string) *sizes {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sizes[podUID]
	if s == nil {
		s = &sizes{}
		t.sizes[podUID] = s
	}
	return s
}

// known answers what is known of a pod, nothing if it is none of this tree's.
func (t *Tree) known(podUID string) *sizes {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sizes[podUID]; s != nil {
		return s
	}
	return &sizes{}
}

// forget drops what is known of a pod.
func (t *Tree) forget(podUID string) {
	t.mu.Lock()
	s := t.sizes[podUID]
	delete(t.sizes, podUID)
	t.mu.Unlock()
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.extra, s.extraMemory = 0, 0
		s.letGo()
	}
}

// letGo closes the files. The caller holds mu.
func (s *sizes) letGo() {
	if s.pod != nil {
		_ = s.pod.quota.Close() // it was only written, each write whole
	}
	if s.weight != nil {
		_ = s.weight.Close()
	}
	for _, h := range s.held {
		_ = h.quota.Close()
	}
	s.pod, s.weight, s.held = nil, nil, nil
}

// SetBurst gives a running pod so much CPU beyond its size, in thousandths, or takes it back with 0. It is the hot
// path: with the files open already it takes some microseconds. It never waits: while a resize is under way, where
// the pod has no limit that could hold it back, or while the kernel still counts a container that was removed, it
// reports false, and the burst that was there stands.
func (t *Tree) SetBurst(podUID string, extra int64) (done bool, err error) {
	s := t.known(podUID)
	if !s.mu.TryLock() {
		return false, nil
	}
	defer s.mu.Unlock()
	if extra == s.extra {
		return true, nil
	}
	for range 3 { // containers may end or be made anew meanwhile, and their files with them
		if s.pod == nil {
			if err := s.open(t, podUID); err != nil {
				s.letGo()
				return false, err
			}
			if s.pod == nil {
				return false, nil
			}
		}
		if err = s.write(extra); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		s.letGo()
	}
	if extra < s.extra && dying(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if extra == 0 {
		s.letGo() // a container that ends takes its files along
	}
	return true, nil
}

// open opens the quotas of the pod and of its containers that run, and the pod's weight. s.pod stays nil where the pod
// has no limit.
func (s *sizes) open(t *Tree, podUID string) error {
	base := podLimits(s.size)
	if base.Quota == cgroups.Unlimited {
		return nil
	}
	for name := range s.size.Containers {
		q, err := t.pod(podUID).Child(name).OpenQuota()
		if errors.Is(err, fs.ErrNotExist) {
			continue // it doesn't run
		}
		if err != nil {
			return err
		}
		s.held = append(s.held, &held{q, limitsOf(s.size, name).Quota})
	}
	var err error
	if s.weight, err = t.pod(podUID).OpenWeight(); err != nil {
		return err
	}
	q, err := t.pod(podUID).OpenQuota()
	if err != nil {
		return err
	}
	s.pod, s.shares = &held{q, base.Quota}, base.Shares
	return nil
}

// write grows the pod before its containers and shrinks it after them, so that no child is ever above it. The weight
// comes last: who is stopped waits for the quotas.
func (s *sizes) write(extra int64) error {
	grows := extra > s.extra
	if grows {
		if err := s.pod.set(extra); err != nil {
			return err
		}
		s.extra = extra // what a container may have, whatever comes now
	}
	for _, h := range s.held {
		if err := h.set(extra); err != nil {
			return err
		}
	}
	if !grows {
		if err := s.pod.set(extra); err != nil {
			return err
		}
		s.extra = extra
	}
	return s.weight.Set(sharesOfBurst(s.shares, extra))
}

// dying reports what version 1 answers to a quota below that of a child which was removed, until it has
// forgotten it, some milliseconds later.
func dying(err error) bool { return errors.Is(err, syscall.EINVAL) }

// quotaOfExtra is what a burst adds to a quota.
func quotaOfExtra(extra int64) int64 { return extra * cgroups.Period / 1000 }

// sharesOfBurst are a pod's shares with a burst.
func sharesOfBurst(shares uint64, extra int64) uint64 { return shares + uint64(extra)*1024/1000 }

// withBurst answers limits with a burst on top.
func withBurst(l cgroups.Limits, extra, memory int64) cgroups.Limits {
	if l.Quota != cgroups.Unlimited {
		l.Quota += quotaOfExtra(extra)
	}
	if l.Memory != cgroups.Unlimited {
		l.Memory += memory
	}
	if l.High != 0 {
		l.High += memory
	}
	return l
}

// withoutBurst takes a burst out of what the kernel holds for a container. One that started meanwhile has none.
func (s *sizes) withoutBurst(name string, l cgroups.Limits) cgroups.Limits {
	if _, ok := s.size.Containers[name]; !ok {
		return l
	}
	return s.plain(limitsOf(s.size, name), l)
}

// plain takes a burst out of what the kernel holds for a group of that size.
func (s *sizes) plain(size, l cgroups.Limits) cgroups.Limits {
	if s.extra > 0 && l.Quota == withBurst(size, s.extra, 0).Quota {
		l.Quota -= quotaOfExtra(s.extra)
	}
	if s.extraMemory > 0 && size.Memory != cgroups.Unlimited {
		l.Memory = min(l.Memory, size.Memory)
	}
	return l
}

// Group answers a pod's control group.
func (t *Tree) Group(podUID string) *cgroups.Group { return t.pod(podUID) }

// Size answers the CPU that a pod's limits come to, in thousandths; 0: it isn't limited.
func (t *Tree) Size(podUID string) int64 {
	s := t.known(podUID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if quota := podLimits(s.size).Quota; s.known && quota != cgroups.Unlimited {
		return cgroups.MilliOfQuota(quota)
	}
	return 0
}
