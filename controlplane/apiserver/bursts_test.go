package apiserver

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// TestBurstOfANewPod: it is let in whatever its bounds, and its owner is told what won't come of them.
func TestBurstOfANewPod(t *testing.T) {
	h := start(t)
	node := controlplane.Key{Resource: "nodes", Name: "n1"}
	create := func(name, burst, query string) string {
		t.Helper()
		pod := testPod(name)
		pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
		if burst != "" {
			pod.Annotations = map[string]string{v1alpha1.AnnotationBurst: burst}
		}
		body, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		a := h.do("POST", podsPath+query, string(body), "Content-Type", mediaJSON)
		if a.code != http.StatusCreated {
			t.Fatalf("%s: %d: %s", name, a.code, a.body)
		}
		return a.header.Get("Warning")
	}
	for _, tt := range []struct{ name, burst, warning string }{
		{"none", "", ""},
		{"fits", "cpu=4,memory=8Gi", ""},
		{"cpu", "cpu=4000", `metadata.annotations[swell.dev/burst]: cpu=4000 is more than any node has`},
		{"memory", "memory=9Gi", `memory=9Gi is more than any node has`},
	} {
		for _, query := range []string{"?dryRun=All", ""} {
			if got := create(tt.name, tt.burst, query); !strings.Contains(got, tt.warning) || (got == "") != (tt.warning == "") {
				t.Errorf("%s%s: warned %q, want %q", tt.name, query, got, tt.warning)
			}
		}
	}
	off := testNode()
	off.Labels = map[string]string{v1alpha1.LabelReflex: v1alpha1.ReflexOff}
	h.store.put(node, off)
	if got := create("off", "cpu=2", ""); !strings.Contains(got, "no node gives bursts now") {
		t.Errorf("with all nodes' reflex off: warned %q", got)
	}
	other := testNode()
	other.Name, other.Labels = "n2", map[string]string{v1alpha1.LabelReflex: "poll"}
	h.store.put(controlplane.Key{Resource: "nodes", Name: "n2"}, other)
	if got := create("on", "cpu=2", ""); got != "" {
		t.Errorf("with one node that gives bursts: warned %q", got)
	}
}

// TestBurstOfAPodThatIsThere: a bound that no node could ever hold is refused as a resize is, and only where it is new.
func TestBurstOfAPodThatIsThere(t *testing.T) {
	h := start(t)
	pod := testPod("a")
	pod.Annotations = map[string]string{v1alpha1.AnnotationBurst: "cpu=4000"}
	if _, err := h.client().CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	patch := func(body string) answer {
		return h.do("PATCH", podsPath+"/a", body, "Content-Type", string(types.MergePatchType))
	}
	if a := patch(`{"metadata":{"labels":{"a":"b"}}}`); a.code != http.StatusOK {
		t.Errorf("a label beside a bound that was let in: %s", a.body)
	}
	if a := patch(`{"metadata":{"annotations":{"swell.dev/burst":"cpu=3"}}}`); a.code != http.StatusOK {
		t.Errorf("a bound that a node holds: %s", a.body)
	}
	st := patch(`{"metadata":{"annotations":{"swell.dev/burst":"cpu=5"}}}`).status(t)
	if st.Reason != metav1.StatusReasonForbidden || len(st.Details.Causes) != 1 || st.Details.Causes[0].Type != causeNodeCapacity || !strings.Contains(st.Message, "cpu=5: no node could ever hold it") {
		t.Errorf("a bound beyond any node: %+v", st)
	}
	if a := patch(`{"metadata":{"annotations":{"swell.dev/burst":null}}}`); a.code != http.StatusOK {
		t.Errorf("no bound any more: %s", a.body)
	}
}
