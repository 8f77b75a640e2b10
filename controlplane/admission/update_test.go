package admission

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// sized makes a spec of one container with a size, of which the rest is given.
func sized(rest string) string {
	return container("resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}}" + rest)
}

type change struct {
	name, old, next string
	want            []string
}

func checkChanges(t *testing.T, validate func(next, old *corev1.Pod) field.ErrorList, cases []change) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			old, next := podOf(t, c.old), podOf(t, c.next)
			for _, pod := range []*corev1.Pod{old, next} {
				DefaultPod(pod)
				pod.ResourceVersion = "1"
			}
			if errs := ValidatePod(old); len(errs) > 0 {
				t.Fatalf("the pod as it was: %v", errs.ToAggregate())
			}
			before := next.DeepCopy()
			expect(t, validate(next, old), c.want...)
			if !equality.Semantic.DeepEqual(before, next) {
				t.Error("validation changed the pod")
			}
		})
	}
}

func TestValidatePodUpdate(t *testing.T) {
	const noExecute = "tolerations: [{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: "
	init := func(image string) string { return "initContainers: [{name: i, image: " + image + "}]" }
	checkChanges(t, ValidatePodUpdate, []change{
		{"nothing", sized(""), sized(""), nil},
		{"image", "{}", "containers: [{name: c, image: 'example.com/app:2'}]", nil},
		{"no image", "{}", "containers: [{name: c, imagePullPolicy: IfNotPresent}]", []string{"c.image: required"}},
		{"image with a space", "{}", "containers: [{name: c, image: 'example.com/app:2 '}]", []string{"c.image: invalid"}},
		{"init container's image", init("a:1"), init("a:2"), nil},
		{"pull policy", "{}", container("imagePullPolicy: Always"), []string{"spec: forbidden"}},
		{"deadline", "{}", "activeDeadlineSeconds: 5", nil},
		{"deadline of zero", "{}", "activeDeadlineSeconds: 0", []string{"activeDeadlineSeconds: invalid"}},
		{"deadline too far", "{}", "activeDeadlineSeconds: 2147483648", []string{"activeDeadlineSeconds: invalid"}},
		{"shorter deadline", "activeDeadlineSeconds: 6", "activeDeadlineSeconds: 5", nil},
		{"longer deadline", "activeDeadlineSeconds: 5", "activeDeadlineSeconds: 6", []string{"activeDeadlineSeconds: invalid"}},
		{"no deadline any more", "activeDeadlineSeconds: 5", "{}", []string{"activeDeadlineSeconds: invalid"}},
		{"toleration more", "tolerations: [{key: a}]", "tolerations: [{key: b}, {key: a}]", nil},
		{"bad toleration more", "{}", "tolerations: [{key: b, operator: Foo}]", []string{"tolerations[0].operator: unsupported"}},
		{"toleration for another time", noExecute + "3}]", noExecute + "5}]", nil},
		{"toleration less", "tolerations: [{key: a}]", "{}", []string{"tolerations: forbidden"}},
		{"toleration of another value", "tolerations: [{key: a, value: x}]", "tolerations: [{key: a, value: y}]", []string{"tolerations: forbidden"}},
		{"grace", "{}", "terminationGracePeriodSeconds: 1", []string{"spec: forbidden"}},
		{"environment", "{}", container("env: [{name: A}]"), []string{"spec: forbidden"}},
		{"node", "{}", "nodeName: n1", []string{"spec: forbidden"}},
		{"node selector", "{}", "nodeSelector: {a: b}", []string{"spec: forbidden"}},
		{"restart policy", "{}", "restartPolicy: Never", []string{"spec: forbidden"}},
		{"what is refused anyway", "{}", "hostNetwork: true", []string{"spec: forbidden"}},
		{"size", sized(""), container("resources: {requests: {cpu: 2, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}}"), []string{"c.resources: forbidden"}},
		{"container more", "{}", "containers: [{name: c, image: 'example.com/app:1'}, {name: d, image: x}]", []string{"containers: forbidden"}},
		{"init container less", init("a:1"), "{}", []string{"initContainers: forbidden"}},
		{"another name", "{}", "containers: [{name: d, image: 'example.com/app:1'}]", []string{"spec: forbidden"}},
		{"several", "activeDeadlineSeconds: 5", "activeDeadlineSeconds: 6\nhostname: h\ntolerations: [{}]", []string{"activeDeadlineSeconds: invalid", "tolerations[0].operator: invalid", "spec: forbidden"}},
	})
}

func TestValidatePodUpdateMeta(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*corev1.Pod)
		want   []string
	}{
		{"label", func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }, nil},
		{"bad label", func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b c"} }, []string{"metadata.labels: invalid", "metadata.labels: invalid"}},
		{"annotation", func(p *corev1.Pod) { p.Annotations["a"] = "b" }, nil},
		{"uid", func(p *corev1.Pod) { p.UID = "other" }, []string{"metadata.uid: invalid"}},
		{"name", func(p *corev1.Pod) { p.Name = "q" }, []string{"metadata.name: invalid"}},
		{"class", func(p *corev1.Pod) { p.Annotations["swell.dev/compute-class"] = "performance" }, []string{"metadata.annotations[swell.dev/compute-class]: forbidden"}},
		{"quality of service, taken away", func(p *corev1.Pod) { delete(p.Annotations, "swell.dev/qos") }, []string{"metadata.annotations[swell.dev/qos]: forbidden"}},
		{"admitted size", func(p *corev1.Pod) { p.Annotations["swell.dev/allocated-resources"] = "{}" }, []string{"metadata.annotations[swell.dev/allocated-resources]: forbidden"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			old := podOf(t, "{}")
			DefaultPod(old)
			old.UID, old.ResourceVersion = "u", "1"
			old.Annotations = map[string]string{"swell.dev/qos": "best-effort"}
			next := old.DeepCopy()
			c.change(next)
			expect(t, ValidatePodUpdate(next, old), c.want...)
		})
	}
}

// A pod that was let in under other rules can still be labelled.
func TestUpdateJudgesWhatChanges(t *testing.T) {
	old := podOf(t, "hostNetwork: true\ntolerations: [{key: a, operator: Foo}]\ncontainers: [{name: c, image: ' '}]")
	old.ResourceVersion = "1"
	next := old.DeepCopy()
	next.Labels = map[string]string{"a": "b"}
	expect(t, ValidatePodUpdate(next, old))
}

func TestValidateResize(t *testing.T) {
	resized := func(r string) string { return container("resources: {" + r + "}") }
	restarting := func(r string) string {
		return container("resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}], resources: {" + r + "}")
	}
	checkChanges(t, ValidateResize, []change{
		{"nothing", sized(""), sized(""), nil},
		{"up", sized(""), resized("requests: {cpu: 2, memory: 2Gi}, limits: {cpu: 3, memory: 3Gi}"), nil},
		{"down", sized(""), resized("requests: {cpu: 100m, memory: 1Mi}, limits: {cpu: 200m, memory: 2Mi}"), nil},
		{"one of them", sized(""), resized("requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 4, memory: 2Gi}"), nil},
		{"restarting", restarting("limits: {memory: 1Gi}"), restarting("limits: {memory: 2Gi}"), nil},
		{"request over limit", sized(""), resized("requests: {cpu: 3, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}"), []string{"c.resources.requests: invalid"}},
		{"negative", sized(""), resized("requests: {cpu: -1, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}"), []string{"c.resources.requests[cpu]: invalid"}},
		{"zero", sized(""), resized("requests: {cpu: 0, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}"), []string{"c.resources.requests[cpu]: invalid"}},
		{"absurd", sized(""), resized("requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1e18, memory: 2Gi}"), []string{"c.resources.limits[cpu]: invalid"}},
		{"too much together", "containers: [{name: a, image: i}, {name: b, image: i, resources: {limits: {memory: 600Ti}}}]", "containers: [{name: a, image: i, resources: {limits: {memory: 600Ti}}}, {name: b, image: i, resources: {limits: {memory: 600Ti}}}]",
			[]string{"containers: invalid"}},
		{"another resource", sized(""), resized("requests: {cpu: 1, memory: 1Gi, ephemeral-storage: 1Gi}, limits: {cpu: 2, memory: 2Gi}"), []string{"c.resources.requests[ephemeral-storage]: unsupported"}},
		{"reordered", "containers: [{name: a, image: x}, {name: b, image: x}]", "containers: [{name: b, image: x}, {name: a, image: x}]",
			[]string{"c.name: forbidden", "containers[1].name: forbidden"}},
		{"container more", "{}", "containers: [{name: c, image: 'example.com/app:1'}, {name: d, image: x}]", []string{"containers: forbidden"}},
		{"an init container", "initContainers: [{name: i, image: i, resources: {limits: {cpu: 1}}}]\n" + sized(""), "initContainers: [{name: i, image: i, resources: {limits: {cpu: 2}}}]\n" + sized(""), nil},
		{"policy", sized(""), sized(", resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]"), []string{"c.resizePolicy: forbidden"}},
	})
}

// Defaults hide from the tables above what is taken away.
func TestResizeKeepsRequestsAndLimits(t *testing.T) {
	old := podOf(t, sized(""))
	DefaultPod(old)
	for _, c := range []struct {
		name   string
		change func(*corev1.ResourceRequirements)
		want   []string
	}{
		{"limit", func(r *corev1.ResourceRequirements) { delete(r.Limits, "cpu") }, []string{"c.resources.limits: forbidden"}},
		{"request", func(r *corev1.ResourceRequirements) { delete(r.Requests, "memory") }, []string{"c.resources.requests: forbidden"}},
		{"all", func(r *corev1.ResourceRequirements) { *r = corev1.ResourceRequirements{} },
			[]string{"c.resources.limits: forbidden", "c.resources.limits: forbidden", "c.resources.requests: forbidden", "c.resources.requests: forbidden"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := old.DeepCopy()
			c.change(&next.Spec.Containers[0].Resources)
			expect(t, ValidateResize(next, old), c.want...)
		})
		t.Run(c.name+" added", func(t *testing.T) {
			less := old.DeepCopy()
			c.change(&less.Spec.Containers[0].Resources)
			expect(t, ValidateResize(old, less))
		})
	}
}

// Such a pod isn't let in today; one that was may not be resized by a restart that never comes.
func TestResizeByRestartOfWhatNeverRestarts(t *testing.T) {
	old := podOf(t, "restartPolicy: Never\n"+sized(", resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]"))
	DefaultPod(old)
	cpu := podOf(t, "restartPolicy: Never\n"+container("resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 3, memory: 2Gi}}, resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]"))
	memory := podOf(t, "restartPolicy: Never\n"+container("resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 3Gi}}, resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]"))
	expect(t, ValidateResize(cpu, old))
	expect(t, ValidateResize(memory, old), "c.resources: forbidden")
}

// Nor is such an init container let in today; it runs once.
func TestResizeOfAnInitContainerByRestart(t *testing.T) {
	old := podOf(t, "initContainers: [{name: i, image: i, resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}], resources: {limits: {cpu: 1}}}]\n"+sized(""))
	DefaultPod(old)
	expect(t, ValidatePod(old), "initContainers[0].resizePolicy[0].restartPolicy: invalid")
	next := old.DeepCopy()
	next.Spec.InitContainers[0].Resources.Limits["memory"] = resource.MustParse("1Gi")
	expect(t, ValidateResize(next, old), "initContainers[0]: forbidden")
}

func TestResizeWhereTheNodeDoesNotTell(t *testing.T) {
	old := podOf(t, sized(""))
	DefaultPod(old)
	old.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	next := old.DeepCopy()
	next.Spec.Containers[0].Resources.Limits["cpu"] = *next.Spec.Containers[0].Resources.Requests.Cpu()
	expect(t, ValidateResize(next, old), "spec: forbidden")
	old.Status.ContainerStatuses[0].Resources = &corev1.ResourceRequirements{}
	expect(t, ValidateResize(next, old))
}
