package admission

import (
	"strings"
	"testing"
)

func TestValidateEnv(t *testing.T) {
	field := func(path string) string { return "{name: A, valueFrom: {fieldRef: {fieldPath: \"" + path + "\"}}}" }
	resource := func(ref string) string { return "{name: A, valueFrom: {resourceFieldRef: {" + ref + "}}}" }
	env := func(list ...string) string { return container("env: [" + strings.Join(list, ", ") + "]") }
	const at = "c.env[0].valueFrom"
	check(t, []verdict{
		{"names", env("{name: ''}", "{name: 'a=b'}", "{name: a.b-c}"), []string{"c.env[0].name: required", "c.env[1].name: invalid"}},
		{"value and source", env("{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}"), []string{at + ": invalid"}},
		{"no source", env("{name: A, valueFrom: {}}"), []string{at + ": invalid"}},
		{"two sources", env("{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}, secretKeyRef: {name: a, key: b}}}"), []string{at + ": invalid"}},
		{"fields", env(field("metadata.name"), field("metadata.namespace"), field("metadata.uid"), field("metadata.labels['a/b']"), field("metadata.annotations['a/B']"), field("spec.nodeName"),
			field("spec.serviceAccountName"), field("status.hostIP"), field("status.hostIPs"), field("status.podIP"), field("status.podIPs")), nil},
		{"unknown field", env(field("spec.containers")), []string{at + ".fieldRef.fieldPath: unsupported"}},
		{"no field", env(field("")), []string{at + ".fieldRef.fieldPath: required"}},
		{"a map as a value", env(field("metadata.labels")), []string{at + ".fieldRef.fieldPath: unsupported"}},
		{"bad key", env(field("metadata.labels['a b']")), []string{at + ".fieldRef.fieldPath: invalid"}},
		{"key of what has none", env(field("metadata.name['a']")), []string{at + ".fieldRef.fieldPath: unsupported"}},
		{"open key", env(field("metadata.labels['a")), []string{at + ".fieldRef.fieldPath: unsupported"}},
		{"version", env("{name: A, valueFrom: {fieldRef: {apiVersion: v2, fieldPath: metadata.name}}}"), []string{at + ".fieldRef.apiVersion: unsupported"}},
		{"resources", env(resource("resource: limits.cpu"), resource("resource: requests.cpu, divisor: 1m"), resource("resource: limits.memory, divisor: 1Mi"), resource("resource: requests.memory, containerName: c, divisor: '1'")), nil},
		{"no resource", env(resource("divisor: 1")), []string{at + ".resourceFieldRef.resource: required"}},
		{"unknown resource", env(resource("resource: limits.foo")), []string{at + ".resourceFieldRef.resource: unsupported"}},
		{"resource that has no size here, ours", env(resource("resource: limits.ephemeral-storage")), []string{at + ".resourceFieldRef.resource: unsupported"}},
		{"divisors", env(resource("resource: limits.cpu, divisor: 2"), resource("resource: limits.cpu, divisor: 1Ki"), resource("resource: limits.memory, divisor: 1m"), resource("resource: limits.memory, divisor: -1")),
			[]string{"c.env[0].valueFrom.resourceFieldRef.divisor: unsupported", "c.env[1].valueFrom.resourceFieldRef.divisor: unsupported", "c.env[2].valueFrom.resourceFieldRef.divisor: unsupported", "c.env[3].valueFrom.resourceFieldRef.divisor: unsupported"}},
		{"references", env("{name: A, valueFrom: {secretKeyRef: {name: '', key: ''}}}", "{name: B, valueFrom: {configMapKeyRef: {name: B_, key: 'a b'}}}"),
			[]string{"c.env[0].valueFrom.secretKeyRef.name: required", "c.env[0].valueFrom.secretKeyRef.key: required", "c.env[1].valueFrom.configMapKeyRef.name: invalid", "c.env[1].valueFrom.configMapKeyRef.key: invalid"}},
		{"a file's key", env("{name: C, valueFrom: {fileKeyRef: {volumeName: v, path: p, key: k}}}"), []string{at + ".fileKeyRef: forbidden"}},
		{"envFrom", container("envFrom: [{}, {configMapRef: {}}, {secretRef: {name: B_}}, {configMapRef: {name: a}, secretRef: {name: b}}, {prefix: 'a=b', configMapRef: {name: a}}, {prefix: A_, secretRef: {name: a, optional: true}}]"),
			[]string{"c.envFrom[0]: invalid", "c.envFrom[1].configMapRef.name: required", "c.envFrom[2].secretRef.name: invalid", "c.envFrom[3]: invalid", "c.envFrom[4].prefix: invalid"}},
	})
}

func TestValidateVolumes(t *testing.T) {
	const v = "volumes: [{name: v}]\n"
	mount := func(m string) string { return v + container("volumeMounts: ["+m+"]") }
	check(t, []verdict{
		{"names", "volumes: [{name: v}, {name: v}, {emptyDir: {}}, {name: B_}, {name: a.b}, {name: " + strings.Repeat("a", 64) + "}]",
			[]string{"volumes[1].name: duplicate", "volumes[2].name: required", "volumes[3].name: invalid", "volumes[4].name: invalid", "volumes[5].name: invalid"}},
		{"emptyDir", "volumes: [{name: a, emptyDir: {medium: Memory, sizeLimit: 1Mi}}, {name: b, emptyDir: {sizeLimit: 0}}]", nil},
		{"emptyDir of another medium or size", "volumes: [{name: a, emptyDir: {medium: HugePages, sizeLimit: -1}}]", []string{"volumes[0].emptyDir.medium: unsupported", "volumes[0].emptyDir.sizeLimit: forbidden"}},
		{"two sources", "volumes: [{name: a, emptyDir: {}, secret: {secretName: a}}]", []string{"volumes[0]: forbidden"}},
		{"nameless", "volumes: [{name: a, configMap: {}}, {name: b, secret: {}}]", []string{"volumes[0].configMap.name: required", "volumes[1].secret.secretName: required"}},
		{"what 1.37 added", "volumes: [{name: a, emptyDir: {mode: 511}}, {name: b, configMap: {name: a, defaultUser: 0, items: [{key: a, path: a, user: 1}]}}]",
			[]string{"volumes[0].emptyDir.mode: forbidden", "volumes[1].configMap.defaultUser: forbidden", "volumes[1].configMap.items[0].user: forbidden"}},
		{"files", "volumes: [{name: a, configMap: {name: a, defaultMode: 01000, items: [{}, {key: a, path: b/../../x}, {key: a, path: /x, mode: -1}, {key: a, path: ..data}, {key: a, path: a/..b, mode: 0777}]}}]",
			[]string{"volumes[0].configMap.defaultMode: invalid", "volumes[0].configMap.items[0].key: required", "volumes[0].configMap.items[0].path: required", "volumes[0].configMap.items[1].path: invalid",
				"volumes[0].configMap.items[2].path: invalid", "volumes[0].configMap.items[2].mode: invalid", "volumes[0].configMap.items[3].path: invalid"}},
		{"downward", "volumes: [{name: a, downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.labels}}, {path: b}, {path: c, fieldRef: {fieldPath: status.podIP}}, {path: d, resourceFieldRef: {resource: limits.cpu}}, {path: ../e, fieldRef: {fieldPath: metadata.name}, resourceFieldRef: {containerName: c, resource: limits.cpu}}]}}]",
			[]string{"volumes[0].downwardAPI.items[1]: required", "volumes[0].downwardAPI.items[2].fieldRef.fieldPath: unsupported", "volumes[0].downwardAPI.items[3].resourceFieldRef.containerName: required", "volumes[0].downwardAPI.items[4].path: invalid", "volumes[0].downwardAPI.items[4]: invalid"}},
		{"projected", "volumes: [{name: a, projected: {sources: [{}, {configMap: {}}, {configMap: {name: a, items: [{key: k, path: x}]}}, {secret: {name: a, items: [{key: k, path: ./x}]}}, {configMap: {name: a}, secret: {name: b}}]}}]",
			[]string{"volumes[0].projected.sources[0]: required", "volumes[0].projected.sources[1].configMap.name: required", "volumes[0].projected: invalid", "volumes[0].projected.sources[4]: forbidden"}},
		{"tokens and certificates", "volumes: [{name: a, projected: {sources: [{serviceAccountToken: {path: t}}, {clusterTrustBundle: {path: b}}, {podCertificate: {keyType: ED25519}}]}}]",
			[]string{"volumes[0].projected.sources[0].serviceAccountToken: forbidden", "volumes[0].projected.sources[1].clusterTrustBundle: forbidden", "volumes[0].projected.sources[2].podCertificate: forbidden"}},
		{"other kinds", "volumes: [{name: a, hostPath: {path: /}}, {name: b, persistentVolumeClaim: {claimName: x}}, {name: c, image: {}}, {name: d, nfs: {server: a, path: /}}, {name: e, ephemeral: {}}]",
			[]string{"volumes[0].hostPath: forbidden", "volumes[1].persistentVolumeClaim: forbidden", "volumes[2].image: forbidden", "volumes[3].nfs: forbidden", "volumes[4].ephemeral: forbidden"}},
		{"mounts", mount("{name: v, mountPath: /a}, {name: v, mountPath: /b, subPath: x/y, readOnly: true}, {name: v, mountPath: /c, subPathExpr: $(A)/..x}"), nil},
		{"mount of nothing", mount("{name: w, mountPath: /a}, {mountPath: /b}, {name: v}"),
			[]string{"c.volumeMounts[0].name: not found", "c.volumeMounts[1].name: required", "c.volumeMounts[2].mountPath: required"}},
		{"twice at one place", mount("{name: v, mountPath: /a}, {name: v, mountPath: /a/}"), []string{"c.volumeMounts[1].mountPath: invalid"}},
		{"bad places, ours", mount("{name: v, mountPath: a}, {name: v, mountPath: '/a:b'}"), []string{"c.volumeMounts[0].mountPath: invalid", "c.volumeMounts[1].mountPath: invalid"}},
		{"out of the volume", mount("{name: v, mountPath: /a, subPath: ../x}, {name: v, mountPath: /b, subPath: x/../y}, {name: v, mountPath: /c, subPath: /x}, {name: v, mountPath: /d, subPathExpr: $(A)/../..}"),
			[]string{"c.volumeMounts[0].subPath: invalid", "c.volumeMounts[1].subPath: invalid", "c.volumeMounts[2].subPath: invalid", "c.volumeMounts[3].subPathExpr: invalid"}},
		{"both kinds of subPath", mount("{name: v, mountPath: /a, subPath: x, subPathExpr: y}"), []string{"c.volumeMounts[0].subPathExpr: invalid"}},
		{"propagation", mount("{name: v, mountPath: /a, mountPropagation: None, recursiveReadOnly: Disabled}"), []string{"c.volumeMounts[0].mountPropagation: forbidden", "c.volumeMounts[0].recursiveReadOnly: forbidden"}},
	})
}

func TestValidateSecurity(t *testing.T) {
	check(t, []verdict{
		{"all that is honoured", "securityContext: {runAsUser: 0, runAsGroup: 2147483647, runAsNonRoot: true, fsGroup: 1, supplementalGroups: [1, 2], fsGroupChangePolicy: OnRootMismatch, seccompProfile: {type: Unconfined}, sysctls: [{name: net.ipv4.tcp_syncookies, value: '1'}, {name: net/ipv4/tcp_rmem, value: '1 2 3'}]}\n" +
			container("securityContext: {privileged: false, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, procMount: Default, seccompProfile: {type: RuntimeDefault}, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE, CAP_SYS_PTRACE, net_raw]}}"), nil},
		{"ids", "securityContext: {runAsUser: -1, runAsGroup: 2147483648, fsGroup: -1, supplementalGroups: [1, -1]}\n" + container("securityContext: {runAsUser: -1, runAsGroup: -2}"),
			[]string{"securityContext.runAsUser: invalid", "securityContext.runAsGroup: invalid", "securityContext.fsGroup: invalid", "securityContext.supplementalGroups[1]: invalid", "c.securityContext.runAsUser: invalid", "c.securityContext.runAsGroup: invalid"}},
		{"sysctls", "securityContext: {sysctls: [{value: '1'}, {name: kernel.msgmax, value: '1'}, {name: net.core.somaxconn, value: '1'}, {name: net.ipv4.tcp_rmem, value: '1'}, {name: net/ipv4/tcp_rmem, value: '2'}]}",
			[]string{"securityContext.sysctls[0].name: required", "securityContext.sysctls[1].name: unsupported", "securityContext.sysctls[2].name: unsupported", "securityContext.sysctls[4].name: duplicate"}},
		{"enumerations", "securityContext: {fsGroupChangePolicy: Foo, seccompProfile: {type: Foo}}\n" + container("securityContext: {seccompProfile: {}, procMount: Unmasked}"),
			[]string{"securityContext.fsGroupChangePolicy: unsupported", "securityContext.seccompProfile.type: unsupported", "c.securityContext.seccompProfile.type: required", "c.securityContext.procMount: unsupported"}},
		{"profiles of the host's", "securityContext: {seccompProfile: {type: Localhost, localhostProfile: a}, appArmorProfile: {type: RuntimeDefault}, seLinuxOptions: {level: x}, windowsOptions: {}}",
			[]string{"securityContext.seccompProfile.localhostProfile: forbidden", "securityContext.seccompProfile.type: unsupported", "securityContext.appArmorProfile: forbidden", "securityContext.seLinuxOptions: forbidden", "securityContext.windowsOptions: forbidden"}},
		// A runtime would pass over the first in silence. Ours.
		{"capabilities", container("securityContext: {capabilities: {add: [SYS_ADMN, ''], drop: [CAP_CAP_KILL]}}"),
			[]string{"c.securityContext.capabilities.add[0]: unsupported", "c.securityContext.capabilities.add[1]: unsupported", "c.securityContext.capabilities.drop[0]: unsupported"}},
		{"contradictions", container("securityContext: {privileged: true, allowPrivilegeEscalation: false, capabilities: {add: [CAP_SYS_ADMIN]}}"), []string{"c.securityContext: invalid", "c.securityContext: invalid"}},
	})
}

func TestValidatePodFields(t *testing.T) {
	check(t, []verdict{
		{"enumerations", "restartPolicy: Sometimes\ndnsPolicy: ClusterFirstWithHostNet\npreemptionPolicy: Foo\nos: {name: windows}", []string{"restartPolicy: unsupported", "dnsPolicy: unsupported", "preemptionPolicy: unsupported", "os.name: unsupported"}},
		{"numbers", "terminationGracePeriodSeconds: -1\nactiveDeadlineSeconds: 0\npriority: 5", []string{"terminationGracePeriodSeconds: invalid", "activeDeadlineSeconds: invalid"}},
		{"deadline too far", "activeDeadlineSeconds: 2147483648", []string{"activeDeadlineSeconds: invalid"}},
		{"names", "hostname: A_b\nsubdomain: a.b\nnodeName: A_b\nnodeSelector: {'a b': c d}\nimagePullSecrets: [{}]",
			[]string{"hostname: invalid", "subdomain: invalid", "nodeName: invalid", "nodeSelector: invalid", "nodeSelector: invalid", "imagePullSecrets[0].name: required"}},
		{"hosts", "hostAliases: [{ip: 1.2.3.4, hostnames: [a.b]}, {ip: x, hostnames: [A_b]}, {hostnames: [a]}, {ip: 'fe80::1%eth0'}]",
			[]string{"hostAliases[1].ip: invalid", "hostAliases[1].hostnames[0]: invalid", "hostAliases[2].ip: invalid", "hostAliases[3].ip: invalid"}},
		{"no resolver", "dnsPolicy: None", []string{"dnsConfig: required"}},
		{"no name server", "dnsPolicy: None\ndnsConfig: {searches: [a]}", []string{"dnsConfig.nameservers: required"}},
		{"resolver", "dnsConfig: {nameservers: [1.2.3.4, 1.2.3.5, 1.2.3.6, foo], searches: [a_b.c, ., A, a..b, x.], options: [{}, {name: ndots, value: '2'}]}",
			[]string{"dnsConfig.nameservers: invalid", "dnsConfig.nameservers[3]: invalid", "dnsConfig.searches[2]: invalid", "dnsConfig.searches[3]: invalid", "dnsConfig.options[0]: required"}},
		{"too many searches", "dnsConfig: {searches: [" + strings.Repeat("a,", 33) + "]}", []string{"dnsConfig.searches: invalid"}},
		{"tolerations", "tolerations: [{operator: Exists}, {key: a}, {key: a, effect: NoExecute, tolerationSeconds: 1}]", nil},
		{"bad tolerations", "tolerations: [{}, {key: 'a b'}, {key: a, operator: Exists, value: x}, {key: a, operator: Foo}, {key: a, value: 'b c'}, {key: a, effect: Foo}, {key: a, tolerationSeconds: 1}]",
			[]string{"tolerations[0].operator: invalid", "tolerations[1].key: invalid", "tolerations[2].value: invalid", "tolerations[3].operator: unsupported", "tolerations[4].value: invalid", "tolerations[5].effect: unsupported", "tolerations[6].effect: invalid"}},
	})
}

// What Swell doesn't do is refused by name.
func TestRefused(t *testing.T) {
	for path, spec := range map[string]string{
		"hostNetwork": "hostNetwork: true", "hostPID": "hostPID: true", "hostIPC": "hostIPC: true", "hostUsers": "hostUsers: false",
		"shareProcessNamespace": "shareProcessNamespace: true", "automountServiceAccountToken": "automountServiceAccountToken: true",

		"ephemeralContainers": "ephemeralContainers: [{name: e}]", "runtimeClassName": "runtimeClassName: ''", "readinessGates": "readinessGates: [{conditionType: x}]",
		"resourceClaims": "resourceClaims: [{name: x}]", "schedulingGates": "schedulingGates: [{name: x}]", "overhead": "overhead: {cpu: 1}",
		"hostnameOverride": "hostnameOverride: x",
		"c.stdin":          container("stdin: true"), "c.tty": container("tty: true"), "c.volumeDevices": container("volumeDevices: [{name: a, devicePath: /b}]"),
		"c.restartPolicy": container("restartPolicy: Always"), "c.restartPolicyRules": container("restartPolicyRules: [{action: Restart}]"),
	} {
		t.Run(path, func(t *testing.T) {
			check(t, []verdict{{"alone", spec, []string{path + ": forbidden"}}})
		})
	}
	check(t, []verdict{
		{"unsupported values", "schedulerName: mine\nserviceAccountName: robot\nserviceAccount: robot", []string{"schedulerName: unsupported", "serviceAccountName: unsupported", "serviceAccount: unsupported"}},
		{"what says nothing", "affinity: {}\ntolerations: []\nnodeSelector: {}\nsecurityContext: {}\nresources: {}\nhostNetwork: false\nhostUsers: true\nshareProcessNamespace: false\nautomountServiceAccountToken: false\nserviceAccountName: default\npriority: 0\nos: {name: linux}\n" +
			container("stdin: false, securityContext: {}, resources: {}, env: []"), nil},
	})
}
