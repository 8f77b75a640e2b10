package store

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// templates are how many workloads the pods of runningPod belong to.
const templates = 20

// runningPod is the i-th of many pods as a create and its nodelet leave it: a spec with its defaults, a
// status with all conditions.
func runningPod(i int) *corev1.Pod {
	template := i % templates
	app := fmt.Sprintf("shop-%d", template)
	created := metav1.NewTime(time.Unix(1_700_000_000+int64(i/100), 0))
	requests := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("512Mi")}
	sizes := corev1.ResourceRequirements{Requests: requests, Limits: requests.DeepCopy()}
	nonRoot, yes, grace := true, true, int64(30)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprintf("team-%d", template%7), Name: fmt.Sprintf("%s-7d9f8b6c5-%06x", app, i),
			UID: types.UID(uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i)).String()), CreationTimestamp: created, Generation: 1,
			Labels: map[string]string{
				"app.kubernetes.io/name": app, "app.kubernetes.io/version": "1.4.2", "pod-template-hash": "7d9f8b6c5", "tier": "frontend",
			},
			Annotations: map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "9090"},
		},
		Spec: corev1.PodSpec{
			NodeName: fmt.Sprintf("node-%04d", i%5000), RestartPolicy: corev1.RestartPolicyAlways, DNSPolicy: corev1.DNSClusterFirst,
			SchedulerName: corev1.DefaultSchedulerName, TerminationGracePeriodSeconds: &grace, EnableServiceLinks: &yes,
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &nonRoot},
			Containers: []corev1.Container{{
				Name: "main", Image: "registry.example/shop/" + app + ":1.4.2", Args: []string{"--listen=:8080", "--metrics=:9090"},
				Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}, {Name: "metrics", ContainerPort: 9090, Protocol: corev1.ProtocolTCP}},
				Env: []corev1.EnvVar{
					{Name: "LOG_LEVEL", Value: "info"}, {Name: "DATABASE_URL", Value: "postgres://db.shop.example:5432/" + app},
					{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}},
				},
				EnvFrom:   []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: app + "-settings"}}}},
				Resources: sizes, ImagePullPolicy: corev1.PullIfNotPresent,
				TerminationMessagePath: corev1.TerminationMessagePathDefault, TerminationMessagePolicy: corev1.TerminationMessageReadFile,
				ReadinessProbe: &corev1.Probe{
					ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}},
					PeriodSeconds: 10, TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: 3,
				},
			}},
		},
		Status: runningStatus(i, app, created, sizes),
	}
}

func runningStatus(i int, app string, created metav1.Time, sizes corev1.ResourceRequirements) corev1.PodStatus {
	began := metav1.NewTime(created.Add(time.Second))
	ip, host := fmt.Sprintf("10.%d.%d.%d", 1+i>>16, i>>8&255, i&255), fmt.Sprintf("192.168.%d.%d", i%5000>>8, i%5000&255)
	started := true
	st := corev1.PodStatus{
		Phase: corev1.PodRunning, ObservedGeneration: 1, QOSClass: corev1.PodQOSGuaranteed, StartTime: &began,
		HostIP: host, HostIPs: []corev1.HostIP{{IP: host}}, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "main", Image: "registry.example/shop/" + app + ":1.4.2", Ready: true, Started: &started,
			ImageID:            "registry.example/shop/" + app + "@sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
			ContainerID:        "containerd://" + uuid.NewSHA1(uuid.Nil, fmt.Append(nil, "c", i)).String() + "-main-0",
			State:              corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: began}},
			AllocatedResources: sizes.Requests, Resources: &sizes,
		}},
	}
	for _, c := range []corev1.PodConditionType{corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled} {
		st.Conditions = append(st.Conditions, corev1.PodCondition{Type: c, Status: corev1.ConditionTrue, LastTransitionTime: began, ObservedGeneration: 1})
	}
	return st
}
