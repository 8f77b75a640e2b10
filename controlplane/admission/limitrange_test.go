package admission

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/yaml"
)

// rangeOf makes a limit range of its items in YAML.
func rangeOf(t *testing.T, limits string) *corev1.LimitRange {
	t.Helper()
	lr := &corev1.LimitRange{}
	if err := yaml.UnmarshalStrict([]byte("limits: "+limits), &lr.Spec); err != nil {
		t.Fatalf("%s: %v", limits, err)
	}
	return lr
}

func TestDefaultLimitRange(t *testing.T) {
	for _, c := range []struct{ name, given, want string }{
		{"nothing", `[{type: Container}]`, `[{type: Container}]`},
		{"the limit is the maximum", `[{type: Container, max: {cpu: 2}}]`, `[{type: Container, max: {cpu: 2}, default: {cpu: 2}, defaultRequest: {cpu: 2}}]`},
		{"the request is the limit", `[{type: Container, default: {memory: 1Gi}, min: {memory: 1Mi}}]`,
			`[{type: Container, default: {memory: 1Gi}, min: {memory: 1Mi}, defaultRequest: {memory: 1Gi}}]`},
		{"the request is the minimum", `[{type: Container, min: {cpu: 100m}}]`, `[{type: Container, min: {cpu: 100m}, defaultRequest: {cpu: 100m}}]`},
		{"what is said stays", `[{type: Container, max: {cpu: 4}, default: {cpu: 2}, defaultRequest: {cpu: 1}, min: {cpu: 10m}}]`,
			`[{type: Container, max: {cpu: 4}, default: {cpu: 2}, defaultRequest: {cpu: 1}, min: {cpu: 10m}}]`},
		{"a pod's", `[{type: Pod, max: {cpu: 4}, min: {cpu: 1}}]`, `[{type: Pod, max: {cpu: 4}, min: {cpu: 1}}]`},
	} {
		lr, want := rangeOf(t, c.given), rangeOf(t, c.want)
		DefaultLimitRange(lr)
		if !equality.Semantic.DeepEqual(lr, want) {
			t.Errorf("%s: %+v, want %+v", c.name, lr.Spec, want.Spec)
		}
	}
}

func TestValidateLimitRange(t *testing.T) {
	for _, c := range []struct {
		name, limits string
		want         []string // path and detail
	}{
		{"nothing", `[]`, nil},
		{"everything", `[{type: Container, min: {cpu: 100m, memory: 4Mi}, max: {cpu: 2, memory: 1Gi}, default: {cpu: 300m, memory: 200Mi}, defaultRequest: {cpu: 200m, memory: 100Mi},
			maxLimitRequestRatio: {cpu: 10}}, {type: Pod, min: {cpu: 200m}, max: {cpu: 2}, maxLimitRequestRatio: {cpu: 3}}]`, nil},
		{"a minimum of nothing", `[{type: Container, min: {cpu: 0}}]`, []string{`limits[0].defaultRequest[cpu]: Invalid value: "0": must be greater than 0`}},
		{"another type", `[{type: PersistentVolumeClaim, max: {storage: 2Gi}}, {type: example.com/Thing}, {}]`, []string{
			`limits[0].type: Unsupported value: "PersistentVolumeClaim": supported values: "Container", "Pod"`,
			`limits[1].type: Unsupported value: "example.com/Thing": supported values: "Container", "Pod"`,
			`limits[2].type: Unsupported value: "": supported values: "Container", "Pod"`}},
		{"a type twice", `[{type: Pod}, {type: Pod}]`, []string{`limits[1].type: Duplicate value: "Pod"`}},
		{"another resource", `[{type: Container, min: {ephemeral-storage: 1Gi}, maxLimitRequestRatio: {example.com/x: 2}}]`, []string{
			`limits[0].min[ephemeral-storage]: Unsupported value: "ephemeral-storage": supported values: "cpu", "memory"`,
			`limits[0].maxLimitRequestRatio[example.com/x]: Unsupported value: "example.com/x"`, `limits[0].defaultRequest[ephemeral-storage]: Unsupported value`}},
		{"less than nothing", `[{type: Pod, min: {cpu: -1}, max: {memory: -1}}]`, []string{
			`limits[0].min[cpu]: Invalid value: "-1": must be greater than or equal to 0`, `limits[0].max[memory]: Invalid value: "-1"`}},
		{"defaults of a pod", `[{type: Pod, default: {cpu: 1}, defaultRequest: {cpu: 1}}]`, []string{
			"limits[0].default: Forbidden: may not be specified when `type` is 'Pod'", "limits[0].defaultRequest: Forbidden"}},
		{"min over max", `[{type: Pod, min: {cpu: 2}, max: {cpu: 1}}]`, []string{`limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1`}},
		{"the request below min", `[{type: Container, min: {cpu: 1}, defaultRequest: {cpu: 500m}}]`,
			[]string{`limits[0].defaultRequest[cpu]: Invalid value: "500m": min value 1 is greater than default request value 500m`}},
		{"the limit below min", `[{type: Container, min: {cpu: 1}, default: {cpu: 500m}, defaultRequest: {cpu: 1}}]`, []string{
			`limits[0].default[cpu]: Invalid value: "500m": min value 1 is greater than default value 500m`,
			`limits[0].defaultRequest[cpu]: Invalid value: "1": default request value 1 is greater than default value 500m`}},
		{"defaults over max", `[{type: Container, max: {memory: 1Gi}, default: {memory: 2Gi}}]`, []string{
			`limits[0].defaultRequest[memory]: Invalid value: "2Gi": default request value 2Gi is greater than max value 1Gi`,
			`limits[0].default[memory]: Invalid value: "2Gi": default value 2Gi is greater than max value 1Gi`}},
		{"a ratio below one", `[{type: Container, maxLimitRequestRatio: {cpu: 500m}}]`, []string{`limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1`}},
		{"a ratio that nothing has", `[{type: Pod, min: {cpu: 1}, max: {cpu: 2}, maxLimitRequestRatio: {cpu: 3}}]`,
			[]string{`limits[0].maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000`}},
	} {
		lr := rangeOf(t, c.limits)
		DefaultLimitRange(lr)
		errs := ValidateLimitRange(lr)
		if len(errs) != len(c.want) {
			t.Errorf("%s: %v, want %q", c.name, errs, c.want)
			continue
		}
		for i, e := range errs {
			if !strings.HasPrefix(e.Error(), "spec."+c.want[i]) {
				t.Errorf("%s: %v, want spec.%s", c.name, e, c.want[i])
			}
		}
	}
}

func TestLimitPod(t *testing.T) {
	const given = `[{type: Pod, max: {cpu: 9}}, {type: Container, default: {cpu: 300m, memory: 200Mi}, defaultRequest: {cpu: 200m, memory: 100Mi}}]`
	res := func(r string) string { return container("resources: " + r) }
	for _, c := range []struct{ name, ranges, spec, want, note string }{
		{"nothing named", given, "{}", res("{requests: {cpu: 200m, memory: 100Mi}, limits: {cpu: 300m, memory: 200Mi}}"),
			"LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c"},
		{"everything named", given, res("{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}}"), res("{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}}"), ""},
		{"limits named", given, res("{limits: {cpu: 2}}"), res("{requests: {cpu: 2, memory: 100Mi}, limits: {cpu: 2, memory: 200Mi}}"),
			"LimitRanger plugin set: memory request for container c; memory limit for container c"},
		{"a request named", given, res("{requests: {cpu: 50m}}"), res("{requests: {cpu: 50m, memory: 100Mi}, limits: {cpu: 300m, memory: 200Mi}}"),
			"LimitRanger plugin set: memory request for container c; cpu, memory limit for container c"},
		{"a request alone is given", `[{type: Container, min: {cpu: 20m}}]`, "{}", res("{requests: {cpu: 20m, memory: 512Mi}, limits: {cpu: 20m, memory: 512Mi}}"),
			"LimitRanger plugin set: cpu request for container c"},
		{"an init container", `[{type: Container, default: {cpu: 1}}]`,
			"initContainers: [{name: i, image: 'example.com/app:1'}]\ncontainers: [{name: c, image: 'example.com/app:1', resources: {limits: {cpu: 2}}}]",
			"initContainers: [{name: i, image: 'example.com/app:1', resources: {limits: {cpu: 1}}}]\ncontainers: [{name: c, image: 'example.com/app:1', resources: {limits: {cpu: 2}}}]",
			"LimitRanger plugin set: cpu request for init container i; cpu limit for init container i"},
		{"another range's", `[{type: Pod, max: {cpu: 9}}]`, "{}", "{}", ""},
	} {
		lr := rangeOf(t, c.ranges)
		DefaultLimitRange(lr)
		pod, want := podOf(t, c.spec), podOf(t, c.want)
		note := LimitPod(pod, []*corev1.LimitRange{lr})
		DefaultPod(pod)
		DefaultPod(want)
		if !equality.Semantic.DeepEqual(pod.Spec, want.Spec) || note != c.note {
			t.Errorf("%s: note %q, want %q\n%+v\n%+v", c.name, note, c.note, pod.Spec, want.Spec)
		}
	}
	// Of several the first that has a default holds, and none is shared with the pod.
	first, second := rangeOf(t, `[{type: Container, default: {cpu: 1}}]`), rangeOf(t, `[{type: Container, default: {cpu: 2, memory: 1Gi}}]`)
	pod := podOf(t, "{}")
	LimitPod(pod, []*corev1.LimitRange{first, second})
	if l := pod.Spec.Containers[0].Resources.Limits; l.Cpu().String() != "1" || l.Memory().String() != "1Gi" {
		t.Errorf("limits %v", l)
	}
	delete(pod.Spec.Containers[0].Resources.Limits, corev1.ResourceCPU)
	if len(first.Spec.Limits[0].Default) != 1 {
		t.Error("a pod has a limit range's own list")
	}
}

func TestCheckLimits(t *testing.T) {
	sizes := func(request, limit string) string {
		return container(fmt.Sprintf("resources: {requests: {cpu: %s, memory: 64Mi}, limits: {cpu: %s, memory: 64Mi}}", request, limit))
	}
	const two = `containers: [{name: a, image: i, resources: {requests: {cpu: 1}, limits: {cpu: 2}}}, {name: b, image: i, resources: {requests: {cpu: 500m}, limits: {cpu: 3}}}]`
	for _, c := range []struct{ name, limits, spec, want string }{
		{"within", `[{type: Container, min: {cpu: 100m}, max: {cpu: 2}, maxLimitRequestRatio: {cpu: 20}}]`, sizes("100m", "2"), ""},
		{"request below min", `[{type: Container, min: {cpu: 100m}}]`, sizes("50m", "200m"), "minimum cpu usage per Container is 100m, but request is 50m"},
		{"both below min", `[{type: Container, min: {memory: 100Mi}}]`, sizes("1", "1"), "minimum memory usage per Container is 100Mi, but request is 64Mi"},
		{"no request", `[{type: Container, min: {memory: 1Mi}}]`, container("resources: {limits: {cpu: 1}}"), "minimum memory usage per Container is 1Mi.  No request is specified"},
		{"limit over max", `[{type: Container, max: {cpu: 1}}]`, sizes("500m", "1500m"), "maximum cpu usage per Container is 1, but limit is 1500m"},
		{"no limit", `[{type: Container, max: {cpu: 1}}]`, container("resources: {requests: {cpu: 500m}}"), "maximum cpu usage per Container is 1.  No limit is specified"},
		{"request over max", `[{type: Container, max: {cpu: 1}}]`, sizes("2", "1"), "maximum cpu usage per Container is 1, but request is 2"},
		{"ratio", `[{type: Container, maxLimitRequestRatio: {cpu: 2}}]`, sizes("1", "3"), "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000"},
		{"ratio, just so", `[{type: Container, maxLimitRequestRatio: {cpu: 1500m}}]`, sizes("2", "3"), ""},
		{"ratio without a request", `[{type: Container, maxLimitRequestRatio: {cpu: 2}}]`, container("resources: {limits: {cpu: 1}}"),
			"cpu max limit to request ratio per Container is 2, but no request is specified or request is 0"},
		{"ratio without a limit", `[{type: Container, maxLimitRequestRatio: {cpu: 2}}]`, container("resources: {requests: {cpu: 1}}"),
			"cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0"},
		{"several", `[{type: Container, max: {cpu: 1, memory: 1Mi}}]`, sizes("2", "2"),
			"[maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per Container is 1Mi, but limit is 64Mi]"},
		{"an init container", `[{type: Container, max: {cpu: 1}}]`, "initContainers: [{name: i, image: x, resources: {limits: {cpu: 2}}}]\n" + sizes("1", "1"),
			"maximum cpu usage per Container is 1, but limit is 2"},
		{"a pod's sum", `[{type: Pod, max: {cpu: 4}}]`, two, "maximum cpu usage per Pod is 4, but limit is 5"},
		{"a pod's minimum", `[{type: Pod, min: {cpu: 2}}]`, two, "minimum cpu usage per Pod is 2, but request is 1500m"},
		{"a pod's ratio", `[{type: Pod, maxLimitRequestRatio: {cpu: 3}}]`, two, "cpu max limit to request ratio per Pod is 3, but provided ratio is 3.333333"},
		{"a pod that names none", `[{type: Pod, max: {memory: 4Gi}}]`, two, "maximum memory usage per Pod is 4Gi.  No limit is specified"},
		{"a pod's own size", `[{type: Pod, max: {cpu: 4}}]`, "resources: {requests: {cpu: 3}, limits: {cpu: 4}}\n" + two, ""},
		{"a pod's init container", `[{type: Pod, max: {cpu: 5}}]`, "initContainers: [{name: i, image: x, resources: {limits: {cpu: 6}}}]\n" + two, "maximum cpu usage per Pod is 5, but limit is 6"},
	} {
		err := CheckLimits(podOf(t, c.spec), []*corev1.LimitRange{rangeOf(t, `[]`), rangeOf(t, c.limits)})
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
