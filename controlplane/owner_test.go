package controlplane

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestOwnerOf(t *testing.T) {
	by := func(kind, name string, controller bool) []metav1.OwnerReference {
		return []metav1.OwnerReference{{Kind: "Other", Name: "other"}, {Kind: kind, Name: name, Controller: &controller}}
	}
	app := map[string]string{LabelAppName: "shop"}
	for _, c := range []struct {
		name string
		meta metav1.ObjectMeta
		want string
	}{
		{"alone", metav1.ObjectMeta{Name: "web"}, "Pod/web"},
		{"with a generated name", metav1.ObjectMeta{Name: "web-x7k2p", GenerateName: "web-"}, "Pod/web"},
		{"a generated name without a prefix", metav1.ObjectMeta{Name: "x7k2p", GenerateName: "-"}, "Pod/x7k2p"},
		{"an application's", metav1.ObjectMeta{Name: "web", Labels: app}, "App/shop"},
		{"a StatefulSet's", metav1.ObjectMeta{Name: "db-0", Labels: app, OwnerReferences: by("StatefulSet", "db", true)}, "StatefulSet/db"},
		{"owned and not controlled", metav1.ObjectMeta{Name: "db-0", OwnerReferences: by("StatefulSet", "db", false)}, "Pod/db-0"},
		{"a Deployment's", metav1.ObjectMeta{Name: "web-6f-x", Labels: map[string]string{"pod-template-hash": "6f"}, OwnerReferences: by("ReplicaSet", "web-6f", true)}, "Deployment/web"},
		{"a bare ReplicaSet's", metav1.ObjectMeta{Name: "web-6f-x", OwnerReferences: by("ReplicaSet", "web-6f", true)}, "ReplicaSet/web-6f"},
		{"a Job's", metav1.ObjectMeta{Name: "once-x", OwnerReferences: by("Job", "once-2", true)}, "Job/once-2"},
		{"a CronJob's", metav1.ObjectMeta{Name: "n-x", OwnerReferences: by("Job", "nightly-29384720", true)}, "CronJob/nightly"},
		{"a Job that is called like a number", metav1.ObjectMeta{Name: "n-x", OwnerReferences: by("Job", "-29384720", true)}, "Job/-29384720"},
	} {
		c.meta.Namespace = "ns"
		got := OwnerOf(&corev1.Pod{ObjectMeta: c.meta})
		if got.Namespace != "ns" || got.Kind+"/"+got.Name != c.want {
			t.Errorf("%s: %+v, want %s", c.name, got, c.want)
		}
	}
}
