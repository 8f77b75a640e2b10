package admission

import (
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

// TestSpellingsAreOneWorkload: a slot policy's template as its user wrote it, and a pod as it is when it is
// created, make one workload, however each says the same.
func TestSpellingsAreOneWorkload(t *testing.T) {
	const sizes = "resources: {limits: {cpu: 500m, memory: 1Gi}}"
	for _, c := range []struct{ name, template, pod string }{
		{"nothing set, and all defaults", container("ports: [{containerPort: 80}]"), `
restartPolicy: Always
dnsPolicy: ClusterFirst
schedulerName: default-scheduler
terminationGracePeriodSeconds: 30
enableServiceLinks: true
securityContext: {}
containers:
- name: c
  image: example.com/app:1
  imagePullPolicy: IfNotPresent
  terminationMessagePath: /dev/termination-log
  terminationMessagePolicy: File
  ports: [{containerPort: 80, protocol: TCP}]`},
		{"quantities", container(sizes), container("resources: {requests: {cpu: 0.5, memory: 1024Mi}, limits: {cpu: '0.5', memory: '1073741824'}}")},
		{"parts of thousandths", container("resources: {limits: {cpu: 0.0005, memory: 1Gi}}"), container("resources: {limits: {cpu: 1m, memory: 1Gi}}")},
		{"limits as requests", container("resources: {requests: {cpu: 500m, memory: 1Gi}}"), container(sizes)},
		{"empty parts", container(sizes), container(sizes+", securityContext: {}, lifecycle: {}, env: [], ports: []") + "\naffinity: {}\ntolerations: []\nnodeSelector: {}\ndnsConfig: {}"},
		{"volumes", container(sizes) + "\nvolumes: [{name: v}, {name: w, emptyDir: {sizeLimit: 1Gi}}]", container(sizes) + "\nvolumes: [{name: v, emptyDir: {}}, {name: w, emptyDir: {sizeLimit: 1024Mi}}]"},
		{"priority", container(sizes), container(sizes) + "\npriority: 7\npriorityClassName: high\npreemptionPolicy: Never"},
		{"environment and names", container(sizes), container(sizes+", env: [{name: A, value: b}]") + "\nhostname: other"},
	} {
		template, pod := podOf(t, c.template), podOf(t, c.pod)
		pod.Labels = map[string]string{"app": "of a selector"}
		DefaultPod(template)
		DefaultPod(pod)
		want := controlplane.PodTemplate(template)
		raw, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		asJSON, asProtobuf := &corev1.Pod{}, &corev1.Pod{}
		if err := json.Unmarshal(raw, asJSON); err != nil {
			t.Fatal(err)
		}
		if raw, err = pod.Marshal(); err != nil {
			t.Fatal(err)
		}
		if err := asProtobuf.Unmarshal(raw); err != nil {
			t.Fatal(err)
		}
		for i, p := range []*corev1.Pod{pod, asJSON, asProtobuf} {
			if controlplane.PodTemplate(p) != want {
				t.Errorf("%s: template and pod are two workloads (form %d)", c.name, i)
			}
		}
	}
}
