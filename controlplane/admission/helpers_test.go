package admission

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// podOf makes a pod of a spec in YAML. A spec without containers gets one.
func podOf(t *testing.T, spec string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default"}}
	if err := yaml.UnmarshalStrict([]byte(spec), &pod.Spec); err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	if pod.Spec.Containers == nil {
		pod.Spec.Containers = []corev1.Container{{Name: "c", Image: "example.com/app:1"}}
	}
	return pod
}

// container makes a spec of one container, of which the fields are given.
func container(fields string) string {
	return "containers: [{name: c, image: 'example.com/app:1', " + fields + "}]"
}

// causes is what a 422 tells: each cause's path and type.
func causes(errs field.ErrorList) []string {
	var out []string
	for _, e := range errs {
		out = append(out, fmt.Sprintf("%s: %s", strings.NewReplacer("spec.containers[0].", "c.", "spec.", "").Replace(e.Field), short[e.Type]))
	}
	slices.Sort(out)
	return out
}

var short = map[field.ErrorType]string{
	field.ErrorTypeForbidden: "forbidden", field.ErrorTypeInvalid: "invalid", field.ErrorTypeRequired: "required",
	field.ErrorTypeDuplicate: "duplicate", field.ErrorTypeNotSupported: "unsupported", field.ErrorTypeNotFound: "not found",
}

func expect(t *testing.T, got field.ErrorList, want ...string) {
	t.Helper()
	slices.Sort(want)
	if g := causes(got); !slices.Equal(g, want) {
		t.Errorf("causes are\n  %s\nwant\n  %s\n%v", strings.Join(g, "\n  "), strings.Join(want, "\n  "), got.ToAggregate())
	}
}
