package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestSecurity runs processes under every kind of security context and has them say what they are.
func TestSecurity(t *testing.T) {
	scenarios{
		"contexts":     securityContexts,
		"non-root":     nonRoot,
		"read-only":    readOnlyRoot,
		"pod-defaults": podSecurityDefaults,
	}.run(t)
}

// whatAmI prints the user, the groups and what the kernel holds of the process.
const whatAmI = `id -u; id -g; id -G; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; unshare -U true 2>/dev/null && echo unshared; true`

// defaultCapabilities are what containerd, and so Kubernetes, leaves to root: CHOWN, DAC_OVERRIDE, FSETID,
// FOWNER, MKNOD, NET_RAW, SETGID, SETUID, SETFCAP, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT, KILL, AUDIT_WRITE.
const defaultCapabilities = "00000000a80425fb"

func field(out, name string) string {
	m := regexp.MustCompile(`(?m)^` + name + `:\s*(\S+)$`).FindStringSubmatch(out)
	if m == nil {
		return ""
	}
	return m[1]
}

func securityContexts(t *testing.T, ns string) {
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	all := field(string(own), "CapBnd")
	type want struct{ ids, caps, noNewPrivs, seccomp string }
	cases := []struct {
		name    string
		context *corev1.SecurityContext
		want    want
	}{
		{"default", nil, want{"0 0 0", defaultCapabilities, "0", "2"}},
		{"user", &corev1.SecurityContext{RunAsUser: new(int64(1234))}, want{"1234 0 0", "0000000000000000", "0", "2"}},
		{"user-group", &corev1.SecurityContext{RunAsUser: new(int64(1234)), RunAsGroup: new(int64(55))}, want{"1234 55 55", "0000000000000000", "0", "2"}},
		// A user of the image has the image's groups.
		{"image-user", &corev1.SecurityContext{RunAsUser: new(int64(1000))}, want{"1000 1000 1000 2000", "0000000000000000", "0", "2"}},
		{"drop-all", &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}, want{"0 0 0", "0000000000000000", "0", "2"}},
		{"drop-all-add-one", &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_BIND_SERVICE"}}},
			want{"0 0 0", "0000000000000400", "0", "2"}},
		{"add", &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_NICE"}}}, want{"0 0 0", "00000000a88425fb", "0", "2"}},
		{"drop", &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"CHOWN", "CAP_KILL"}}}, want{"0 0 0", "00000000a80425da", "0", "2"}},
		{"no-escalation", &corev1.SecurityContext{AllowPrivilegeEscalation: new(false)}, want{"0 0 0", defaultCapabilities, "1", "2"}},
		{"runtime-default", &corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			want{"0 0 0", defaultCapabilities, "0", "2"}},
		{"unconfined", &corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}},
			want{"0 0 0", defaultCapabilities, "0", "0"}},
		{"privileged", &corev1.SecurityContext{Privileged: new(true)}, want{"0 0 0", all, "0", "0"}},
	}
	for _, c := range cases {
		pod := shellPod(c.name, whatAmI)
		pod.Spec.RestartPolicy = corev1.RestartPolicyNever
		pod.Spec.Containers[0].SecurityContext = c.context
		post(t, ns, pod)
	}
	for _, c := range cases {
		await(t, client, ns, c.name, "at its end", ended)
		out := logOf(t, ns, c.name, "main")
		lines := strings.SplitN(out, "\n", 4)
		got := want{strings.Join(lines[:min(3, len(lines))], " "), field(out, "CapEff"), field(out, "NoNewPrivs"), field(out, "Seccomp")}
		equal(t, c.name, got, c.want)
		// The profile is more than a number: without a capability for it, a user namespace is refused.
		if confined := c.want.seccomp == "2"; strings.Contains(out, "unshared") == confined {
			t.Errorf("%s: seccomp %s, and a new user namespace was made: %v", c.name, c.want.seccomp, !confined)
		}
	}
}

// nonRoot refuses to run what would run as root, says so, and runs what wouldn't.
func nonRoot(t *testing.T, ns string) {
	for _, c := range []struct {
		name    string
		context corev1.SecurityContext
		says    string
	}{
		{"image-root", corev1.SecurityContext{RunAsNonRoot: new(true)}, "container has runAsNonRoot and image will run as root (container: main)"},
		{"asked-root", corev1.SecurityContext{RunAsNonRoot: new(true), RunAsUser: new(int64(0))}, "container's runAsUser breaks non-root policy (container: main)"},
	} {
		pod := shellPod(c.name, "true")
		pod.Spec.Containers[0].SecurityContext = &c.context
		post(t, ns, pod)
		pod = await(t, client, ns, c.name, "refused", waits("main", "CreateContainerConfigError"))
		equal(t, c.name, statusOf(pod, "main").State.Waiting.Message, c.says)
		equal(t, c.name+": restarts", statusOf(pod, "main").RestartCount, 0)
	}
	pod := shellPod("user", "id -u")
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsNonRoot: new(true), RunAsUser: new(int64(1000))}
	equal(t, "user", succeed(t, ns, pod), "1000\n")
}

func readOnlyRoot(t *testing.T, ns string) {
	pod := shellPod("p", `for f in /x /etc/x /tmp/x /bin/x; do echo x > $f; done 2>&1; echo x > /scratch/x && cat /scratch/x; echo x > /dev/termination-log && echo told; echo x > /dev/null && echo dev`)
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{ReadOnlyRootFilesystem: new(true)}
	out := succeed(t, ns, emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{}))
	equal(t, "refused writes", strings.Count(out, "Read-only file system"), 4)
	mustMatch(t, out, `x\ntold\ndev\n$`)
}

// podSecurityDefaults holds for each container of the pod but those that say otherwise.
func podSecurityDefaults(t *testing.T, ns string) {
	pod := shellPod("p", whatAmI)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsUser: new(int64(1234)), RunAsGroup: new(int64(55)), SupplementalGroups: []int64{3000, 4000},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined},
	}
	other := shell("other", whatAmI)
	other.SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64(4321)), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	pod.Spec.Containers = append(pod.Spec.Containers, other)
	out := succeed(t, ns, pod)
	mustMatch(t, out, `^1234\n55\n55 3000 4000\n`)
	equal(t, "seccomp", field(out, "Seccomp"), "0")
	out = logOf(t, ns, "p", "other")
	mustMatch(t, out, `^4321\n55\n55 3000 4000\n`)
	equal(t, "seccomp of the other", field(out, "Seccomp"), "2")
}
