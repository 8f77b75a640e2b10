package nodelet

import (
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// someCheckpoint has something in every field.
func someCheckpoint() *checkpoint {
	at := time.Date(2026, 5, 4, 3, 2, 1, 123_456_789, time.UTC)
	size := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")}
	end := &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error", FinishedAt: metav1.NewTime(at.Truncate(time.Second))}
	return &checkpoint{
		StartTime: at, BootID: "boot", PodIP: "10.0.0.1", NetNS: "/run/netns/x",
		Removed: true, Metered: true, TornDown: true, Initialized: true,
		Stop:     &podStop{Deadline: at.AddDate(1000, 0, 0)}, // a grace period has no bound
		Outcome:  &outcome{Phase: corev1.PodFailed, Reason: "Evicted", Message: "\"so\"", Disruption: true, Kept: true},
		Actuated: map[string]corev1.ResourceRequirements{"main": {Requests: size, Limits: size}, "side": {Requests: size}},
		Boosts:   map[string]int64{"main": 2000},
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(at.Truncate(time.Second)), ObservedGeneration: 3},
			{Type: corev1.ContainersReady, Status: corev1.ConditionFalse, Reason: "Why", Message: "\"so\""},
		},
		Containers: []containerCheckpoint{{
			Name: "main", Phase: phaseRunning, Attempt: 2, Next: 3, SpecImage: "web:1",
			Image:     Image{Ref: "docker.io/library/web:1", ID: "sha256:1", Digest: "sha256:2", User: "nobody", Size: 1 << 40, StopSignal: "SIGQUIT"},
			StartedAt: at, Term: end, Last: end,
			Started: true, Ready: true, Unboosted: true, Hooking: true, Forced: true, NoBackoff: true, PreStop: true,
			Pull: backoff{Delay: time.Minute, At: at}, Crash: backoff{Delay: time.Hour, At: at},
		}, {Name: "side"}},
	}
}

func TestCheckpointIsReadAsWritten(t *testing.T) {
	full := someCheckpoint()
	hasAll(t, "checkpoint", reflect.ValueOf(*full))
	hasAll(t, "container", reflect.ValueOf(full.Containers[0]))
	hasAll(t, "image", reflect.ValueOf(full.Containers[0].Image))
	hasAll(t, "outcome", reflect.ValueOf(*full.Outcome))
	for name, cp := range map[string]*checkpoint{
		"full":           full,
		"empty":          {},
		"empty messages": {Stop: &podStop{}, Outcome: &outcome{}, Containers: []containerCheckpoint{{}}},
		"negative":       {Containers: []containerCheckpoint{{Attempt: -1, Pull: backoff{Delay: -1, At: time.Unix(-1, 1).UTC()}}}},
	} {
		raw, err := cp.marshal()
		if err != nil {
			t.Fatal(err)
		}
		got := new(checkpoint)
		if err := got.unmarshal(raw); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !same(t, got, cp) {
			t.Errorf("%s: read %+v, wrote %+v", name, got, cp)
		}
	}
}

func same(t *testing.T, a, b *checkpoint) bool {
	t.Helper()
	equal := equality.Semantic.Copy()
	if err := equal.AddFunc(time.Time.Equal); err != nil {
		t.Fatal(err)
	}
	return equal.DeepEqual(a, b)
}

// hasAll fails where a test would not notice that a field isn't written.
func hasAll(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s: the test has nothing in %s", name, v.Type().Field(i).Name)
		}
	}
}

// A later nodelet's fields are passed over, and what is cut off or another format's isn't taken for a checkpoint.
func TestCheckpointOfAnotherVersion(t *testing.T) {
	raw, err := someCheckpoint().marshal()
	if err != nil {
		t.Fatal(err)
	}
	later := wire{b: raw}
	later.text(999, "new")
	later.number(1000, 5)
	got := new(checkpoint)
	if err := got.unmarshal(later.b); err != nil || !same(t, got, someCheckpoint()) {
		t.Errorf("with fields that aren't known: %+v, %v", got, err)
	}
	for name, damaged := range map[string][]byte{"JSON": []byte(`{"bootID":"boot"}`), "cut off": raw[:len(raw)-1]} {
		if err := new(checkpoint).unmarshal(damaged); err == nil {
			t.Errorf("%s: read as if it were whole", name)
		}
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	cp := someCheckpoint()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cp.marshal(); err != nil {
			b.Fatal(err)
		}
	}
}
