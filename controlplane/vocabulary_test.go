package controlplane_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

func TestPodQOS(t *testing.T) {
	const guaranteed = "resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}}"
	for _, c := range []struct {
		name, spec string
		want       corev1.PodQOSClass
	}{
		{"nothing", "containers: [{name: a}]", corev1.PodQOSBestEffort},
		{"zeros", "containers: [{name: a, resources: {requests: {cpu: 0, memory: 0}, limits: {cpu: 0}}}]", corev1.PodQOSBestEffort},
		{"another resource", "containers: [{name: a, resources: {limits: {example.com/x: 1}}}]", corev1.PodQOSBestEffort},
		{"equal", "containers: [{name: a, " + guaranteed + "}]", corev1.PodQOSGuaranteed},
		{"equal in other units", "containers: [{name: a, resources: {requests: {cpu: 1000m, memory: 1024Mi}, limits: {cpu: 1, memory: 1Gi}}}]", corev1.PodQOSGuaranteed},
		{"limits alone", "containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}]", corev1.PodQOSGuaranteed},
		{"requests alone", "containers: [{name: a, resources: {requests: {cpu: 1, memory: 1Gi}}}]", corev1.PodQOSBurstable},
		{"request below limit", "containers: [{name: a, resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 1Gi}}}]", corev1.PodQOSBurstable},
		{"one resource", "containers: [{name: a, resources: {requests: {cpu: 1}, limits: {cpu: 1}}}]", corev1.PodQOSBurstable},
		{"one container without", "containers: [{name: a, " + guaranteed + "}, {name: b}]", corev1.PodQOSBurstable},
		{"init container without", "initContainers: [{name: i}]\ncontainers: [{name: a, " + guaranteed + "}]", corev1.PodQOSBurstable},
		{"init container with", "initContainers: [{name: i, " + guaranteed + "}]\ncontainers: [{name: a, " + guaranteed + "}]", corev1.PodQOSGuaranteed},
		{"init container alone asks", "initContainers: [{name: i, resources: {requests: {cpu: 1}}}]\ncontainers: [{name: a}]", corev1.PodQOSBurstable},
	} {
		t.Run(c.name, func(t *testing.T) {
			var spec corev1.PodSpec
			if err := yaml.UnmarshalStrict([]byte(c.spec), &spec); err != nil {
				t.Fatal(err)
			}
			if got := v1alpha1.PodQOS(&spec); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestPodDemandIsWhatIsAdmitted(t *testing.T) {
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte("containers: [{name: a, resources: {limits: {cpu: 2, memory: 2Gi}}}]"), &pod.Spec); err != nil {
		t.Fatal(err)
	}
	d, err := controlplane.PodDemand(pod)
	if want := (controlplane.Demand{CPUMilli: 2000, MemoryBytes: 2 << 30}); err != nil || d != want {
		t.Errorf("got %+v, %v", d, err)
	}
	pod.ObjectMeta = metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.AnnotationAllocated: `{"a":{"limits":{"cpu":"1","memory":"1Gi"}}}`}}
	d, err = controlplane.PodDemand(pod)
	if want := (controlplane.Demand{CPUMilli: 1000, MemoryBytes: 1 << 30}); err != nil || d != want {
		t.Errorf("while a resize waits: got %+v, %v", d, err)
	}
	pod.Annotations[v1alpha1.AnnotationAllocated] = "broken"
	if _, err = controlplane.PodDemand(pod); err == nil {
		t.Error("an annotation that can't be read has a size")
	}
}

func TestDemand(t *testing.T) {
	a, b := controlplane.Demand{CPUMilli: 1, MemoryBytes: 20}, controlplane.Demand{CPUMilli: 3, MemoryBytes: 10}
	if got := a.Add(b); got != (controlplane.Demand{CPUMilli: 4, MemoryBytes: 30}) {
		t.Errorf("sum %+v", got)
	}
	if got := a.Max(b); got != (controlplane.Demand{CPUMilli: 3, MemoryBytes: 20}) || got != b.Max(a) {
		t.Errorf("larger %+v", got)
	}
	if a.Fits(b) || b.Fits(a) || !a.Fits(a) || !a.Fits(a.Max(b)) {
		t.Error("a demand fits where each of its quantities does")
	}
}

func TestKeyNames(t *testing.T) {
	for want, k := range map[string]controlplane.Key{
		`pods "ns/p"`: {Resource: "pods", Namespace: "ns", Name: "p"},
		`nodes "n"`:   {Resource: "nodes", Name: "n"},
	} {
		if k.String() != want {
			t.Errorf("%s, want %s", k, want)
		}
	}
}
