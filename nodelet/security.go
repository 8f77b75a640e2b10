package nodelet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// effectiveSecurity merges the pod's security context into the container's, which wins. Without a
// seccomp profile the runtime's default one applies.
func effectiveSecurity(pod *corev1.Pod, c *corev1.Container) *corev1.SecurityContext {
	out := &corev1.SecurityContext{}
	if c.SecurityContext != nil {
		out = c.SecurityContext.DeepCopy()
	}
	if p := pod.Spec.SecurityContext; p != nil {
		if out.RunAsUser == nil {
			out.RunAsUser = p.RunAsUser
		}
		if out.RunAsGroup == nil {
			out.RunAsGroup = p.RunAsGroup
		}
		if out.RunAsNonRoot == nil {
			out.RunAsNonRoot = p.RunAsNonRoot
		}
		if out.SELinuxOptions == nil {
			out.SELinuxOptions = p.SELinuxOptions
		}
		if out.SeccompProfile == nil {
			out.SeccompProfile = p.SeccompProfile
		}
		if out.AppArmorProfile == nil {
			out.AppArmorProfile = p.AppArmorProfile
		}
	}
	if out.SeccompProfile == nil {
		out.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	}
	return out
}

// groups answers the supplementary groups, fsGroup included.
func groups(pod *corev1.Pod) []int64 {
	p := pod.Spec.SecurityContext
	if p == nil {
		return nil
	}
	out := slices.Clone(p.SupplementalGroups)
	if p.FSGroup != nil && !slices.Contains(out, *p.FSGroup) {
		out = append(out, *p.FSGroup)
	}
	return out
}

func sysctls(pod *corev1.Pod) map[string]string {
	if pod.Spec.SecurityContext == nil || len(pod.Spec.SecurityContext.Sysctls) == 0 {
		return nil
	}
	out := make(map[string]string)
	for _, s := range pod.Spec.SecurityContext.Sysctls {
		out[s.Name] = s.Value
	}
	return out
}

// verifyNonRoot holds a container to runAsNonRoot.
func verifyNonRoot(sc *corev1.SecurityContext, image Image, container string) error {
	if !isTrue(sc.RunAsNonRoot) {
		return nil
	}
	if sc.RunAsUser != nil {
		if *sc.RunAsUser == 0 {
			return fmt.Errorf("container's runAsUser breaks non-root policy (container: %s)", container)
		}
		return nil
	}
	user, _, _ := strings.Cut(image.User, ":")
	if user == "" {
		return fmt.Errorf("container has runAsNonRoot and image will run as root (container: %s)", container)
	}
	uid, err := strconv.ParseInt(user, 10, 64)
	switch {
	case err != nil:
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root (container: %s)", user, container)
	case uid == 0:
		return fmt.Errorf("container has runAsNonRoot and image will run as root (container: %s)", container)
	}
	return nil
}
