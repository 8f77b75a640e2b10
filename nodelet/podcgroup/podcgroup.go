// Package podcgroup keeps the pods' part of the cgroup tree:
//
//	/<parent>/pod<UID>              the pod: sums of its containers, no limit where one of them has none
//	/<parent>/pod<UID>/<container>  made by the runtime
package podcgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/cgroups"
	"swell.dev/swell/internal/oomscore"
	"swell.dev/swell/nodelet"
)

// removeWithin bounds how long killed processes may take to leave.
const removeWithin = 10 * time.Second

const podPrefix = "pod"

// Tree implements nodelet.Cgroups.
type Tree struct {
	parent  *cgroups.Group
	version int
	swaps   bool // groups can be limited in swap
	qos     MemoryQoS

	reserving sync.Mutex                   // guards protected, and orders writes to the parent
	protected map[string]cgroups.MemoryQoS // by pod

	mu    sync.Mutex // guards sizes
	sizes map[string]*sizes
}

var _ nodelet.Cgroups = (*Tree)(nil)

// New answers the tree below a parent, such as /swell-1a2b3c4d.
func New(h *cgroups.Hierarchy, parent string, qos MemoryQoS) (*Tree, error) {
	if strings.Trim(parent, "/") == "" {
		return nil, errors.New("podcgroup: a parent other than the root is required")
	}
	if err := qos.Validate(); err != nil {
		return nil, fmt.Errorf("podcgroup: %w", err)
	}
	t := &Tree{
		parent: h.Group(parent), version: h.Version(), qos: qos,
		sizes: map[string]*sizes{}, protected: map[string]cgroups.MemoryQoS{},
	}
	if err := t.parent.Create(); err != nil {
		return nil, err
	}
	t.swaps = t.parent.CanLimitSwap()
	return t, t.adopt()
}

// Open answers the tree below a parent on this host.
func Open(parent string) (*Tree, error) {
	h, err := cgroups.Detect()
	if err != nil {
		return nil, err
	}
	return New(h, parent, MemoryQoS{})
}

func (t *Tree) pod(uid string) *cgroups.Group { return t.parent.Child(podPrefix + uid) }

// ContainerPath implements nodelet.Cgroups.
func (t *Tree) ContainerPath(podUID, container string) string {
	return t.pod(podUID).Child(container).Path()
}

// EnsurePod implements nodelet.Cgroups. For a pod that runs it also lifts what a nodelet that was killed
// within a resize or a burst left. One that had grown the pod and could not note it finds more memory in use
// than it knows of: the pod keeps that then, and the answer is nodelet.ErrMemoryInUse.
func (t *Tree) EnsurePod(podUID string, size nodelet.PodSize) error {
	g := t.pod(podUID)
	found := g.Exists()
	if err := g.Create(); err != nil {
		return err
	}
	if found {
		if err := t.lift(podUID, size); err != nil {
			return err
		}
	}
	err := t.apply(context.Background(), podUID, size, false)
	var kept error
	if errors.Is(err, nodelet.ErrMemoryInUse) {
		kept, err = err, t.apply(context.Background(), podUID, size, true)
	}
	if err == nil && found {
		err = t.unguard(podUID, size)
	}
	if err != nil {
		return err
	}
	return kept
}

// lift gives memory.high back that a shrink or a burst left: nobody but this process has one under way. A guard stays
// that will be wanted again.
func (t *Tree) lift(podUID string, size nodelet.PodSize) error {
	s := t.sizesOf(podUID)
	s.memory.Lock()
	defer s.memory.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known {
		return nil
	}
	if s.left = true; size.Guarded {
		return nil
	}
	err := t.pod(podUID).Lift()
	for name := range size.Containers {
		if e := t.pod(podUID).Child(name).Lift(); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// Resize implements nodelet.Cgroups.
func (t *Tree) Resize(ctx context.Context, podUID string, size nodelet.PodSize) (nodelet.Actual, error) {
	if err := t.apply(ctx, podUID, size, false); err != nil {
		return nil, err
	}
	if err := t.unguard(podUID, size); err != nil {
		return nil, err
	}
	return t.Read(podUID, slices.Collect(maps.Keys(size.Containers)))
}

// apply brings the pod and those of its containers that have a cgroup to their limits, or with keep, to no less
// memory than they have, and their processes to their scores.
func (t *Tree) apply(ctx context.Context, podUID string, size nodelet.PodSize, keep bool) error {
	s := t.sizesOf(podUID)
	s.memory.Lock()
	defer s.memory.Unlock()
	defer t.guardAgain(podUID, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letGo() // what is written next may be another container's
	g := t.pod(podUID)
	names := slices.Sorted(maps.Keys(size.Containers))
	to := func(g *cgroups.Group, l cgroups.Limits, q cgroups.MemoryQoS) cgroups.Limits {
		l.MemoryQoS = q
		l = withBurst(l, s.extra, s.extraMemory)
		guarded := s.left && size.Guarded
		if !keep && !guarded || l.Memory == cgroups.Unlimited {
			return l
		}
		has, err := g.Read()
		if err != nil {
			return l
		}
		if keep && has.Memory != cgroups.Unlimited {
			l.Memory = max(l.Memory, has.Memory)
		}
		if guarded {
			l.High = has.High
		}
		return l
	}
	pod := t.qos.ofPod(size)
	if err := t.reserve(podUID, pod, more); err != nil {
		return err
	}
	var err error
	for range len(names) + 1 { // a container may end meanwhile, and its cgroup with it
		var changes []cgroups.Change
		for _, name := range names {
			if c := g.Child(name); c.Exists() {
				changes = append(changes, cgroups.Change{Group: c, To: to(c, limitsOf(size, name), t.qos.of(size, name))})
			}
		}
		all := to(g, podLimits(size), pod)
		all.Shares = sharesOfBurst(all.Shares, s.extra)
		err = cgroups.Resize(ctx, cgroups.Change{Group: g, To: all}, changes)
		if !errors.Is(err, fs.ErrNotExist) || !g.Exists() {
			break
		}
	}
	if err == nil {
		err = errors.Join(t.reserve(podUID, pod, exactly), t.rescore(podUID, s.size.OOMScores, size.OOMScores))
	}
	if err == nil {
		s.size, s.known = size, true
	}
	return inUse(err)
}

// inUse gives the kernel's answer to a limit that is too low its name.
func inUse(err error) error {
	var inUse *cgroups.MemoryInUseError
	if errors.As(err, &inUse) {
		return fmt.Errorf("%w: %w", nodelet.ErrMemoryInUse, err)
	}
	return err
}

// rescore gives processes that run the oom_score_adj that follows from their container's request of memory now.
func (t *Tree) rescore(podUID string, was, scores map[string]int) error {
	for name, to := range scores {
		from, ok := was[name]
		if !ok || from == to {
			continue
		}
		err := oomscore.Move(t.pod(podUID).Child(name).Procs, from, to)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("container %s: %w", name, err)
		}
	}
	return nil
}

// requestOf answers what counts as the request of a resource: as with the kubelet, without one the limit does.
func requestOf(r corev1.ResourceRequirements, name corev1.ResourceName) resource.Quantity {
	if q, ok := r.Requests[name]; ok {
		return q
	}
	return r.Limits[name]
}

// limitsOf turns a container's resources into the kernel's limits, as the kubelet does.
func limitsOf(size nodelet.PodSize, container string) cgroups.Limits {
	r := size.Containers[container]
	if size.Shared {
		sizes := v1alpha1.Sizes{v1alpha1.WholePod: *size.Pod, container: r}
		r = sizes.Of(container)
	}
	return limits(r)
}

func limits(r corev1.ResourceRequirements) cgroups.Limits {
	request := requestOf(r, corev1.ResourceCPU)
	l := cgroups.Limits{
		Shares: cgroups.SharesOf(request.MilliValue()),
		Quota:  cgroups.QuotaOf(r.Limits.Cpu().MilliValue()),
		Memory: r.Limits.Memory().Value(),
	}
	if l.Memory <= 0 {
		l.Memory = cgroups.Unlimited
	}
	return l
}

// podLimits are those of the pod's own group.
func podLimits(size nodelet.PodSize) cgroups.Limits {
	if size.Pod != nil {
		return limits(*size.Pod)
	}
	var milli, memory int64
	cpuLimited, memoryLimited := true, true
	for _, r := range size.Containers {
		request := requestOf(r, corev1.ResourceCPU)
		milli += request.MilliValue()
		memory += r.Limits.Memory().Value()
		cpuLimited = cpuLimited && !r.Limits.Cpu().IsZero()
		memoryLimited = memoryLimited && !r.Limits.Memory().IsZero()
	}
	l := cgroups.Limits{Shares: cgroups.SharesOf(milli), Quota: cgroups.Unlimited, Memory: cgroups.Unlimited}
	if cpuLimited {
		// The least quota of each container may be more than the quota of their sum.
		for _, r := range size.Containers {
			l.Quota = max(l.Quota, 0) + cgroups.QuotaOf(r.Limits.Cpu().MilliValue())
		}
	}
	if memoryLimited && len(size.Containers) > 0 {
		l.Memory = memory
	}
	return l
}

// Read implements nodelet.Cgroups. A burst isn't in what it answers.
func (t *Tree) Read(podUID string, containers []string) (nodelet.Actual, error) {
	s := t.known(podUID)
	s.mu.Lock()
	defer s.mu.Unlock()
	out := nodelet.Actual{}
	if s.size.Shared {
		l, err := t.pod(podUID).Read()
		if err != nil {
			return nil, err
		}
		out[v1alpha1.WholePod] = resourcesOf(s.plain(podLimits(s.size), l))
	}
	for _, name := range containers {
		l, err := t.pod(podUID).Child(name).Read()
		if errors.Is(err, fs.ErrNotExist) {
			continue // it isn't running
		}
		if err != nil {
			return nil, err
		}
		out[name] = resourcesOf(s.withoutBurst(name, l))
	}
	return out, nil
}

func resourcesOf(l cgroups.Limits) corev1.ResourceRequirements {
	r := corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(cgroups.MilliOfShares(l.Shares), resource.DecimalSI)},
		Limits:   corev1.ResourceList{},
	}
	if l.Quota != cgroups.Unlimited {
		r.Limits[corev1.ResourceCPU] = *resource.NewMilliQuantity(cgroups.MilliOfQuota(l.Quota), resource.DecimalSI)
	}
	if l.Memory != cgroups.Unlimited {
		r.Limits[corev1.ResourceMemory] = *resource.NewQuantity(l.Memory, resource.BinarySI)
	}
	return r
}

// Usage implements nodelet.Cgroups.
func (t *Tree) Usage(podUID string, containers []string) (map[string]nodelet.Usage, error) {
	out := map[string]nodelet.Usage{}
	for _, name := range containers {
		s, err := t.pod(podUID).Child(name).Stats()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[name] = nodelet.Usage{CPU: s.CPU, Memory: s.Working, Throttled: s.Throttled, OOMKills: s.OOMKills, MeasuredAt: time.Now()}
	}
	return out, nil
}

// RemovePod implements nodelet.Cgroups.
func (t *Tree) RemovePod(podUID string) error {
	t.forget(podUID)
	if err := remove(t.pod(podUID)); err != nil {
		return err
	}
	return t.reserve(podUID, cgroups.MemoryQoS{}, exactly)
}

// RemoveAll removes the parent with all that is in it.
func (t *Tree) RemoveAll() error { return remove(t.parent) }

func remove(g *cgroups.Group) error {
	ctx, cancel := context.WithTimeout(context.Background(), removeWithin)
	defer cancel()
	return g.Delete(ctx)
}

// List implements nodelet.Cgroups.
func (t *Tree) List() ([]string, error) {
	names, err := t.parent.Children()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range names {
		if uid, ok := strings.CutPrefix(name, podPrefix); ok {
			out = append(out, uid)
		}
	}
	return out, nil
}
