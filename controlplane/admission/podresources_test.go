package admission

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/yaml"

	"swell.dev/swell/api/v1alpha1"
)

func podOfItsOwn(resources, containers string) string {
	return "resources: " + resources + "\ncontainers: [" + containers + "]"
}

func ctr(name, resources string) string {
	return "{name: " + name + ", image: i, resources: " + resources + "}"
}

func TestDefaultPodResources(t *testing.T) {
	const a, b = "{limits: {cpu: 1, memory: 1Gi}}", "{requests: {cpu: 500m, memory: 512Mi}, limits: {cpu: 2, memory: 1Gi}}"
	for _, c := range []struct {
		name, given, want string
		containers        []string // what each has then
	}{
		{"limits alone are requests, and the containers have nothing of their own", podOfItsOwn("{limits: {cpu: 2, memory: 1Gi}}", ctr("a", "{}")),
			"{requests: {cpu: 2, memory: 1Gi}, limits: {cpu: 2, memory: 1Gi}}", []string{"{}"}},
		{"requests alone are limits", podOfItsOwn("{requests: {cpu: 2, memory: 1Gi}}", ctr("a", "{}")),
			"{requests: {cpu: 2, memory: 1Gi}, limits: {cpu: 2, memory: 1Gi}}", []string{"{}"}},
		{"what the containers ask for is the request", podOfItsOwn("{limits: {cpu: 4, memory: 4Gi}}", ctr("a", a)+", "+ctr("b", b)),
			"{requests: {cpu: 1500m, memory: 1536Mi}, limits: {cpu: 4, memory: 4Gi}}", []string{"{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}}", b}},
		{"what the containers may have is the limit", podOfItsOwn("{requests: {cpu: 2, memory: 2Gi}}", ctr("a", a)+", "+ctr("b", b)),
			"{requests: {cpu: 2, memory: 2Gi}, limits: {cpu: 3, memory: 2Gi}}", []string{"{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}}", b}},
		{"a resource that the pod doesn't say is the containers'", podOfItsOwn("{limits: {cpu: 2}}", ctr("a", "{}")+", "+ctr("b", "{limits: {memory: 1Gi}}")),
			"{requests: {cpu: 2, memory: 1536Mi}, limits: {cpu: 2, memory: 1536Mi}}",
			[]string{"{requests: {memory: 512Mi}, limits: {memory: 512Mi}}", "{requests: {memory: 1Gi}, limits: {memory: 1Gi}}"}},
		{"a request stays one", podOfItsOwn("{limits: {cpu: 2, memory: 1Gi}}", ctr("a", "{requests: {cpu: 1}}")),
			"{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 1Gi}}", []string{"{requests: {cpu: 1}}"}},
		{"nothing is said", podOfItsOwn("{}", ctr("a", "{}")), "{}", []string{"{requests: {cpu: 250m, memory: 512Mi}, limits: {cpu: 250m, memory: 512Mi}}"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := podOf(t, c.given)
			for range 2 { // again, it changes nothing
				DefaultPod(pod)
				check := func(what string, got corev1.ResourceRequirements, want string) {
					t.Helper()
					var w corev1.ResourceRequirements
					if err := yaml.UnmarshalStrict([]byte(want), &w); err != nil {
						t.Fatal(err)
					}
					if !equality.Semantic.DeepEqual(got, w) {
						raw, _ := yaml.Marshal(got)
						t.Errorf("%s has\n%s, want %s", what, raw, want)
					}
				}
				check("the pod", *pod.Spec.Resources, c.want)
				for i, want := range c.containers {
					check(pod.Spec.Containers[i].Name, pod.Spec.Containers[i].Resources, want)
				}
				if errs := ValidatePod(pod); len(errs) > 0 {
					t.Error(errs)
				}
			}
		})
	}
}

func TestValidatePodResources(t *testing.T) {
	const own = "{limits: {cpu: 1, memory: 1Gi}}"
	for _, c := range []struct {
		name, spec string
		want       []string
	}{
		{"within", podOfItsOwn("{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}}", ctr("a", own)), nil},
		{"containers together ask for more", podOfItsOwn("{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}}", ctr("a", own)+", "+ctr("b", own)),
			[]string{"resources.requests[cpu]: invalid", "resources.requests[memory]: invalid"}},
		{"a container may have more", podOfItsOwn("{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}}", ctr("a", "{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 1Gi}}")),
			[]string{"c.resources.limits[cpu]: invalid"}},
		{"an init container may have more", "initContainers: [" + ctr("i", "{requests: {memory: 1Gi}, limits: {memory: 3Gi}}") + "]\n" +
			podOfItsOwn("{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}}", ctr("a", "{}")), []string{"initContainers[0].resources.limits[memory]: invalid"}},
		{"request over limit", podOfItsOwn("{requests: {cpu: 3}, limits: {cpu: 2}}", ctr("a", "{}")), []string{"resources.requests: invalid"}},
		{"negative", podOfItsOwn("{limits: {cpu: -1}}", ctr("a", "{}")), []string{"resources.limits[cpu]: invalid", "resources.requests[cpu]: invalid"}},
		{"zero", podOfItsOwn("{limits: {memory: 0}}", ctr("a", "{}")), []string{"resources.limits[memory]: invalid", "resources.requests[memory]: invalid"}},
		{"another resource", podOfItsOwn("{limits: {hugepages-2Mi: 2Mi}}", ctr("a", own)), []string{"resources.limits[hugepages-2Mi]: unsupported"}},
		{"claims", podOfItsOwn("{claims: [{name: x}]}", ctr("a", own)), []string{"resources.claims: forbidden"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := podOf(t, c.spec)
			DefaultPod(pod)
			expect(t, ValidatePod(pod), c.want...)
		})
	}
}

func TestPodResourcesResized(t *testing.T) {
	const small, large = "{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}}", "{requests: {cpu: 2, memory: 2Gi}, limits: {cpu: 3, memory: 3Gi}}"
	change := func(given string, f func(*corev1.PodSpec), want ...string) {
		t.Helper()
		old := podOf(t, given)
		DefaultPod(old)
		next := old.DeepCopy()
		f(&next.Spec)
		DefaultResize(next, old)
		expect(t, ValidateResize(next, old), want...)
	}
	resources := func(text string) *corev1.ResourceRequirements {
		var r corev1.ResourceRequirements
		if err := yaml.UnmarshalStrict([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		return &r
	}
	pod := podOfItsOwn(small, ctr("a", "{}"))
	change(pod, func(s *corev1.PodSpec) { s.Resources = resources(large) })
	change(pod, func(s *corev1.PodSpec) {
		s.Resources = resources("{requests: {cpu: 3, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}}")
	}, "resources.requests: invalid")
	change(pod, func(s *corev1.PodSpec) { delete(s.Resources.Requests, "cpu") }, "resources.requests: forbidden")
	change(pod, func(s *corev1.PodSpec) { delete(s.Resources.Limits, "memory") }, "resources.limits: forbidden")
	change(pod, func(s *corev1.PodSpec) { s.Resources = nil }, "resources: forbidden")
	change(pod, func(s *corev1.PodSpec) { s.Resources.Claims = []corev1.ResourceClaim{{Name: "x"}} }, "resources.claims: forbidden")
	change(pod, func(s *corev1.PodSpec) { s.Containers[0].Resources = *resources("{requests: {cpu: 2}}") }, "resources.requests[cpu]: invalid")
	change(pod, func(s *corev1.PodSpec) { s.Containers[0].Resources = *resources("{limits: {cpu: 3}}") },
		"c.resources.limits[cpu]: invalid", "resources.requests[cpu]: invalid") // the limit is the request as well
	change(pod, func(s *corev1.PodSpec) { s.Containers[0].Resources = *resources("{limits: {cpu: 1}}") })

	// A pod that hasn't said anything of itself may begin to.
	plain := "containers: [" + ctr("a", "{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}}") + "]"
	change(plain, func(s *corev1.PodSpec) {
		s.Resources = resources("{limits: {cpu: 3}}")
		next := &corev1.Pod{Spec: *s.DeepCopy()}
		DefaultResize(next, &corev1.Pod{Spec: *s})
		defaultPodResources(&next.Spec)
		if got := v1alpha1.Asked(next)[v1alpha1.WholePod]; !equality.Semantic.DeepEqual(got, *resources("{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 3, memory: 2Gi}}")) {
			t.Errorf("it has %v", got)
		}
	})

	old := podOf(t, pod)
	old.ResourceVersion = "1"
	DefaultPod(old)
	next := old.DeepCopy()
	next.Spec.Resources = resources(large)
	expect(t, ValidatePodUpdate(next, old), "resources: forbidden")
}
