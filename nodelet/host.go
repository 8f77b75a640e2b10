package nodelet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// host carries out one pod's actions. It may be called by several goroutines.
type host struct {
	cfg   *Config
	uid   string
	dir   string // the pod's folder
	meter *meter
	saver *saver
}

// do carries out act for the pod as it was assigned when act was decided, and answers what came of it.
func (h *host) do(ctx context.Context, a Assignment, allocated v1alpha1.Sizes, act action, post func(input)) input {
	switch act := act.(type) {
	case actSetUp:
		return h.setUp(ctx, a, act)
	case actPull:
		return h.pull(ctx, a, act, post)
	case actRun:
		return h.run(ctx, &builder{cfg: h.cfg, a: a, allocated: allocated, dir: h.dir}, act)
	case actHold:
		return h.hold(ctx, &builder{cfg: h.cfg, a: a, allocated: allocated, dir: h.dir}, act)
	case actKill:
		err := h.cfg.Runtime.Kill(ctx, ContainerID(h.uid, act.Container, act.Attempt), act.Signal, act.Signal == syscall.SIGKILL)
		return inKilled{act.Container, act.Attempt, err}
	case actForget:
		return inForgotten{act.Container, act.Attempt, h.forget(ctx, a, act)}
	case actHook:
		return h.hook(ctx, a, act)
	case actProbe:
		probe := h.handler(a, act.Container, act.Attempt, act.IP)
		message, err := probe.probe(ctx, act.Probe)
		if err != nil {
			message = err.Error()
		}
		var notAsked *notAskedError
		return inProbe{act.Container, act.Attempt, act.Kind, err == nil, errors.As(err, &notAsked), message}
	case actVolumes:
		_, err := h.cfg.Volumes.Prepare(ctx, a, act.IP)
		return inVolumes{act.Version, err}
	case actUsage:
		over, err := h.cfg.Volumes.Usage(ctx, h.uid)
		return inUsage{over, err}
	case actResize:
		return h.resize(ctx, a, act)
	case actMeter:
		return inMetered{act.Stop, h.metering(a, act)}
	case actTearDown:
		return inTornDown{act.Full, h.tearDown(ctx, a, act)}
	}
	panic(fmt.Sprintf("nodelet: action %T", act))
}

func (h *host) setUp(ctx context.Context, a Assignment, act actSetUp) inSetUp {
	effective := act.Resources.Boosted(act.Boosts)
	out := inSetUp{Resources: act.Resources, Boosts: act.Boosts, Version: act.Version, Slot: act.Slot}
	fail := func(reason string, err error) inSetUp {
		out.Reason, out.Err = reason, err
		return out
	}
	if err := h.saver.flush(); err != nil {
		return fail("FailedPodRecord", err)
	}
	var err error
	if act.Void {
		err = h.meter.void(h.uid)
	}
	if err == nil {
		err = h.meter.set(segment(a.Pod, h.cfg.NodeName, effective))
	}
	if err != nil {
		return fail("FailedMetering", err)
	}
	size := h.size(a.Pod, effective)
	out.Guarded = size.Guarded
	err = h.cfg.Cgroups.EnsurePod(h.uid, size)
	if out.Kept = errors.Is(err, ErrMemoryInUse); err != nil && !out.Kept {
		return fail("FailedCreatePodContainer", fmt.Errorf("unable to ensure pod container exists: %w", err))
	}
	network := PodNetwork{PodUID: h.uid}
	if !act.Slot {
		network.Ports = hostPorts(a.Pod)
	}
	attached, err := h.cfg.Network.Attach(ctx, network)
	if err != nil {
		return fail("FailedCreatePodSandBox", fmt.Errorf("Failed to create pod sandbox: %w", err)) //nolint:staticcheck // the kubelet's words
	}
	volumes, err := h.cfg.Volumes.Prepare(ctx, a, attached.IP)
	if err != nil {
		return fail("FailedMount", err)
	}
	made, err := writeHostFiles(h.dir, a.Pod, attached.IP, h.cfg)
	if err == nil && !act.Slot && !made { // a new folder has no slot's logs
		err = h.linkLogs(a)
	}
	if err != nil {
		return fail("FailedCreatePodSandBox", err)
	}
	out.Sandbox = sandbox{IP: attached.IP, NetNS: attached.NetNS, IPCNS: attached.IPCNS, Volumes: volumes}
	return out
}

func hostPorts(pod *corev1.Pod) []corev1.ContainerPort {
	var out []corev1.ContainerPort
	add := func(list []corev1.Container) {
		for i := range list {
			for _, p := range list[i].Ports {
				if p.HostPort != 0 {
					out = append(out, p)
				}
			}
		}
	}
	add(pod.Spec.InitContainers)
	add(pod.Spec.Containers)
	return out
}

// size answers what the pod's cgroups are made after.
func (h *host) size(pod *corev1.Pod, sizes v1alpha1.Sizes) PodSize {
	size := podSize(pod, sizes, h.cfg.MemoryCapacity)
	size.Guarded = h.cfg.Bursts != nil && burstsMemory(pod)
	return size
}

// podSize answers what the pod's cgroups are made after, at sizes of its containers.
func podSize(pod *corev1.Pod, sizes v1alpha1.Sizes, memoryCapacity int64) PodSize {
	size := PodSize{Class: qosClass(pod), Containers: maps.Clone(sizes), OOMScores: oomScores(pod, sizes, memoryCapacity)}
	delete(size.Containers, v1alpha1.WholePod)
	if _, said := sizes[v1alpha1.WholePod]; said || len(pod.Spec.InitContainers) > 0 {
		whole := sizes.Whole(pod)
		size.Pod, size.Shared = &whole, said
	}
	return size
}

func (h *host) pull(ctx context.Context, a Assignment, act actPull, post func(input)) inPulled {
	begun := time.Now()
	out := inPulled{Container: act.Container, Ref: act.Ref}
	if act.Policy != corev1.PullAlways {
		out.Image, out.Err = h.cfg.Images.Get(ctx, act.Ref)
		if !errors.Is(out.Err, ErrNotFound) {
			out.Present = out.Err == nil
			return out
		}
		if act.Policy == corev1.PullNever {
			out.Err = ErrImageNever
			return out
		}
	}
	post(inPulling{act.Container, act.Ref})
	creds, err := credentials(a)
	if err != nil {
		out.Err = fmt.Errorf("%w: %w", ErrImagePull, err)
		return out
	}
	out.Image, out.Err = h.cfg.Images.Pull(ctx, act.Ref, creds)
	out.Took = time.Since(begun)
	return out
}

func (h *host) forget(ctx context.Context, a Assignment, act actForget) error {
	if err := h.cfg.Runtime.Remove(ctx, ContainerID(h.uid, act.Container, act.Attempt)); err != nil {
		return err
	}
	log := containerLogPath(podLogDir(h.cfg.LogDir, a.Pod.Namespace, a.Pod.Name, h.uid), act.Container, act.Attempt)
	files, err := filepath.Glob(log + "*") // rotated ones follow the log's name
	if err != nil {
		return err
	}
	for _, f := range append(files, terminationPath(h.dir, act.Container, act.Attempt)) {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (h *host) hook(ctx context.Context, a Assignment, act actHook) inHook {
	if act.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, act.Timeout)
		defer cancel()
	}
	hook := h.handler(a, act.Container, act.Attempt, act.IP)
	return inHook{act.Container, act.Attempt, act.Stop, hook.hook(ctx, act.Handler)}
}

func (h *host) handler(a Assignment, name string, attempt int32, ip string) *handler {
	out := &handler{runtime: h.cfg.Runtime, id: ContainerID(h.uid, name, attempt), ip: ip, container: &corev1.Container{}}
	for _, list := range [][]corev1.Container{a.Pod.Spec.InitContainers, a.Pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				out.container = &list[i]
			}
		}
	}
	return out
}

// resize writes the kernel's values first; the journal follows at once, the runtime's record when it may.
func (h *host) resize(ctx context.Context, a Assignment, act actResize) inResized {
	effective := act.Resources.Boosted(act.Boosts)
	out := inResized{Resources: act.Resources, Boosts: act.Boosts}
	if raisesBoosts(act) {
		if out.Err = h.saver.flush(); out.Err != nil {
			return out
		}
	}
	if out.Actual, out.Err = h.cfg.Cgroups.Resize(ctx, h.uid, h.size(a.Pod, effective)); out.Err != nil {
		return out
	}
	out.MeterErr = h.meter.set(segment(a.Pod, h.cfg.NodeName, effective))
	return out
}

// updateRecords tells the runtime the new sizes. It is asked nothing in return: an outdated record is
// corrected by the next resize and matters to nobody.
func (h *host) updateRecords(attempts map[string]int32, resources v1alpha1.Sizes) {
	u, ok := h.cfg.Runtime.(RecordUpdater)
	if !ok {
		return
	}
	for name, attempt := range attempts {
		u.UpdateRecord(ContainerID(h.uid, name, attempt), resources[name])
	}
}

func (h *host) metering(a Assignment, act actMeter) error {
	if act.Stop {
		return h.meter.stop(h.uid, act.At)
	}
	if err := h.meter.set(segment(a.Pod, h.cfg.NodeName, act.Resources.Boosted(act.Boosts))); err != nil {
		return err
	}
	return h.meter.start()
}

func (h *host) tearDown(ctx context.Context, a Assignment, act actTearDown) error {
	for _, id := range act.Containers {
		if err := h.cfg.Runtime.Remove(ctx, id); err != nil {
			return err
		}
	}
	if err := h.cfg.Network.Detach(ctx, h.uid); err != nil {
		return err
	}
	if err := h.cfg.Cgroups.RemovePod(h.uid); err != nil {
		return err
	}
	if err := h.cfg.Volumes.Remove(ctx, h.uid); err != nil {
		return err
	}
	if !act.Full {
		return nil
	}
	if err := os.RemoveAll(podLogDir(h.cfg.LogDir, a.Pod.Namespace, a.Pod.Name, h.uid)); err != nil {
		return fmt.Errorf("pod %s: logs: %w", h.uid, err)
	}
	return h.saver.remove()
}
