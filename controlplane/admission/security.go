package admission

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateSecurity(sc *corev1.SecurityContext, at *field.Path) field.ErrorList {
	if sc == nil {
		return nil
	}
	errs := ids(at, map[string]*int64{"runAsUser": sc.RunAsUser, "runAsGroup": sc.RunAsGroup})
	errs = append(errs, seccomp(sc.SeccompProfile, at)...)
	if c := sc.Capabilities; c != nil {
		errs = append(errs, validateCapabilities(c.Add, at.Child("capabilities", "add"))...)
		errs = append(errs, validateCapabilities(c.Drop, at.Child("capabilities", "drop"))...)
	}
	if p := sc.ProcMount; p != nil && *p != corev1.DefaultProcMount {
		errs = append(errs, field.NotSupported(at.Child("procMount"), *p, []corev1.ProcMountType{corev1.DefaultProcMount}))
	}
	if sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation {
		if sc.Privileged != nil && *sc.Privileged {
			errs = append(errs, field.Invalid(at, sc, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
		}
		if sc.Capabilities != nil && sets.New(sc.Capabilities.Add...).Has("CAP_SYS_ADMIN") {
			errs = append(errs, field.Invalid(at, sc, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
		}
	}
	return errs
}

// capabilityNames are the kernel's (linux/capability.h). A runtime passes over a name that it doesn't know.
var capabilityNames = sets.New("ALL", "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN",
	"DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE",
	"MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP",
	"SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT",
	"SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM")

func validateCapabilities(list []corev1.Capability, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, c := range list {
		if !capabilityNames.Has(strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_")) {
			errs = append(errs, field.NotSupported(at.Index(i), c, sets.List(capabilityNames)))
		}
	}
	return errs
}

// safeSysctls are those that act within the pod's own namespaces, as in Kubernetes.
var safeSysctls = sets.New("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
	"net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports",
	"net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")

func validatePodSecurity(sc *corev1.PodSecurityContext, at *field.Path) field.ErrorList {
	if sc == nil {
		return nil
	}
	errs := ids(at, map[string]*int64{"runAsUser": sc.RunAsUser, "runAsGroup": sc.RunAsGroup, "fsGroup": sc.FSGroup})
	for i, g := range sc.SupplementalGroups {
		errs = append(errs, ids(at, map[string]*int64{fmt.Sprintf("supplementalGroups[%d]", i): &g})...)
	}
	seen := sets.New[string]()
	for i, s := range sc.Sysctls {
		name := strings.ReplaceAll(s.Name, "/", ".") // a kernel knows both spellings
		switch p := at.Child("sysctls").Index(i).Child("name"); {
		case s.Name == "":
			errs = append(errs, field.Required(p, ""))
		case !safeSysctls.Has(name):
			errs = append(errs, field.NotSupported(p, s.Name, sets.List(safeSysctls)))
		case seen.Has(name):
			errs = append(errs, field.Duplicate(p, s.Name))
		}
		seen.Insert(name)
	}
	if p := sc.FSGroupChangePolicy; p != nil {
		errs = append(errs, supported(at.Child("fsGroupChangePolicy"), *p, corev1.FSGroupChangeAlways, corev1.FSGroupChangeOnRootMismatch)...)
	}
	return append(errs, seccomp(sc.SeccompProfile, at)...)
}

func ids(at *field.Path, values map[string]*int64) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if id := values[name]; id != nil && (*id < 0 || *id > 1<<31-1) {
			errs = append(errs, field.Invalid(at.Child(name), *id, validation.InclusiveRangeError(0, 1<<31-1)))
		}
	}
	return errs
}

func seccomp(p *corev1.SeccompProfile, at *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	return supported(at.Child("seccompProfile", "type"), p.Type, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)
}
