package admission

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Policy is what an operator lets users do. Its zero value is the strictest.
type Policy struct {
	// AllowPrivileged lets containers have rights over their host: be privileged, or have capabilities
	// that reach beyond the container.
	AllowPrivileged bool
}

// containedCapabilities act within a container: those that the Baseline of Kubernetes' Pod Security
// Standards lets pods add, those that containerd gives anyway, and SYS_PTRACE, which sees no process
// outside of the container.
var containedCapabilities = sets.New("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
	"NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "SYS_PTRACE")

// ValidatePod is ValidatePod with what the operator doesn't allow.
func (p Policy) ValidatePod(pod *corev1.Pod) field.ErrorList {
	errs := ValidatePod(pod)
	if p.AllowPrivileged {
		return errs
	}
	for i := range pod.Spec.InitContainers {
		errs = append(errs, unprivileged(pod.Spec.InitContainers[i].SecurityContext, field.NewPath("spec", "initContainers").Index(i))...)
	}
	for i := range pod.Spec.Containers {
		errs = append(errs, unprivileged(pod.Spec.Containers[i].SecurityContext, field.NewPath("spec", "containers").Index(i))...)
	}
	return errs
}

func unprivileged(sc *corev1.SecurityContext, at *field.Path) field.ErrorList {
	if sc == nil {
		return nil
	}
	const why = "gives rights over the host, which this control plane doesn't allow (swell controlplane --allow-privileged)"
	at = at.Child("securityContext")
	var errs field.ErrorList
	if sc.Privileged != nil && *sc.Privileged {
		errs = append(errs, field.Forbidden(at.Child("privileged"), why))
	}
	if sc.Capabilities == nil {
		return errs
	}
	for i, c := range sc.Capabilities.Add {
		if name := strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_"); capabilityNames.Has(name) && !containedCapabilities.Has(name) {
			errs = append(errs, field.Forbidden(at.Child("capabilities", "add").Index(i), string(c)+" "+why))
		}
	}
	return errs
}
