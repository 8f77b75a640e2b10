package admission

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/yaml"
)

// What kube-apiserver 1.37.2 makes of a pod with something of everything, apart from sizes.
const everything = `
volumes:
- {name: cm, configMap: {name: a}}
- {name: s, secret: {secretName: a}}
- name: d
  downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.name}}, {path: b, resourceFieldRef: {containerName: c, resource: limits.cpu}}]}
- {name: pr, projected: {sources: [{downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.name}}]}}, {configMap: {name: a}}]}}
- {name: e}
- {name: mem, emptyDir: {medium: Memory}}
initContainers:
- {name: i, image: x, resources: {limits: {cpu: 1, memory: 1Gi}}}
containers:
- name: c
  image: reg:5000/img
  ports: [{containerPort: 80}, {containerPort: 53, protocol: UDP}]
  env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: B, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]
  livenessProbe: {httpGet: {port: 80}}
  readinessProbe: {grpc: {port: 80}, periodSeconds: 3, timeoutSeconds: 2, successThreshold: 2, failureThreshold: 9}
  startupProbe: {tcpSocket: {port: x}}
  lifecycle: {postStart: {httpGet: {port: 80}}, preStop: {sleep: {seconds: 3}}}
  resources: {requests: {cpu: 100m}, limits: {cpu: 200m, memory: 1Gi}}
`

const defaulted = `
restartPolicy: Always
dnsPolicy: ClusterFirst
schedulerName: default-scheduler
terminationGracePeriodSeconds: 30
enableServiceLinks: true
securityContext: {}
volumes:
- {name: cm, configMap: {name: a, defaultMode: 0644}}
- {name: s, secret: {secretName: a, defaultMode: 0644}}
- name: d
  downwardAPI:
    defaultMode: 0644
    items: [{path: a, fieldRef: {apiVersion: v1, fieldPath: metadata.name}}, {path: b, resourceFieldRef: {containerName: c, resource: limits.cpu, divisor: 0}}]
- {name: pr, projected: {defaultMode: 0644, sources: [{downwardAPI: {items: [{path: a, fieldRef: {apiVersion: v1, fieldPath: metadata.name}}]}}, {configMap: {name: a}}]}}
- {name: e, emptyDir: {}}
- {name: mem, emptyDir: {medium: Memory}}
initContainers:
- name: i
  image: x
  imagePullPolicy: Always
  terminationMessagePath: /dev/termination-log
  terminationMessagePolicy: File
  resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1, memory: 1Gi}}
containers:
- name: c
  image: reg:5000/img
  imagePullPolicy: Always
  terminationMessagePath: /dev/termination-log
  terminationMessagePolicy: File
  ports: [{containerPort: 80, protocol: TCP}, {containerPort: 53, protocol: UDP}]
  env: [{name: A, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}}, {name: B, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 0}}}]
  livenessProbe: {httpGet: {port: 80, path: /, scheme: HTTP}, timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3}
  readinessProbe: {grpc: {port: 80, service: ""}, periodSeconds: 3, timeoutSeconds: 2, successThreshold: 2, failureThreshold: 9}
  startupProbe: {tcpSocket: {port: x}, timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3}
  lifecycle: {postStart: {httpGet: {port: 80, path: /, scheme: HTTP}}, preStop: {sleep: {seconds: 3}}}
  resources: {requests: {cpu: 100m, memory: 1Gi}, limits: {cpu: 200m, memory: 1Gi}}
`

func TestDefaultEverything(t *testing.T) {
	got, want := podOf(t, everything), podOf(t, defaulted)
	DefaultPod(got)
	if got.Status.Phase != corev1.PodPending {
		t.Errorf("phase %q", got.Status.Phase)
	}
	if !equality.Semantic.DeepEqual(got.Spec, want.Spec) {
		is, _ := yaml.Marshal(got.Spec)
		should, _ := yaml.Marshal(want.Spec)
		t.Errorf("got\n%s\nwant\n%s", is, should)
	}
	if errs := ValidatePod(got); len(errs) > 0 {
		t.Errorf("a pod with what Swell honours is refused: %v", errs.ToAggregate())
	}
	again := got.DeepCopy()
	DefaultPod(again)
	if !equality.Semantic.DeepEqual(again, got) {
		t.Error("defaulting twice isn't defaulting once")
	}
}

func TestDefaultKeepsWhatIsSaid(t *testing.T) {
	const spec = `
restartPolicy: Never
dnsPolicy: Default
terminationGracePeriodSeconds: 0
enableServiceLinks: false
securityContext: {runAsUser: 7}
schedulerName: mine
volumes: [{name: cm, configMap: {name: a, defaultMode: 0400}}, {name: s, secret: {secretName: a, defaultMode: 0}}]
containers:
- {name: c, image: i, imagePullPolicy: Never, terminationMessagePath: /x, terminationMessagePolicy: FallbackToLogsOnError,
   resources: {requests: {cpu: 1, memory: 1}, limits: {cpu: 2, memory: 2}}, resizePolicy: [{resourceName: cpu, restartPolicy: RestartContainer}]}
`
	got, want := podOf(t, spec), podOf(t, spec)
	DefaultPod(got)
	if !equality.Semantic.DeepEqual(got.Spec, want.Spec) {
		is, _ := yaml.Marshal(got.Spec)
		t.Errorf("changed to\n%s", is)
	}
}

func TestDefaultPullPolicy(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("a", 64)
	for image, want := range map[string]corev1.PullPolicy{
		"img": "Always", "img:latest": "Always", "img:1": "IfNotPresent", "img" + digest: "IfNotPresent",
		"img:latest" + digest: "Always", "img:v1" + digest: "IfNotPresent",
		"reg:5000/img": "Always", "reg:5000/img:1": "IfNotPresent", "reg:5000/a/img:latest": "Always",
		"localhost/img": "Always", "NOT A NAME": "IfNotPresent", "": "IfNotPresent",
	} {
		c := corev1.Container{Image: image}
		defaultContainer(&c, nil)
		if c.ImagePullPolicy != want {
			t.Errorf("%q: %s, want %s", image, c.ImagePullPolicy, want)
		}
	}
}

// TestDefaultResources holds docs/decisions/0003.
func TestDefaultResources(t *testing.T) {
	for _, c := range []struct{ name, given, want string }{
		{"nothing", "{}", "{requests: {cpu: 250m, memory: 512Mi}, limits: {cpu: 250m, memory: 512Mi}}"},
		{"requests", "{requests: {cpu: 1, memory: 1Gi}}", "{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}}"},
		{"limits", "{limits: {cpu: 1, memory: 1Gi}}", "{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 1, memory: 1Gi}}"},
		{"both", "{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}}", "{requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2, memory: 2Gi}}"},
		{"one of each", "{requests: {cpu: 1}, limits: {memory: 2Gi}}", "{requests: {cpu: 1, memory: 2Gi}, limits: {cpu: 1, memory: 2Gi}}"},
		{"cpu alone", "{requests: {cpu: 2}}", "{requests: {cpu: 2, memory: 512Mi}, limits: {cpu: 2, memory: 512Mi}}"},
		{"less than can be counted", "{requests: {cpu: 100u, memory: 1n}}", "{requests: {cpu: 1m, memory: 1m}, limits: {cpu: 1m, memory: 1m}}"},
		{"zero is said", "{requests: {cpu: 0}}", "{requests: {cpu: 0, memory: 512Mi}, limits: {cpu: 0, memory: 512Mi}}"},
		{"others are left", "{limits: {example.com/x: 1}}", "{requests: {cpu: 250m, memory: 512Mi}, limits: {cpu: 250m, memory: 512Mi, example.com/x: 1}}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod, want := podOf(t, container("resources: "+c.given)), podOf(t, container("resources: "+c.want))
			DefaultPod(pod)
			if got := pod.Spec.Containers[0].Resources; !equality.Semantic.DeepEqual(got, want.Spec.Containers[0].Resources) {
				t.Errorf("got %v", got)
			}
		})
	}
}
