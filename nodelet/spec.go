package nodelet

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// subPather is a Volumes that can offer a part of a volume. The answered path must stay what it is even
// if the pod changes its volume meanwhile.
type subPather interface {
	SubPath(ctx context.Context, s SubPath) (hostPath string, err error)
}

// SubPath asks for a file or folder inside a volume, which is made (as a folder) if it isn't there.
type SubPath struct {
	PodUID    string
	Volume    string
	Container string
	Index     int    // of the mount in the container
	Path      string // relative to the volume
}

// builder makes a runtime's container from the pod's.
type builder struct {
	cfg       *Config
	a         Assignment
	allocated v1alpha1.Sizes
	dir       string // the pod's folder
}

// container builds the act's container and makes the files that it needs on the host.
func (b *builder) container(ctx context.Context, act actRun) (Container, error) {
	pod, c := b.a.Pod, act.Container
	uid := string(pod.UID)
	name, err := utsHostname(pod, b.cfg.ClusterDomain)
	if err != nil {
		return Container{}, &configError{err}
	}
	security := effectiveSecurity(pod, c)
	if err := verifyNonRoot(security, act.Image, c.Name); err != nil {
		return Container{}, &configError{err}
	}
	size, res := podSize(pod, act.Sizes, b.cfg.MemoryCapacity), act.Sizes.Of(c.Name)
	env := &environment{a: b.a, resources: res, allocated: b.allocated, hostIP: b.cfg.HostIP, podIP: act.Sandbox.IP,
		cpuCapacity: b.cfg.CPUCapacity, memoryCapacity: b.cfg.MemoryCapacity}
	vars, err := env.resolve(c)
	if err != nil {
		return Container{}, &configError{err}
	}
	expand := func(in []string) []string {
		out := make([]string, len(in))
		for i := range in {
			out[i] = Expand(in[i], vars.lookup)
		}
		return out
	}
	mounts, err := b.mounts(ctx, act, vars)
	if err != nil {
		return Container{}, &configError{err}
	}
	message, err := b.terminationFile(c.Name, act.Attempt)
	if err != nil {
		return Container{}, err
	}
	if c.TerminationMessagePath != "" {
		mounts = append(mounts, Mount{Source: message, Destination: c.TerminationMessagePath})
	}
	return Container{
		ID: ContainerID(uid, c.Name, act.Attempt), Name: c.Name, PodUID: uid, PodName: pod.Name, Namespace: pod.Namespace, Attempt: act.Attempt,
		Image: act.Image, Command: expand(c.Command), Args: expand(c.Args), WorkingDir: c.WorkingDir,
		Env:    append([]string{"HOSTNAME=" + name}, vars.list()...),
		Mounts: mounts, NetNS: act.Sandbox.NetNS, IPCNS: act.Sandbox.IPCNS, Hostname: name,
		CgroupPath: b.cfg.Cgroups.ContainerPath(uid, c.Name), Resources: v1alpha1.Boosted(res, act.Boost),
		Unified:  b.cfg.Cgroups.Unified(size, c.Name),
		OOMScore: size.OOMScores[c.Name],
		PodPID:   isTrue(pod.Spec.ShareProcessNamespace),
		Security: security, Groups: groups(pod), Sysctls: sysctls(pod),
		LogPath:            containerLogPath(podLogDir(b.cfg.LogDir, pod.Namespace, pod.Name, uid), c.Name, act.Attempt),
		TerminationMessage: message,
	}, nil
}

func (b *builder) mounts(ctx context.Context, act actRun, vars *vars) ([]Mount, error) {
	c := act.Container
	var out []Mount
	for i, vm := range c.VolumeMounts {
		source, ok := act.Sandbox.Volumes[vm.Name]
		if !ok {
			return nil, fmt.Errorf("volume %q: not found", vm.Name)
		}
		sub := vm.SubPath
		if vm.SubPathExpr != "" {
			var unknown string
			sub = Expand(vm.SubPathExpr, func(name string) (string, bool) {
				v, ok := vars.lookup(name)
				if !ok {
					unknown = name
				}
				return v, ok
			})
			if unknown != "" {
				return nil, fmt.Errorf("volume %q: subPathExpr %q: missing value for %q", vm.Name, vm.SubPathExpr, unknown)
			}
		}
		if sub != "" {
			s, ok := b.cfg.Volumes.(subPather)
			if !ok {
				return nil, fmt.Errorf("volume %q: subPath: %w", vm.Name, ErrUnsupported)
			}
			var err error
			if source, err = s.SubPath(ctx, SubPath{PodUID: string(b.a.Pod.UID), Volume: vm.Name, Container: c.Name, Index: i, Path: sub}); err != nil {
				return nil, err
			}
		}
		out = append(out, Mount{Source: source, Destination: vm.MountPath, ReadOnly: vm.ReadOnly || madeByUs(b.a.Pod, vm.Name)})
	}
	unlessGiven := func(source, path string) {
		if !slices.ContainsFunc(out, func(m Mount) bool { return filepath.Clean(m.Destination) == path }) {
			out = append(out, Mount{Source: source, Destination: path})
		}
	}
	for file, path := range map[string]string{fileHosts: "/etc/hosts", fileHostname: "/etc/hostname", fileResolv: "/etc/resolv.conf"} {
		unlessGiven(filepath.Join(b.dir, file), path)
	}
	if shared, ok := act.Sandbox.Volumes[SharedMemory]; ok {
		unlessGiven(shared, "/dev/shm")
	}
	slices.SortStableFunc(out, func(a, b Mount) int { return strings.Compare(a.Destination, b.Destination) })
	return out, nil
}

// madeByUs reports whether a volume's content is ours: it isn't the container's to change.
func madeByUs(pod *corev1.Pod, volume string) bool {
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.Name == volume {
			return v.EmptyDir == nil
		}
	}
	return false
}
