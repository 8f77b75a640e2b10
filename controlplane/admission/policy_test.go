package admission

import "testing"

func TestPolicy(t *testing.T) {
	for spec, want := range map[string][]string{
		container("securityContext: {privileged: true}"):                                        {"c.securityContext.privileged: forbidden"},
		container("securityContext: {privileged: false}"):                                       nil,
		container("securityContext: {capabilities: {add: [NET_BIND_SERVICE, cap_sys_ptrace]}}"): nil,
		container("securityContext: {capabilities: {add: [CHOWN, CAP_SYS_ADMIN, NET_ADMIN]}}"):  {"c.securityContext.capabilities.add[1]: forbidden", "c.securityContext.capabilities.add[2]: forbidden"},
		container("securityContext: {capabilities: {add: [ALL]}}"):                              {"c.securityContext.capabilities.add[0]: forbidden"},
		container("securityContext: {capabilities: {drop: [ALL]}}"):                             nil,
		"initContainers: [{name: i, image: i, securityContext: {privileged: true}}]":            {"initContainers[0].securityContext.privileged: forbidden"},
	} {
		pod := podOf(t, spec)
		DefaultPod(pod)
		expect(t, Policy{}.ValidatePod(pod), want...)
		expect(t, Policy{AllowPrivileged: true}.ValidatePod(pod))
	}
}
