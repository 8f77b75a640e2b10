package admission

import (
	"slices"
)

// honoured are the fields of a pod's spec that Swell acts on, or that change nothing here whatever they
// say. "*" is any element of a list. "/**" ends a path to a value that has no fields of its own: a map,
// a list of strings or numbers, a quantity. A struct's fields are all named, so that one that a later
// Kubernetes adds is refused until somebody has made it work.
var honoured = newPaths(slices.Concat(
	[]string{
		"restartPolicy", "terminationGracePeriodSeconds", "activeDeadlineSeconds", "nodeSelector/**", "nodeName",
		"imagePullSecrets/*/name", "hostname", "subdomain", "setHostnameAsFQDN", "hostAliases/*/ip", "hostAliases/*/hostnames/**",
		"dnsPolicy", "dnsConfig/nameservers/**", "dnsConfig/searches/**", "dnsConfig/options/*/name", "dnsConfig/options/*/value",
	},
	// fsGroupChangePolicy is about volumes that outlive a pod; there are none yet.
	below("securityContext", "runAsUser", "runAsGroup", "runAsNonRoot", "supplementalGroups/**", "fsGroup", "fsGroupChangePolicy",
		"sysctls/*/name", "sysctls/*/value", "seccompProfile/type"),
	below("volumes/*", "name", "emptyDir/medium", "emptyDir/sizeLimit/**", "configMap/name", "secret/secretName",
		"downwardAPI/defaultMode", "projected/defaultMode"),
	below("volumes/*/configMap", "defaultMode", "optional", "items/*/key", "items/*/path", "items/*/mode"),
	below("volumes/*/secret", "defaultMode", "optional", "items/*/key", "items/*/path", "items/*/mode"),
	below("volumes/*/downwardAPI/items/*", downwardFile...),
	below("volumes/*/projected/sources/*/configMap", "name", "optional", "items/*/key", "items/*/path", "items/*/mode"),
	below("volumes/*/projected/sources/*/secret", "name", "optional", "items/*/key", "items/*/path", "items/*/mode"),
	below("volumes/*/projected/sources/*/downwardAPI/items/*", downwardFile...),
	[]string{"priorityClassName", "priority", "preemptionPolicy"},
	below("tolerations/*", "key", "operator", "value", "effect", "tolerationSeconds"),
	below("topologySpreadConstraints/*", spreadFields...),
	below("affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/*", nodeTermFields...),
	below("affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution/*/preference", nodeTermFields...),
	below("affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/*", podTermFields...),
	below("affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution/*/podAffinityTerm", podTermFields...),
	below("affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/*", podTermFields...),
	below("affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/*/podAffinityTerm", podTermFields...),
	below("affinity", "nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution/*/weight",
		"podAffinity/preferredDuringSchedulingIgnoredDuringExecution/*/weight", "podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/*/weight"),
	// Without effect here: there is one scheduler, no service account, no service to link, and one kind of
	// host. refuseValues refuses what asks for more.
	[]string{
		"schedulerName", "serviceAccountName", "serviceAccount", "automountServiceAccountToken", "enableServiceLinks",
		"os/name", "hostUsers", "shareProcessNamespace",
	},
	below("resources", "requests/**", "limits/**"),
	below("containers/*", containerFields...),
	below("initContainers/*", containerFields...),
	[]string{"initContainers/*/restartPolicy"},
))

var containerFields = slices.Concat(
	[]string{
		"name", "image", "imagePullPolicy", "command/**", "args/**", "workingDir", "terminationMessagePath", "terminationMessagePolicy",
		"resources/requests/**", "resources/limits/**", "resizePolicy/*/resourceName", "resizePolicy/*/restartPolicy",
	},
	below("ports/*", "name", "containerPort", "protocol", "hostPort", "hostIP"),
	below("env/*", "name", "value"),
	below("env/*/valueFrom/fieldRef", "apiVersion", "fieldPath"),
	below("env/*/valueFrom/resourceFieldRef", "containerName", "resource", "divisor/**"),
	below("env/*/valueFrom/configMapKeyRef", "name", "key", "optional"),
	below("env/*/valueFrom/secretKeyRef", "name", "key", "optional"),
	below("envFrom/*", "prefix", "configMapRef/name", "configMapRef/optional", "secretRef/name", "secretRef/optional"),
	below("volumeMounts/*", "name", "readOnly", "mountPath", "subPath", "subPathExpr"),
	below("livenessProbe", probeFields...),
	below("readinessProbe", probeFields...),
	below("startupProbe", probeFields...),
	below("lifecycle", "stopSignal", "postStart/sleep/seconds", "preStop/sleep/seconds"),
	below("lifecycle/postStart", handlerFields...),
	below("lifecycle/preStop", handlerFields...),
	below("securityContext", "capabilities/add/**", "capabilities/drop/**", "privileged", "runAsUser", "runAsGroup", "runAsNonRoot",
		"readOnlyRootFilesystem", "allowPrivilegeEscalation", "seccompProfile/type", "procMount"),
)

var probeFields = append([]string{
	"grpc/port", "grpc/service", "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold",
	"terminationGracePeriodSeconds",
}, handlerFields...)

var handlerFields = []string{
	"exec/command/**", "httpGet/path", "httpGet/port/**", "httpGet/host", "httpGet/scheme",
	"httpGet/httpHeaders/*/name", "httpGet/httpHeaders/*/value", "tcpSocket/port/**", "tcpSocket/host",
}

var downwardFile = []string{
	"path", "mode", "fieldRef/apiVersion", "fieldRef/fieldPath",
	"resourceFieldRef/containerName", "resourceFieldRef/resource", "resourceFieldRef/divisor/**",
}

// emptyIsAbsent are fields outside of honoured that templates often leave in a manifest as {}, where that
// says nothing. Of other fields {} may mean something, as it does of a volume's source.
var emptyIsAbsent = map[string]bool{"affinity": true}

func below(path string, fields ...string) []string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = path + "/" + f
	}
	return out
}
