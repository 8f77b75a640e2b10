package quantities_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/internal/quantities"
)

func list(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

func spec() *corev1.PodSpec {
	return &corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "i", Resources: corev1.ResourceRequirements{Limits: list("1", "1Gi")}}},
		Containers: []corev1.Container{
			{Name: "a", Resources: corev1.ResourceRequirements{Requests: list("0.5", "512Mi"), Limits: list("1", "1Gi")}},
			{Name: "b"},
		},
	}
}

func TestFormatChangesNothingButTheCost(t *testing.T) {
	plain, formatted := spec(), spec()
	quantities.Format(formatted)
	if !equality.Semantic.DeepEqual(plain, formatted) {
		t.Errorf("it is %+v, was %+v", formatted, plain)
	}
	before, err := plain.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	after, err := formatted.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Errorf("it is written as %q, was %q", after, before)
	}
	cost := func(s *corev1.PodSpec) float64 { return testing.AllocsPerRun(10, func() { s.Size() }) }
	if p, f := cost(plain), cost(formatted); f >= p {
		t.Errorf("its size takes %v allocations, %v without", f, p)
	}
}

func TestShare(t *testing.T) {
	s := spec()
	status := func(requests, limits, allocated corev1.ResourceList) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: "a", AllocatedResources: allocated, Resources: &corev1.ResourceRequirements{Requests: requests, Limits: limits}}
	}
	for name, c := range map[string]struct {
		status corev1.ContainerStatus
		shared bool
	}{
		"the same":         {status(list("500m", "512Mi"), list("1", "1Gi"), list("500m", "512Mi")), true},
		"another size":     {status(list("500m", "512Mi"), list("2", "1Gi"), list("500m", "512Mi")), false},
		"another request":  {status(list("250m", "512Mi"), list("1", "1Gi"), list("250m", "512Mi")), false},
		"a missing limit":  {status(list("500m", "512Mi"), nil, nil), false},
		"nothing is told":  {corev1.ContainerStatus{Name: "a"}, false},
		"no such":          {corev1.ContainerStatus{Name: "z", Resources: &corev1.ResourceRequirements{}}, false},
		"without any size": {corev1.ContainerStatus{Name: "b", Resources: &corev1.ResourceRequirements{}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			st := &corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{c.status}}
			want := st.DeepCopy()
			quantities.Share(s, st)
			if !equality.Semantic.DeepEqual(want, st) {
				t.Errorf("it is %+v, was %+v", st, want)
			}
			got := st.ContainerStatuses[0]
			shared := false
			for i := range s.Containers {
				shared = shared || got.Resources == &s.Containers[i].Resources
			}
			if shared != c.shared {
				t.Errorf("resources are shared: %v", shared)
			}
		})
	}
}
