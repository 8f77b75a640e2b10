package containerd

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"swell.dev/swell/internal/oomscore"
	"swell.dev/swell/nodelet"
)

// groupAnnotation tells the shim which containers it serves together.
const groupAnnotation = "io.containerd.runc.v2.group"

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// buildSpec makes the runtime's description of a container. ctx only carries the namespace.
func buildSpec(ctx context.Context, c nodelet.Container, image ocispec.ImageConfig, who specs.User, unified, swapCounted bool) (*specs.Spec, error) {
	s, err := oci.GenerateSpec(ctx, nil, &containers.Container{ID: c.ID}, oci.WithDefaultUnixDevices)
	if err != nil {
		return nil, err
	}
	if s.Process.Args, err = arguments(c, image); err != nil {
		return nil, err
	}
	s.Process.Rlimits = nil // the host's
	s.Process.User = who
	s.Process.Env = environment(c, image)
	s.Process.Cwd = "/"
	for _, dir := range []string{c.WorkingDir, image.WorkingDir} {
		if dir != "" {
			s.Process.Cwd = dir
			break
		}
	}
	oom := oomscore.Allowed(c.OOMScore)
	s.Process.OOMScoreAdj = &oom
	s.Hostname = c.Hostname
	s.Annotations = map[string]string{groupAnnotation: c.PodUID}
	s.Linux.CgroupsPath = c.CgroupPath
	s.Linux.Sysctl = c.Sysctls
	cpu, memory := limits(c.Resources, swapCounted)
	s.Linux.Resources.CPU, s.Linux.Resources.Memory = cpu, memory
	if unified {
		s.Linux.Resources.Unified = c.Unified
	}

	if c.PodPID {
		return nil, fmt.Errorf("shared process namespace: %w", nodelet.ErrUnsupported)
	}
	s.Linux.Namespaces = []specs.LinuxNamespace{
		{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.IPCNamespace, Path: c.IPCNS}, {Type: specs.UTSNamespace},
	}
	if c.NetNS != "" {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: c.NetNS})
	}
	if sec := c.Security; sec == nil || sec.Privileged == nil || !*sec.Privileged {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	if s.Mounts, err = mounts(c, s.Mounts); err != nil {
		return nil, err
	}
	if err := secure(ctx, s, c.Security); err != nil {
		return nil, err
	}
	return s, nil
}

// arguments joins entrypoint and command as Kubernetes does: a command replaces both of the image's.
func arguments(c nodelet.Container, image ocispec.ImageConfig) ([]string, error) {
	args := slices.Clone(c.Command)
	if len(c.Command) == 0 {
		args = slices.Clone(image.Entrypoint)
	}
	switch {
	case len(c.Args) > 0:
		args = append(args, c.Args...)
	case len(c.Command) == 0:
		args = append(args, image.Cmd...)
	}
	if len(args) == 0 {
		return nil, fmt.Errorf("no command specified")
	}
	return args, nil
}

// environment puts the container's variables over the image's. The last of a name wins.
func environment(c nodelet.Container, image ocispec.ImageConfig) []string {
	all := append([]string{defaultPath, "HOSTNAME=" + c.Hostname}, image.Env...)
	all = append(all, c.Env...)
	at := map[string]int{}
	var env []string
	for _, kv := range all {
		name, _, _ := strings.Cut(kv, "=")
		if i, ok := at[name]; ok {
			env[i] = kv
			continue
		}
		at[name] = len(env)
		env = append(env, kv)
	}
	return env
}

// mounts puts the container's over the default ones, parents before what lies in them.
func mounts(c nodelet.Container, defaults []specs.Mount) ([]specs.Mount, error) {
	own := map[string]bool{}
	var list []specs.Mount
	for _, m := range c.Mounts {
		if !path.IsAbs(m.Destination) {
			return nil, fmt.Errorf("mount %s: path in the container is not absolute", m.Destination)
		}
		to := path.Clean(m.Destination)
		own[to] = true
		mode := "rw"
		if m.ReadOnly {
			mode = "ro"
		}
		if m.Source == "tmpfs" {
			list = append(list, specs.Mount{Destination: to, Type: "tmpfs", Source: "tmpfs",
				Options: append([]string{"nosuid", "nodev", mode}, m.Options...)})
			continue
		}
		options := append([]string{"rbind", mode}, m.Options...)
		if !slices.ContainsFunc(m.Options, func(o string) bool {
			return strings.HasSuffix(o, "private") || strings.HasSuffix(o, "shared") || strings.HasSuffix(o, "slave")
		}) {
			options = append(options, "rprivate")
		}
		list = append(list, specs.Mount{Destination: to, Type: "bind", Source: m.Source, Options: options})
	}
	slices.SortStableFunc(list, func(a, b specs.Mount) int {
		return strings.Count(a.Destination, "/") - strings.Count(b.Destination, "/")
	})
	defaults = append(defaults, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
		Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}})
	defaults = slices.DeleteFunc(defaults, func(m specs.Mount) bool {
		return own[m.Destination] || m.Destination == "/run" // an image's /run is its own
	})
	return append(defaults, list...), nil
}
