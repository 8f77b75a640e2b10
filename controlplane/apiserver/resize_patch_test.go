package apiserver

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
)

// TestSizePatchIsAPatch holds the short way to what the long one makes of the same patch, and lets everything
// else go the long way.
func TestSizePatchIsAPatch(t *testing.T) {
	h := start(t)
	old := testPod("a")
	old.Spec.Containers = append(old.Spec.Containers, corev1.Container{Name: "bare", Image: "i"})
	for _, c := range []struct {
		name, patch string
		short       bool
	}{
		{"both", `{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"2","memory":"1Gi"},"limits":{"cpu":"2000m","memory":1073741824}}}]}}`, true},
		{"one of them", `{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":0.25}}}]}}`, true},
		{"where there was none", `{"spec":{"containers":[{"name":"bare","resources":{"limits":{"cpu":"1"}}}]}}`, true},
		{"two containers", `{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}},{"name":"bare","resources":{"requests":{"cpu":"1"}}}]}}`, true},
		{"in another order", `{"spec":{"containers":[{"name":"bare","resources":{"requests":{"cpu":"1"}}},{"name":"c","resources":{"requests":{"cpu":"1"}}}]}}`, false},
		{"another resource", `{"spec":{"containers":[{"name":"c","resources":{"limits":{"ephemeral-storage":"1Gi"}}}]}}`, true},
		{"nothing", `{}`, true},
		{"a deletion", `{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":null}}}]}}`, false},
		{"another field", `{"spec":{"containers":[{"name":"c","image":"x","resources":{"limits":{"cpu":"1"}}}]}}`, false},
		{"another case", `{"spec":{"Containers":[{"name":"c"}]}}`, false},
		{"twice", `{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"1"}}},{"name":"c","resources":{"limits":{"cpu":"2"}}}]}}`, false},
		{"a field twice", `{"spec":{"containers":[{"name":"c","name":"c"}]}}`, false},
		{"a directive", `{"spec":{"$setElementOrder/containers":[{"name":"c"}],"containers":[{"name":"c","resources":{"limits":{"cpu":"1"}}}]}}`, false},
		{"no quantity", `{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"much"}}}]}}`, false},
		{"no name", `{"spec":{"containers":[{"resources":{"limits":{"cpu":"1"}}}]}}`, false},
		{"no JSON", `{`, false},
		{"a new container", `{"spec":{"containers":[{"name":"d","resources":{"limits":{"cpu":"1"}}}]}}`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := patchBody{kind: types.StrategicMergePatchType, data: []byte(c.patch)}
			got, want := &corev1.Pod{}, &corev1.Pod{}
			s := readSizePatch(p)
			if short := s != nil && s.apply(old, got); short != c.short {
				t.Fatalf("goes the short way: %v", short)
			}
			if !c.short {
				return
			}
			q := &request{res: h.server.resources.find("", "v1", "pods")}
			if _, err := h.server.applyPatch(q, p, old, want); err != nil {
				t.Fatal(err)
			}
			want.TypeMeta, got.TypeMeta = old.TypeMeta, old.TypeMeta
			if !equality.Semantic.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v", got.Spec.Containers, want.Spec.Containers)
			}
		})
	}
	if readSizePatch(patchBody{kind: types.MergePatchType, data: []byte(`{}`)}) != nil {
		t.Error("a merge patch replaces lists")
	}
}
