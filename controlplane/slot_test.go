package controlplane_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

const templateOfPod = `
metadata: {namespace: shop, name: cart-1, labels: {app: cart}}
spec:
  hostname: one
  nodeSelector: {zone: a, disk: ssd}
  containers:
  - name: main
    image: registry.example/cart:v1
    command: [/cart]
    env: [{name: ID, value: "1"}]
    envFrom: [{configMapRef: {name: cart}}]
    ports: [{containerPort: 80}]
    resources: {requests: {cpu: 250m, memory: 64Mi}, limits: {cpu: 250m, memory: 64Mi}}
  volumes: [{name: v, configMap: {name: cart}}, {name: w, emptyDir: {sizeLimit: 1Gi}}]
`

func parsePod(t testing.TB) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(templateOfPod), pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func TestPodTemplate(t *testing.T) {
	first := controlplane.PodTemplate(parsePod(t))
	for name, c := range map[string]struct {
		change func(*corev1.Pod)
		same   bool
	}{
		"nothing":            {func(*corev1.Pod) {}, true},
		"name":               {func(p *corev1.Pod) { p.Name = "cart-2" }, true},
		"labels":             {func(p *corev1.Pod) { p.Labels["x"] = "y" }, true},
		"host name":          {func(p *corev1.Pod) { p.Spec.Hostname = "two" }, true},
		"node":               {func(p *corev1.Pod) { p.Spec.NodeName = "n" }, true},
		"an environment":     {func(p *corev1.Pod) { p.Spec.Containers[0].Env[0].Value = "2" }, true},
		"no environment":     {func(p *corev1.Pod) { p.Spec.Containers[0].Env = nil }, true},
		"priority":           {func(p *corev1.Pod) { p.Spec.PriorityClassName, p.Spec.Priority = "high", new(int32) }, true},
		"another annotation": {func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} }, true},
		"spelling of sizes": {func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("0.25"), "memory": resource.MustParse("67108864")}
			p.Spec.Containers[0].Resources.Limits["memory"] = resource.MustParse("65536Ki")
			p.Spec.Volumes[1].EmptyDir.SizeLimit = ptr.To(resource.MustParse("1073741824"))
		}, true},
		"empty security":  {func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{} }, true},
		"empty lifecycle": {func(p *corev1.Pod) { p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{} }, true},
		"empty affinity":  {func(p *corev1.Pod) { p.Spec.Affinity = &corev1.Affinity{} }, true},
		"empty DNS":       {func(p *corev1.Pod) { p.Spec.DNSConfig = &corev1.PodDNSConfig{} }, true},
		"empty list": {func(p *corev1.Pod) {
			p.Spec.Tolerations, p.Spec.InitContainers = []corev1.Toleration{}, []corev1.Container{}
		}, true},
		"size of a volume": {func(p *corev1.Pod) { p.Spec.Volumes[1].EmptyDir.SizeLimit = ptr.To(resource.MustParse("2Gi")) }, false},
		"no size":          {func(p *corev1.Pod) { p.Spec.Volumes[1].EmptyDir.SizeLimit = nil }, false},
		"limit alone":      {func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Limits["memory"] = resource.MustParse("65Mi") }, false},
		"init container":   {func(p *corev1.Pod) { p.Spec.InitContainers = p.Spec.Containers }, false},
		"container's rights": {func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(bool)}
		}, false},
		"toleration":           {func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}} }, false},
		"image":                {func(p *corev1.Pod) { p.Spec.Containers[0].Image = "registry.example/cart:v2" }, false},
		"command":              {func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"/cart", "-v"} }, false},
		"environment of a map": {func(p *corev1.Pod) { p.Spec.Containers[0].EnvFrom[0].ConfigMapRef.Name = "other" }, false},
		"port":                 {func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].HostPort = 80 }, false},
		"size": {func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Limits["cpu"] = *p.Spec.Containers[0].Resources.Limits.Memory()
		}, false},
		"volume":        {func(p *corev1.Pod) { p.Spec.Volumes[0].ConfigMap.Name = "other" }, false},
		"node selector": {func(p *corev1.Pod) { p.Spec.NodeSelector["zone"] = "b" }, false},
		"security":      {func(p *corev1.Pod) { p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64)} }, false},
		"class": {func(p *corev1.Pod) {
			p.Annotations = map[string]string{v1alpha1.AnnotationComputeClass: v1alpha1.ClassPerformance}
		}, false},
		"quality of service": {func(p *corev1.Pod) { p.Annotations = map[string]string{v1alpha1.AnnotationQoS: v1alpha1.QoSBestEffort} }, false},
	} {
		pod := parsePod(t)
		c.change(pod)
		before := pod.DeepCopy()
		if got := controlplane.PodTemplate(pod); (got == first) != c.same {
			t.Errorf("another %s: the template is the same: %v, want %v", name, got == first, c.same)
		}
		if pod.String() != before.String() {
			t.Errorf("another %s: the pod was changed", name)
		}
	}
}

func BenchmarkPodTemplate(b *testing.B) {
	pod := parsePod(b)
	b.ReportAllocs()
	for b.Loop() {
		controlplane.PodTemplate(pod)
	}
}
