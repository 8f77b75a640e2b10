package admission

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"swell.dev/swell/api/v1alpha1"
)

func TestValidateStartupBoost(t *testing.T) {
	for _, c := range []struct {
		name, spec string
		fields     []string // of the errors
	}{
		{"everything", `{selector: {matchLabels: {app: shop}}, cpu: 3x, for: 90s, containers: [{name: app, cpu: 2}, {name: b, cpu: 1500m, for: 1s}]}`, nil},
		{"a number with a point", `{cpu: 1.5}`, nil},
		{"containers alone", `{containers: [{name: app, cpu: "2"}]}`, nil},
		{"nothing", `{}`, []string{"spec.cpu"}},
		{"no number", `{cpu: fast, for: long}`, []string{"spec.cpu", "spec.for"}},
		{"a time of nothing", `{for: 3s, containers: [{name: app, cpu: "2"}]}`, []string{"spec.for"}},
		{"a container twice", `{containers: [{name: app, cpu: "2"}, {name: app, cpu: "3"}]}`, []string{"spec.containers[1].name"}},
		{"a container's fields", `{containers: [{name: A_, cpu: 0.5x}]}`, []string{"spec.containers[0].name", "spec.containers[0].cpu"}},
		{"a selector", `{cpu: "2", selector: {matchExpressions: [{key: a, operator: Near, values: [b]}]}}`, []string{"spec.selector.matchExpressions[0].operator"}},
	} {
		p := &v1alpha1.StartupBoost{}
		if err := yaml.UnmarshalStrict([]byte(c.spec), &p.Spec); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range ValidateStartupBoost(p) {
			got = append(got, e.Field)
		}
		if !slices.Equal(got, c.fields) {
			t.Errorf("%s: errors in %q; want %q", c.name, got, c.fields)
		}
	}
}

func TestStartupBoostAnnotation(t *testing.T) {
	for text, want := range map[string]string{
		"cpu=2":         "",
		"c:cpu=2":       "",
		"cpu=2;c:for=1": `must be a duration`,
		"other:cpu=2":   "other: must name a container of the pod",
		"fast":          `must be cpu=CPU, for=DURATION or required`,
	} {
		pod := podOf(t, "{}")
		DefaultPod(pod)
		pod.Annotations = map[string]string{v1alpha1.AnnotationStartupBoost: text}
		errs := ValidatePod(pod)
		switch {
		case want == "" && len(errs) > 0:
			t.Errorf("%s: %v", text, errs)
		case want != "" && (len(errs) != 1 || errs[0].Field != "metadata.annotations[swell.dev/startup-boost]" || !strings.Contains(errs[0].Detail, want) || errs[0].BadValue != text):
			t.Errorf("%s: %v, want %q", text, errs, want)
		}
		// What a user changes later is held to the same.
		old := pod.DeepCopy()
		old.Annotations, old.ResourceVersion, pod.ResourceVersion = nil, "1", "1"
		if errs := ValidatePodUpdate(pod, old); (want == "") != (len(errs) == 0) {
			t.Errorf("%s: as an update: %v", text, errs)
		}
	}
}
