package nodelet

import (
	"encoding/json"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func someCheckpoint() *checkpoint {
	at := time.Unix(1_700_000_000, 0).UTC()
	size := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")}
	return &checkpoint{
		StartTime: at, BootID: "boot", PodIP: "10.0.0.1", NetNS: "/run/netns/x", Initialized: true,
		Actuated: actuatedSizes{"main": {Requests: size, Limits: size}, "side": {Requests: size}},
		Conditions: podConditions{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(at), ObservedGeneration: 3},
			{Type: corev1.ContainersReady, Status: corev1.ConditionFalse, Reason: "Why", Message: "\"so\""},
		},
		Containers: map[string]containerCheckpoint{"main": {Phase: phaseRunning, Next: 1, StartedAt: at, Started: true, Ready: true}},
	}
}

func TestCheckpointIsReadAsWritten(t *testing.T) {
	for name, cp := range map[string]*checkpoint{"full": someCheckpoint(), "empty": {}} {
		raw, err := json.Marshal(cp)
		if err != nil {
			t.Fatal(err)
		}
		got := new(checkpoint)
		if err := json.Unmarshal(raw, got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := json.Marshal(got)
		if err != nil || string(again) != string(raw) {
			t.Errorf("%s: read %s, wrote %s (%v)", name, again, raw, err)
		}
		if !equality.Semantic.DeepEqual(got.Actuated, cp.Actuated) || !equality.Semantic.DeepEqual(got.Conditions, cp.Conditions) {
			t.Errorf("%s: read %+v, wrote %+v", name, got, cp)
		}
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	cp := someCheckpoint()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := json.Marshal(cp); err != nil {
			b.Fatal(err)
		}
	}
}
