package controlplane_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"swell.dev/swell/controlplane"
)

func TestSums(t *testing.T) {
	sums := func(request, requestMemory, limit, limitMemory int64) controlplane.Sums {
		return controlplane.Sums{
			Requests: controlplane.Demand{CPUMilli: request, MemoryBytes: requestMemory}, Limits: controlplane.Demand{CPUMilli: limit, MemoryBytes: limitMemory},
		}
	}
	const c = "spec: {containers: [{name: c, resources: {requests: {cpu: 1, memory: 10}, limits: {cpu: 2, memory: 20}}}]}\n"
	waits := func(reason, held string) string {
		return `metadata: {annotations: {swell.dev/allocated-resources: '{"c":` + held + `}'}}` + "\n" + c +
			`status: {conditions: [{type: Ready, status: "True"}, {type: PodResizePending, status: "True", reason: ` + reason + `}]}`
	}
	for _, tt := range []struct {
		name, pod  string
		spec, held controlplane.Sums
	}{
		{"nothing", "spec: {containers: [{name: c}]}", sums(0, 0, 0, 0), sums(0, 0, 0, 0)},
		{"one", c, sums(1000, 10, 2000, 20), sums(1000, 10, 2000, 20)},
		{"containers with sidecars", `spec: {initContainers: [{name: s, restartPolicy: Always, resources: {requests: {cpu: 1}}}, {name: i, resources: {limits: {cpu: 3}, requests: {cpu: 500m}}}],
			containers: [{name: a, resources: {requests: {cpu: 1}}}, {name: b, resources: {requests: {cpu: 1}}}]}`, sums(3000, 0, 3000, 0), sums(3000, 0, 3000, 0)},
		{"an init container with the sidecars before it", `spec: {initContainers: [{name: s, restartPolicy: Always, resources: {requests: {cpu: 1}}}, {name: i, resources: {requests: {cpu: 4}}},
			{name: t, restartPolicy: Always, resources: {requests: {cpu: 1}}}], containers: [{name: a, resources: {requests: {cpu: 1}}}]}`, sums(5000, 0, 0, 0), sums(5000, 0, 0, 0)},
		{"the pod as a whole", `spec: {resources: {requests: {cpu: 7}}, containers: [{name: c, resources: {requests: {cpu: 1, memory: 10}}}]}`, sums(7000, 10, 0, 0), sums(7000, 10, 0, 0)},
		{"a larger size waits", waits("Deferred", `{"requests":{"cpu":"500m","memory":"5"},"limits":{"cpu":"1","memory":"6"}}`), sums(1000, 10, 2000, 20), sums(1000, 10, 2000, 20)},
		{"a smaller size waits", waits("Deferred", `{"requests":{"cpu":"3","memory":"5"},"limits":{"cpu":"3","memory":"6"}}`), sums(1000, 10, 2000, 20), sums(3000, 10, 3000, 20)},
		{"what can never be", waits("Infeasible", `{"requests":{"cpu":"500m","memory":"5"},"limits":{"cpu":"1","memory":"6"}}`), sums(1000, 10, 2000, 20), sums(500, 5, 1000, 6)},
		{"the kernel has more yet", c + "status: {containerStatuses: [{name: c, resources: {requests: {cpu: 1, memory: 30}, limits: {cpu: 2, memory: 30}}}]}", sums(1000, 10, 2000, 20), sums(1000, 30, 2000, 30)},
		{"the kernel has less yet", c + "status: {containerStatuses: [{name: c, resources: {requests: {cpu: 1, memory: 3}, limits: {cpu: 2, memory: 3}}}, {name: other}]}", sums(1000, 10, 2000, 20), sums(1000, 10, 2000, 20)},
		{"not made yet", c + "status: {containerStatuses: [{name: c}]}", sums(1000, 10, 2000, 20), sums(1000, 10, 2000, 20)},
		{"the whole pod has more yet", "spec: {resources: {limits: {cpu: 2}}, containers: [{name: c}]}\nstatus: {resources: {limits: {cpu: 3}}, containerStatuses: [{name: c}]}", sums(0, 0, 2000, 0), sums(0, 0, 3000, 0)},
	} {
		pod := &corev1.Pod{}
		if err := yaml.UnmarshalStrict([]byte(tt.pod), pod); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := controlplane.SpecSums(pod); got != tt.spec {
			t.Errorf("%s: asks for %+v, want %+v", tt.name, got, tt.spec)
		}
		if got, err := controlplane.HeldSums(pod); err != nil || got != tt.held {
			t.Errorf("%s: counts %+v, want %+v; %v", tt.name, got, tt.held, err)
		}
	}
	broken := &corev1.Pod{}
	broken.Annotations = map[string]string{"swell.dev/allocated-resources": "?"}
	if _, err := controlplane.HeldSums(broken); err == nil {
		t.Error("an annotation that can't be read counts")
	}
}
