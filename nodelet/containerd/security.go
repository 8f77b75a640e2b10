package containerd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/nodelet"
)

// secure narrows or widens what the container may do. The default seccomp profile applies unless the
// container asks for Unconfined or is privileged.
func secure(ctx context.Context, s *specs.Spec, sec *corev1.SecurityContext) error {
	if sec == nil {
		sec = &corev1.SecurityContext{}
	}
	s.Root.Readonly = sec.ReadOnlyRootFilesystem != nil && *sec.ReadOnlyRootFilesystem
	s.Process.NoNewPrivileges = sec.AllowPrivilegeEscalation != nil && !*sec.AllowPrivilegeEscalation
	if sec.Privileged != nil && *sec.Privileged {
		return privileged(ctx, s)
	}
	if sec.ProcMount != nil && *sec.ProcMount != corev1.DefaultProcMount {
		return fmt.Errorf("procMount %s: %w", *sec.ProcMount, nodelet.ErrUnsupported)
	}
	if caps := sec.Capabilities; caps != nil {
		opts := capabilities(caps)
		if err := oci.ApplyOpts(ctx, nil, &containers.Container{}, s, opts...); err != nil {
			return fmt.Errorf("capabilities: %w", err)
		}
	}
	switch p := sec.SeccompProfile; {
	case p == nil || p.Type == corev1.SeccompProfileTypeRuntimeDefault:
		s.Linux.Seccomp = seccomp.DefaultProfile(s)
	case p.Type == corev1.SeccompProfileTypeUnconfined:
	default:
		return fmt.Errorf("seccomp profile %s: %w", p.Type, nodelet.ErrUnsupported)
	}
	return nil
}

// capabilities takes ALL first, then the names: "drop ALL, add NET_BIND_SERVICE" and "add ALL, drop
// SYS_ADMIN" both mean what they say.
func capabilities(c *corev1.Capabilities) []oci.SpecOpts {
	var opts []oci.SpecOpts
	add, addAll := capNames(c.Add)
	drop, dropAll := capNames(c.Drop)
	if addAll {
		opts = append(opts, oci.WithAllCurrentCapabilities)
	}
	if dropAll {
		opts = append(opts, oci.WithCapabilities(nil))
	}
	return append(opts, oci.WithAddedCapabilities(add), oci.WithDroppedCapabilities(drop))
}

func capNames(caps []corev1.Capability) (names []string, all bool) {
	for _, c := range caps {
		name := strings.ToUpper(string(c))
		if name == "ALL" || name == "CAP_ALL" {
			all = true
			continue
		}
		names = append(names, "CAP_"+strings.TrimPrefix(name, "CAP_"))
	}
	return names, all
}

// privileged gives the container what root on the host has, apart from the other namespaces.
func privileged(ctx context.Context, s *specs.Spec) error {
	s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
	for i := range s.Mounts {
		if m := &s.Mounts[i]; m.Type == "sysfs" || m.Type == "cgroup" {
			m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return o == "ro" })
		}
	}
	return oci.ApplyOpts(ctx, nil, &containers.Container{}, s,
		oci.WithAllCurrentCapabilities, oci.WithHostDevices, oci.WithAllDevicesAllowed)
}
