package v1alpha1

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func podOf(t *testing.T, spec string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p"}}
	if err := yaml.UnmarshalStrict([]byte(spec), &pod.Spec); err != nil {
		t.Fatal(err)
	}
	return pod
}

func TestPodSize(t *testing.T) {
	const (
		small   = "resources: {limits: {cpu: 250m, memory: 256Mi}}"
		large   = "resources: {limits: {cpu: 2, memory: 1Gi}}"
		sidecar = "restartPolicy: Always, "
		whole   = "resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 3, memory: 2Gi}}\n"
		mi      = 1 << 20
	)
	for _, c := range []struct {
		name, spec  string
		cpu, memory int64
	}{
		{"nothing", "{}", 0, 0},
		{"one container", "containers: [{" + small + "}]", 250, 256 * mi},
		{"several", "containers: [{name: a, " + small + "}, {name: b, " + large + "}]", 2250, 1280 * mi},
		{"a limit above the request", "containers: [{resources: {requests: {cpu: 1, memory: 1Mi}, limits: {cpu: 3, memory: 2Mi}}}]", 3000, 2 * mi},
		{"a request alone", "containers: [{resources: {requests: {cpu: 1, memory: 1Mi}}}]", 1000, mi},
		{"less than a thousandth counts as one", "containers: [{resources: {limits: {cpu: 100u, memory: 1}}}]", 1, 1},
		{"a small init container", "initContainers: [{name: i, " + small + "}]\ncontainers: [{name: a, " + large + "}]", 2000, 1024 * mi},
		{"a large init container", "initContainers: [{name: i, " + large + "}]\ncontainers: [{name: a, " + small + "}]", 2000, 1024 * mi},
		{"init containers run one by one", "initContainers: [{name: i, " + large + "}, {name: j, " + large + "}]\ncontainers: [{name: a, " + small + "}]", 2000, 1024 * mi},
		{"each resource by itself", "initContainers: [{name: i, resources: {limits: {cpu: 4, memory: 1Mi}}}]\ncontainers: [{name: a, " + large + "}]", 4000, 1024 * mi},
		{"a sidecar runs with the containers", "initContainers: [{name: s, " + sidecar + small + "}]\ncontainers: [{name: a, " + large + "}]", 2250, 1280 * mi},
		{"a sidecar before an init container", "initContainers: [{name: s, " + sidecar + small + "}, {name: i, " + large + "}]\ncontainers: [{name: a, " + small + "}]", 2250, 1280 * mi},
		{"a sidecar after an init container", "initContainers: [{name: i, " + large + "}, {name: s, " + sidecar + small + "}]\ncontainers: [{name: a, " + small + "}]", 2000, 1024 * mi},
		{"the pod as a whole", whole + "containers: [{name: a, " + large + "}]", 3000, 2048 * mi},
		{"a pod larger than its containers", whole + "initContainers: [{name: i, " + large + "}]\ncontainers: [{name: a}, {name: b, " + small + "}]", 3000, 2048 * mi},
		{"a pod's request alone", "resources: {requests: {cpu: 3}}\ncontainers: [{name: a, " + large + "}]", 3000, 1024 * mi},
		{"the pod of one resource", "resources: {limits: {memory: 2Gi}}\ncontainers: [{name: a, " + large + "}]", 2000, 2048 * mi},
		{"a pod that says nothing", "resources: {}\ncontainers: [{name: a, " + large + "}]", 2000, 1024 * mi},
		{"sidecars around one", "initContainers: [{name: s, " + sidecar + small + "}, {name: i, " + large + "}, {name: r, " + sidecar + large + "}]\ncontainers: [{name: a, " + small + "}]", 2500, 1536 * mi},
	} {
		t.Run(c.name, func(t *testing.T) {
			cpu, memory, err := PodSize(podOf(t, c.spec))
			if err != nil || cpu != c.cpu || memory != c.memory {
				t.Errorf("%d milli-CPU, %d bytes, %v; want %d, %d", cpu, memory, err, c.cpu, c.memory)
			}
		})
	}
}

// TestPodSizeIsThePeak lives through pods of any make, and holds that the size is the most that is there at
// once.
func TestPodSizeIsThePeak(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	always := corev1.ContainerRestartPolicyAlways
	list := func(prefix string, most int, sidecars bool) []corev1.Container {
		var out []corev1.Container
		for i := range random.IntN(most + 1) {
			c := corev1.Container{Name: prefix + string(rune('a'+i)), Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{
				corev1.ResourceCPU:    *resource.NewMilliQuantity(random.Int64N(4000), resource.DecimalSI),
				corev1.ResourceMemory: *resource.NewQuantity(random.Int64N(1<<30), resource.BinarySI),
			}}}
			if sidecars && random.IntN(2) == 0 {
				c.RestartPolicy = &always
			}
			out = append(out, c)
		}
		return out
	}
	for range 2000 {
		pod := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: list("i", 5, true), Containers: list("c", 4, false)}}
		var running []corev1.Container
		var cpu, memory int64
		look := func() {
			var c, m int64
			for i := range running {
				c += running[i].Resources.Limits.Cpu().MilliValue()
				m += running[i].Resources.Limits.Memory().Value()
			}
			cpu, memory = max(cpu, c), max(memory, m)
		}
		for _, c := range pod.Spec.InitContainers {
			running = append(running, c)
			look()
			if c.RestartPolicy == nil {
				running = running[:len(running)-1] // it ends before the next begins
			}
		}
		running = append(running, pod.Spec.Containers...)
		look()
		if c, m, err := PodSize(pod); err != nil || c != cpu || m != memory {
			t.Fatalf("%d milli-CPU, %d bytes, %v; want %d, %d for %+v", c, m, err, cpu, memory, pod.Spec)
		}
	}
}

func TestAllocated(t *testing.T) {
	const spec = "initContainers: [{name: i, resources: {limits: {cpu: 1}}}]\ncontainers: [{name: a, resources: {limits: {cpu: 3}}}, {name: b, resources: {limits: {cpu: 1}}}]"
	for _, c := range []struct {
		name, annotation string
		want             map[string]string // container → CPU limit
		cpu              int64
	}{
		{"no resize waits", "", map[string]string{"i": "1", "a": "3", "b": "1"}, 4000},
		{"one waits", `{"a":{"limits":{"cpu":"2"}},"b":{"limits":{"cpu":"1"}}}`, map[string]string{"i": "1", "a": "2", "b": "1"}, 3000},
		{"of one container", `{"a":{"limits":{"cpu":"500m"}}}`, map[string]string{"i": "1", "a": "500m", "b": "1"}, 1500},
		{"of a container that isn't there", `{"z":{"limits":{"cpu":"9"}}}`, map[string]string{"i": "1", "a": "3", "b": "1"}, 4000},
		{"of an init container", `{"i":{"limits":{"cpu":"5"}}}`, map[string]string{"i": "5", "a": "3", "b": "1"}, 5000},
		{"of none", `{}`, map[string]string{"i": "1", "a": "3", "b": "1"}, 4000},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := podOf(t, spec)
			if c.annotation != "" {
				pod.Annotations = map[string]string{AnnotationAllocated: c.annotation}
			}
			all, err := Allocated(pod)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for name, r := range all {
				got[name] = r.Limits.Cpu().String()
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if cpu, _, err := PodSize(pod); err != nil || cpu != c.cpu {
				t.Errorf("size is %d, %v; want %d", cpu, err, c.cpu)
			}
		})
	}
}

func TestAllocatedThatCannotBeRead(t *testing.T) {
	for _, broken := range []string{"", "{", `[]`, `{"a":{"limits":{"cpu":"much"}}}`} {
		pod := podOf(t, "containers: [{name: a}]")
		pod.Annotations = map[string]string{AnnotationAllocated: broken}
		if _, err := Allocated(pod); err == nil || !strings.Contains(err.Error(), "pod ns/p: annotation "+AnnotationAllocated) {
			t.Errorf("%q: %v", broken, err)
		}
		if _, _, err := PodSize(pod); err == nil {
			t.Errorf("%q: has a size", broken)
		}
	}
}

func TestClassAndQoS(t *testing.T) {
	pod := &corev1.Pod{}
	if ComputeClass(pod) != ClassGeneralPurpose || QoS(pod) != QoSDefault {
		t.Errorf("of a pod that says nothing: %s, %s", ComputeClass(pod), QoS(pod))
	}
	pod.Annotations = map[string]string{AnnotationComputeClass: ClassPerformance, AnnotationQoS: QoSBestEffort}
	if ComputeClass(pod) != ClassPerformance || QoS(pod) != QoSBestEffort {
		t.Errorf("of a pod that says: %s, %s", ComputeClass(pod), QoS(pod))
	}
}
