package billing

import (
	"testing"

	usagev1 "swell.dev/swell/api/usage/v1"
)

func TestWorkloadOf(t *testing.T) {
	for _, c := range []struct {
		pod    string
		labels map[string]string
		want   Workload
	}{
		{"web-6f7c9d8b5-x2x4z", map[string]string{"pod-template-hash": "6f7c9d8b5", "app": "other"}, Workload{"Deployment", "web"}},
		{"web-6f7c9d8b5-x2x4z", map[string]string{"pod-template-hash": "different"}, Workload{"ReplicaSet", "web-6f7c9d8b5"}},
		{"6f-x2x4z", map[string]string{"pod-template-hash": "6f"}, Workload{"ReplicaSet", "6f"}},
		{"nightly-29384720-b4c5d", map[string]string{"batch.kubernetes.io/job-name": "nightly-29384720"}, Workload{"CronJob", "nightly"}},
		{"once-2-b4c5d", map[string]string{"job-name": "once-2"}, Workload{"Job", "once-2"}},
		{"db-0", map[string]string{"apps.kubernetes.io/pod-index": "0", "app": "db"}, Workload{"StatefulSet", "db"}},
		{"db-12", map[string]string{"statefulset.kubernetes.io/pod-name": "db-12"}, Workload{"StatefulSet", "db"}},
		{"agent-x2x4z", map[string]string{"controller-revision-hash": "5c"}, Workload{"DaemonSet", "agent"}},
		{"x", map[string]string{"app.kubernetes.io/name": "shop", "app": "s"}, Workload{"App", "shop"}},
		{"x", map[string]string{"app": "s"}, Workload{"App", "s"}},
		{"batch-x2x4z", nil, Workload{"Pod", "batch"}},
		{"web-front", nil, Workload{"Pod", "web-front"}}, // vowels are never generated
		{"web-x2x4", nil, Workload{"Pod", "web-x2x4"}},
		{"-x2x4z", nil, Workload{"Pod", "-x2x4z"}},
		{"", nil, Workload{"Pod", ""}},
	} {
		s := &usagev1.Segment{Pod: c.pod, Labels: c.labels}
		if got := WorkloadOf(s); got != c.want {
			t.Errorf("%s %v: %v, want %v", c.pod, c.labels, got, c.want)
		}
		if n := testing.AllocsPerRun(10, func() { WorkloadOf(s) }); n != 0 {
			t.Errorf("%s: %v allocations", c.pod, n)
		}
	}
}
