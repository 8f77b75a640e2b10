package admission

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The expectations were held against kube-apiserver 1.37.2 where it serves the same; where a path or a
// verdict is our own, the case says so.
type verdict struct {
	name, spec string
	want       []string
}

func check(t *testing.T, cases []verdict) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			pod := podOf(t, c.spec)
			DefaultPod(pod)
			expect(t, ValidatePod(pod), c.want...)
		})
	}
}

func TestMinimalIsAccepted(t *testing.T) { check(t, []verdict{{name: "minimal", spec: "{}"}}) }

// TestBurstBelowTheSize: bounds are of the whole pod, its size included.
func TestBurstBelowTheSize(t *testing.T) {
	for _, c := range []struct {
		burst, want string
	}{
		{"cpu=300m,memory=128Mi", ""},
		{"cpu=299m", "cpu: must be at least the pod's size, which its containers' limits make 300m"},
		{"cpu=1,memory=127Mi", "memory: must be at least the pod's size, which its containers' limits make 128Mi"},
	} {
		pod := podOf(t, `{"containers": [
			{"name": "a", "image": "x", "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}}},
			{"name": "b", "image": "x", "resources": {"limits": {"cpu": "200m", "memory": "64Mi"}}}]}`)
		pod.Annotations = map[string]string{"swell.dev/burst": c.burst}
		errs := ValidateMeta(pod)
		switch {
		case c.want == "" && len(errs) > 0, c.want != "" && len(errs) != 1:
			t.Errorf("%s: %v", c.burst, errs)
		case c.want != "" && !strings.Contains(errs[0].Error(), c.want):
			t.Errorf("%s: %v, want %q", c.burst, errs, c.want)
		}
		if pod.ResourceVersion = "1"; len(ValidateMeta(pod)) > 0 {
			t.Errorf("%s: a pod that was resized can't be updated: %v", c.burst, ValidateMeta(pod))
		}
	}
}

func TestValidateMeta(t *testing.T) {
	for _, c := range []struct {
		name string
		meta metav1.ObjectMeta
		want []string
	}{
		{"253 characters", metav1.ObjectMeta{Name: strings.Repeat("a", 253)}, nil},
		{"254 characters", metav1.ObjectMeta{Name: strings.Repeat("a", 254)}, []string{"metadata.name: invalid"}},
		{"subdomain", metav1.ObjectMeta{Name: "a.b-c.0"}, nil},
		{"upper case", metav1.ObjectMeta{Name: "A"}, []string{"metadata.name: invalid"}},
		{"underscore", metav1.ObjectMeta{Name: "a_b"}, []string{"metadata.name: invalid"}},
		{"dots together", metav1.ObjectMeta{Name: "a..b"}, []string{"metadata.name: invalid"}},
		{"hyphen first", metav1.ObjectMeta{Name: "-a"}, []string{"metadata.name: invalid"}},
		{"a path", metav1.ObjectMeta{Name: "../a"}, []string{"metadata.name: invalid"}},
		{"none", metav1.ObjectMeta{}, []string{"metadata.name: required"}},
		{"label", metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a b": "c"}}, []string{"metadata.labels: invalid"}},
		{"label value of 64", metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a": strings.Repeat("a", 64)}}, []string{"metadata.labels: invalid"}},
		{"our annotations", metav1.ObjectMeta{Name: "p", Annotations: map[string]string{"swell.dev/qos": "best-effort", "swell.dev/compute-class": "performance"}}, nil},
		{"our annotations, bogus", metav1.ObjectMeta{Name: "p", Annotations: map[string]string{"swell.dev/qos": "gold", "swell.dev/compute-class": ""}},
			[]string{"metadata.annotations[swell.dev/compute-class]: unsupported", "metadata.annotations[swell.dev/qos]: unsupported"}},
		{"a burst", metav1.ObjectMeta{Name: "p", Annotations: map[string]string{"swell.dev/burst": "cpu=4,memory=2Gi,budget=30s", "swell.dev/latency": "critical"}}, nil},
		{"a burst, bogus", metav1.ObjectMeta{Name: "p", Annotations: map[string]string{"swell.dev/burst": "cpu=4,disk=1Gi", "swell.dev/latency": "urgent"}},
			[]string{"metadata.annotations[swell.dev/burst]: invalid", "metadata.annotations[swell.dev/latency]: unsupported"}},
		{"allocated resources are ours", metav1.ObjectMeta{Name: "p", Annotations: map[string]string{"swell.dev/allocated-resources": "{}"}},
			[]string{"metadata.annotations[swell.dev/allocated-resources]: forbidden"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := podOf(t, "{}")
			c.meta.Namespace = "default"
			pod.ObjectMeta = c.meta
			DefaultPod(pod)
			expect(t, ValidatePod(pod), c.want...)
		})
	}
}

func TestValidateContainers(t *testing.T) {
	check(t, []verdict{
		{"none", "containers: []", []string{"containers: required"}},
		{"no name, no image", "containers: [{}]", []string{"c.name: required", "c.image: required"}},
		{"63 characters", "containers: [{image: i, name: " + strings.Repeat("a", 63) + "}]", nil},
		{"64 characters", "containers: [{image: i, name: " + strings.Repeat("a", 64) + "}]", []string{"c.name: invalid"}},
		{"no label", "containers: [{name: A_b, image: i}, {name: a.b, image: i}]", []string{"c.name: invalid", "containers[1].name: invalid"}},
		{"twice", "containers: [{name: a, image: i}, {name: a, image: i}]", []string{"containers[1].name: duplicate"}},
		{"as an init container", "initContainers: [{name: a, image: i}]\ncontainers: [{name: a, image: i}]", []string{"c.name: duplicate"}},
		{"image with spaces", "containers: [{name: a, image: ' i'}]", []string{"c.image: invalid"}},
		{"policies", container("imagePullPolicy: Foo, terminationMessagePolicy: Foo"), []string{"c.imagePullPolicy: unsupported", "c.terminationMessagePolicy: unsupported"}},
		{"resize policies", container("resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}, {resourceName: cpu, restartPolicy: NotRequired}, {resourceName: disk, restartPolicy: NotRequired}, {resourceName: memory, restartPolicy: Maybe}]"),
			[]string{"c.resizePolicy[1]: duplicate", "c.resizePolicy[2].resourceName: unsupported", "c.resizePolicy[3].restartPolicy: unsupported"}},
		{"restart to resize", container("resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]"), nil},
		{"restart to resize, never restarted", "restartPolicy: Never\n" + container("resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]"),
			[]string{"c.resizePolicy[0].restartPolicy: invalid"}},
		{"init container with what it can't have", "initContainers: [{name: i, image: i, livenessProbe: {exec: {command: [a]}}, lifecycle: {preStop: {exec: {command: [a]}}}, readinessProbe: {exec: {command: [a]}}, startupProbe: {exec: {command: [a]}}}]",
			[]string{"initContainers[0].livenessProbe: forbidden", "initContainers[0].readinessProbe: forbidden", "initContainers[0].startupProbe: forbidden", "initContainers[0].lifecycle: forbidden"}},
		{"sidecar", "initContainers: [{name: i, image: i, restartPolicy: Always, livenessProbe: {exec: {command: [a]}}, lifecycle: {preStop: {exec: {command: [a]}}}}]", nil},
		{"init container that is no sidecar", "initContainers: [{name: i, image: i, restartPolicy: Never}]", []string{"initContainers[0].restartPolicy: unsupported"}},
	})
}

func TestValidatePorts(t *testing.T) {
	check(t, []verdict{
		{"bounds", container("ports: [{containerPort: 1}, {containerPort: 65535, hostPort: 65535, hostIP: 127.0.0.1}]"), nil},
		{"the same twice is fine", container("ports: [{containerPort: 4}, {containerPort: 4}]"), nil},
		{"out of range", container("ports: [{containerPort: 0}, {containerPort: 65536}, {containerPort: -1, hostPort: -1}]"),
			[]string{"c.ports[0].containerPort: required", "c.ports[1].containerPort: invalid", "c.ports[2].containerPort: invalid", "c.ports[2].hostPort: invalid"}},
		{"protocol", container("ports: [{containerPort: 1, protocol: tcp}]"), []string{"c.ports[0].protocol: unsupported"}},
		{"names", container("ports: [{containerPort: 1, name: x}, {containerPort: 2, name: x}, {containerPort: 3, name: Bad_Name}, {containerPort: 4, name: sixteen-chars-xx}, {containerPort: 5, name: '80'}]"),
			[]string{"c.ports[1].name: duplicate", "c.ports[2].name: invalid", "c.ports[3].name: invalid", "c.ports[4].name: invalid"}},
		{"host port twice", container("ports: [{containerPort: 1, hostPort: 80}, {containerPort: 2, hostPort: 80}, {containerPort: 3, hostPort: 80, protocol: UDP}]"),
			[]string{"c.ports[1].hostPort: duplicate"}},
		// Ours: a host port is forwarded from the pod's start to its end.
		{"host port of an init container", "initContainers: [{name: i, image: i, ports: [{containerPort: 1, hostPort: 80}]}]\n" + container("ports: [{containerPort: 2, hostPort: 80}]"),
			[]string{"c.ports[0].hostPort: duplicate"}},
		// Ours: forwarding is on IPv4.
		{"host address", container("ports: [{containerPort: 1, hostPort: 80, hostIP: '::1'}, {containerPort: 1, hostPort: 81, hostIP: localhost}]"),
			[]string{"c.ports[0].hostIP: invalid", "c.ports[1].hostIP: invalid"}},
	})
}

func TestValidateResources(t *testing.T) {
	check(t, []verdict{
		{"small", container("resources: {requests: {cpu: 1m, memory: 1}}"), nil},
		{"fractions", container("resources: {requests: {cpu: '0.5', memory: 1e3}}"), nil},
		{"negative", container("resources: {requests: {cpu: -1}, limits: {memory: -1Gi}}"),
			[]string{"c.resources.requests[cpu]: invalid", "c.resources.limits[cpu]: invalid", "c.resources.requests[memory]: invalid", "c.resources.limits[memory]: invalid"}},
		{"zero, ours", container("resources: {limits: {cpu: 0, memory: 0}}"),
			[]string{"c.resources.requests[cpu]: invalid", "c.resources.limits[cpu]: invalid", "c.resources.requests[memory]: invalid", "c.resources.limits[memory]: invalid"}},
		{"part of a byte, ours", container("resources: {limits: {memory: '1.5'}}"), []string{"c.resources.requests[memory]: invalid", "c.resources.limits[memory]: invalid"}},
		{"request over limit", container("resources: {requests: {cpu: 2, memory: 2Gi}, limits: {cpu: 1, memory: 1Gi}}"),
			[]string{"c.resources.requests: invalid", "c.resources.requests: invalid"}},
		{"a quintillion CPUs", container("resources: {limits: {cpu: 1e18}}"),
			[]string{"c.resources.requests[cpu]: invalid", "c.resources.limits[cpu]: invalid"}},
		{"all the memory of an int64", container("resources: {limits: {memory: 9223372036854775807}}"),
			[]string{"c.resources.requests[memory]: invalid", "c.resources.limits[memory]: invalid"}},
		{"more than an int64", container("resources: {limits: {cpu: 1e30, memory: 100E}}"),
			[]string{"c.resources.requests[cpu]: invalid", "c.resources.limits[cpu]: invalid", "c.resources.requests[memory]: invalid", "c.resources.limits[memory]: invalid"}},
		{"what isn't enforced", container("resources: {requests: {ephemeral-storage: 1Gi}, limits: {ephemeral-storage: 1Gi, hugepages-2Mi: 2Mi, nvidia.com/gpu: 1}}"),
			[]string{"c.resources.requests[ephemeral-storage]: unsupported", "c.resources.limits[ephemeral-storage]: unsupported", "c.resources.limits[hugepages-2Mi]: unsupported", "c.resources.limits[nvidia.com/gpu]: unsupported"}},
		{"claims", container("resources: {claims: [{name: x}]}"), []string{"c.resources.claims: forbidden"}},
	})
}

// Many containers, each of a size that can be had, must not add up to a number that wraps around.
func TestValidateTotal(t *testing.T) {
	pod := podOf(t, "{}")
	pod.Spec.Containers = nil
	for i := range 9000 {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: "i:1", Resources: corev1.ResourceRequirements{
			Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("1Pi")},
		}})
	}
	DefaultPod(pod)
	expect(t, ValidatePod(pod), "containers: invalid")
}

// A quantity that isn't one never gets here: it can't be decoded.
func TestMalformedQuantities(t *testing.T) {
	for _, s := range []string{"", " 1", "1 Gi", "1gi", "0x10", "1e", "--1", "1.2.3", "NaN", "Inf", "1Zi", "½"} {
		if q, err := resource.ParseQuantity(s); err == nil {
			t.Errorf("%q is read as %s", s, q.String())
		}
	}
}

func TestValidateProbesAndHooks(t *testing.T) {
	const exec = "exec: {command: [a]}"
	check(t, []verdict{
		{"none", container("livenessProbe: {}, readinessProbe: {periodSeconds: 3}"), []string{"c.livenessProbe: required", "c.readinessProbe: required"}},
		{"two", container("livenessProbe: {" + exec + ", tcpSocket: {port: 80}}, readinessProbe: {httpGet: {port: 80}, grpc: {port: 0}}"),
			[]string{"c.livenessProbe.tcpSocket: forbidden", "c.readinessProbe.grpc: forbidden"}},
		{"no command", container("livenessProbe: {exec: {}}"), []string{"c.livenessProbe.exec.command: required"}},
		{"ports", container("livenessProbe: {tcpSocket: {port: 0}}, readinessProbe: {httpGet: {port: 65536}}, startupProbe: {grpc: {port: -1}}"),
			[]string{"c.livenessProbe.tcpSocket.port: invalid", "c.readinessProbe.httpGet.port: invalid", "c.startupProbe.grpc.port: invalid"}},
		{"port name", container("livenessProbe: {tcpSocket: {port: web}}, readinessProbe: {tcpSocket: {port: a-name-that-is-too-long}}"), []string{"c.readinessProbe.tcpSocket.port: invalid"}},
		{"HTTP", container("livenessProbe: {httpGet: {port: 80, scheme: FTP, httpHeaders: [{name: 'a b', value: c}]}}"),
			[]string{"c.livenessProbe.httpGet.scheme: unsupported", "c.livenessProbe.httpGet.httpHeaders[0].name: invalid"}},
		{"negative", container("readinessProbe: {" + exec + ", initialDelaySeconds: -1, timeoutSeconds: -1, periodSeconds: -1, successThreshold: -1, failureThreshold: -1}"),
			[]string{"c.readinessProbe.initialDelaySeconds: invalid", "c.readinessProbe.timeoutSeconds: invalid", "c.readinessProbe.periodSeconds: invalid", "c.readinessProbe.successThreshold: invalid", "c.readinessProbe.failureThreshold: invalid"}},
		{"success more than once", container("livenessProbe: {" + exec + ", successThreshold: 2}, startupProbe: {" + exec + ", successThreshold: 2}, readinessProbe: {" + exec + ", successThreshold: 2}"),
			[]string{"c.livenessProbe.successThreshold: invalid", "c.startupProbe.successThreshold: invalid"}},
		{"grace", container("livenessProbe: {" + exec + ", terminationGracePeriodSeconds: 0}, startupProbe: {" + exec + ", terminationGracePeriodSeconds: 1}, readinessProbe: {" + exec + ", terminationGracePeriodSeconds: 1}"),
			[]string{"c.livenessProbe.terminationGracePeriodSeconds: invalid", "c.readinessProbe.terminationGracePeriodSeconds: invalid"}},
		{"what 1.37 added", container("livenessProbe: {httpGet: {port: 80, protocol: x}}, readinessProbe: {grpc: {port: 80, mode: x}}"),
			[]string{"c.livenessProbe.httpGet.protocol: forbidden", "c.readinessProbe.grpc.mode: forbidden"}},
		{"hooks", container("lifecycle: {postStart: {}, preStop: {" + exec + ", sleep: {seconds: 1}}}"),
			[]string{"c.lifecycle.postStart: required", "c.lifecycle.preStop.sleep: forbidden"}},
		{"sleep", container("lifecycle: {postStart: {sleep: {seconds: 0}}, preStop: {sleep: {seconds: 30}}}"), nil},
		{"sleep for too long", container("lifecycle: {postStart: {sleep: {seconds: -1}}, preStop: {sleep: {seconds: 31}}}"),
			[]string{"c.lifecycle.postStart.sleep.seconds: invalid", "c.lifecycle.preStop.sleep.seconds: invalid"}},
		{"stop signal", "os: {name: linux}\n" + container("lifecycle: {stopSignal: SIGUSR1}"), nil},
		{"stop signal without a system", container("lifecycle: {stopSignal: SIGUSR1}"), []string{"c.lifecycle.stopSignal: forbidden"}},
	})
}

func TestStopSignals(t *testing.T) {
	for name, want := range map[string]bool{
		"SIGTERM": true, "SIGKILL": true, "SIGHUP": true, "SIGRTMIN": true, "SIGRTMIN+1": true, "SIGRTMIN+15": true, "SIGRTMAX": true, "SIGRTMAX-14": true,
		"": false, "TERM": false, "15": false, "sigterm": false, "SIGFOO": false, "SIGRTMIN+0": false, "SIGRTMIN+16": false, "SIGRTMIN+01": false, "SIGRTMAX-15": false, "SIGRTMAX+1": false, "SIGRTMIN+": false,
	} {
		if isSignal(name) != want {
			t.Errorf("%q: %v, want %v", name, !want, want)
		}
	}
}
