package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestEnvironment looks at the variables that containers begin with.
func TestEnvironment(t *testing.T) {
	scenarios{
		"values":            environmentValues,
		"fields":            environmentFields,
		"resources":         environmentResources,
		"keys":              environmentKeys,
		"missing-configmap": missingConfigMap,
		"missing-key":       missingKey,
		"service-links":     noServiceLinks,
	}.run(t)
}

// printEnvironment shows what the process began with; the shell's own list lacks names that it can't use.
const printEnvironment = `tr '\0' '\n' < /proc/1/environ; true`

// environmentOf runs a pod that prints its variables.
func environmentOf(t *testing.T, ns string, pod *corev1.Pod) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(succeed(t, ns, pod)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		out[name] = value
	}
	return out
}

func sameEnvironment(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if is, ok := got[name]; !ok || is != value {
			t.Errorf("%s is %q (set: %v), not %q", name, is, ok, value)
		}
	}
}

func environmentValues(t *testing.T, ns string) {
	pod := shellPod("p", "")
	pod.Spec.Containers[0].Command = []string{"sh", "-c", printEnvironment + `; pwd | sed s/^/PWD=/; echo "ARGS=$0 $1 $2"`, "$(FIRST)", "$$(FIRST)", "$(UNKNOWN)"}
	pod.Spec.Containers[0].WorkingDir = "/tmp"
	pod.Spec.Containers[0].Env = []corev1.EnvVar{
		{Name: "EARLY", Value: "$(FIRST)"}, // what comes later isn't known yet
		{Name: "FIRST", Value: "one"},
		{Name: "SECOND", Value: "$(FIRST) and $(FIRST)-two"},
		{Name: "ESCAPED", Value: "$$(FIRST) $$$(FIRST) $FIRST"},
		{Name: "UNKNOWN_INSIDE", Value: "<$(NOT_THERE)>"},
		{Name: "EMPTY", Value: ""},
		{Name: "dotted.name", Value: "dots"},
		{Name: "PATH", Value: "/opt/bin:/bin"},
		{Name: "SECOND_TIME", Value: "a"},
		{Name: "SECOND_TIME", Value: "b"},
	}
	sameEnvironment(t, environmentOf(t, ns, pod), map[string]string{
		"EARLY": "$(FIRST)", "FIRST": "one", "SECOND": "one and one-two", "ESCAPED": "$(FIRST) $one $FIRST", "UNKNOWN_INSIDE": "<$(NOT_THERE)>",
		"EMPTY": "", "dotted.name": "dots", "PATH": "/opt/bin:/bin", "SECOND_TIME": "b", "HOSTNAME": "p", "PWD": "/tmp",
		"ARGS": "one $(FIRST) $(UNKNOWN)",
	})
}

func environmentFields(t *testing.T, ns string) {
	pod := shellPod("p", printEnvironment+"; ip -4 -o addr show eth0 | sed 's/.*inet \\([0-9.]*\\).*/ADDRESS=\\1/'")
	pod.Labels = map[string]string{"app": "web", "example.com/tier": "front"}
	pod.Annotations = map[string]string{"note": "a note: with \"quotes\""}
	for name, path := range map[string]string{
		"NAME": "metadata.name", "NAMESPACE": "metadata.namespace", "UID": "metadata.uid", "NODE": "spec.nodeName", "ACCOUNT": "spec.serviceAccountName",
		"APP": "metadata.labels['app']", "TIER": "metadata.labels['example.com/tier']", "NOTE": "metadata.annotations['note']", "NO_LABEL": "metadata.labels['none']",
		"POD_IP": "status.podIP", "POD_IPS": "status.podIPs", "HOST_IP": "status.hostIP",
	} {
		pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, fieldEnv(name, path))
	}
	env := environmentOf(t, ns, pod)
	is := await(t, client, ns, "p", "there", func(*corev1.Pod) bool { return true })
	sameEnvironment(t, env, map[string]string{
		"NAME": "p", "NAMESPACE": ns, "UID": string(is.UID), "NODE": is.Spec.NodeName, "ACCOUNT": "default", "APP": "web", "TIER": "front",
		"NOTE": "a note: with \"quotes\"", "NO_LABEL": "", "POD_IP": is.Status.PodIP, "POD_IPS": is.Status.PodIP, "HOST_IP": is.Status.HostIP,
		"ADDRESS": is.Status.PodIP,
	})
	if env["NODE"] == "" || env["HOST_IP"] == "" || env["POD_IP"] == "" {
		t.Errorf("node %q, its address %q, the pod's %q", env["NODE"], env["HOST_IP"], env["POD_IP"])
	}
}

func environmentResources(t *testing.T, ns string) {
	pod := shellPod("p", printEnvironment)
	pod.Spec.Containers = append(pod.Spec.Containers, shell("other", "true"))
	c := &pod.Spec.Containers[0]
	c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("96Mi")}
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m"), corev1.ResourceMemory: resource.MustParse("160Mi")}
	for name, of := range map[string]struct{ container, resource, divisor string }{
		"REQUEST_MILLI":  {"", "requests.cpu", "1m"},
		"REQUEST_CORES":  {"", "requests.cpu", "1"}, // rounded up
		"LIMIT_CORES":    {"", "limits.cpu", "0"},
		"REQUEST_MEBI":   {"", "requests.memory", "1Mi"},
		"LIMIT_BYTES":    {"", "limits.memory", "0"},
		"LIMIT_GIBI":     {"", "limits.memory", "1Gi"},
		"OTHERS_LIMIT_M": {"other", "limits.cpu", "1m"},
	} {
		c.Env = append(c.Env, corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{
			ContainerName: of.container, Resource: of.resource, Divisor: resource.MustParse(of.divisor),
		}}})
	}
	sameEnvironment(t, environmentOf(t, ns, pod), map[string]string{
		"REQUEST_MILLI": "250", "REQUEST_CORES": "1", "LIMIT_CORES": "2", "REQUEST_MEBI": "96", "LIMIT_BYTES": "167772160", "LIMIT_GIBI": "1",
		"OTHERS_LIMIT_M": "100",
	})
}

func configMap(t *testing.T, ns, name string, data map[string]string) {
	t.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	if _, err := client.CoreV1().ConfigMaps(ns).Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func secret(t *testing.T, ns, name string, data map[string]string) {
	t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data}
	if _, err := client.CoreV1().Secrets(ns).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func configMapKey(name, object, key string, optional bool) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: object}, Key: key, Optional: &optional,
	}}}
}

func secretKey(name, object, key string, optional bool) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: object}, Key: key, Optional: &optional,
	}}}
}

func environmentKeys(t *testing.T, ns string) {
	configMap(t, ns, "settings", map[string]string{"colour": "red", "size": "10", "not.a_name": "kept", "1st": "digit"})
	secret(t, ns, "login", map[string]string{"user": "ann", "password": "secret word"})
	from := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	pod := shellPod("p", printEnvironment)
	c := &pod.Spec.Containers[0]
	c.EnvFrom = []corev1.EnvFromSource{
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: from("settings")}},
		{Prefix: "LOGIN_", SecretRef: &corev1.SecretEnvSource{LocalObjectReference: from("login")}},
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: from("nowhere"), Optional: new(true)}},
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: from("nowhere"), Optional: new(true)}},
	}
	c.Env = []corev1.EnvVar{
		configMapKey("COLOUR", "settings", "colour", false), secretKey("PASSWORD", "login", "password", false),
		configMapKey("NO_MAP", "nowhere", "x", true), configMapKey("NO_KEY", "settings", "x", true),
		secretKey("NO_SECRET", "nowhere", "x", true), secretKey("NO_SECRET_KEY", "login", "x", true),
		{Name: "size", Value: "overridden"},
		{Name: "BOTH", Value: "$(LOGIN_user):$(COLOUR)"},
	}
	env := environmentOf(t, ns, pod)
	sameEnvironment(t, env, map[string]string{
		"colour": "red", "size": "overridden", "not.a_name": "kept", "1st": "digit", "LOGIN_user": "ann", "LOGIN_password": "secret word",
		"COLOUR": "red", "PASSWORD": "secret word", "BOTH": "ann:red",
	})
	for _, absent := range []string{"NO_MAP", "NO_KEY", "NO_SECRET", "NO_SECRET_KEY"} {
		if value, ok := env[absent]; ok {
			t.Errorf("%s is %q, though it is optional and its source isn't there", absent, value)
		}
	}
}

// missingConfigMap names what is missing, and goes on by itself once it is there.
func missingConfigMap(t *testing.T, ns string) {
	pod := shellPod("p", "echo $WORD")
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.Containers[0].Env = []corev1.EnvVar{configMapKey("WORD", "later", "word", false)}
	post(t, ns, pod)
	pod = await(t, client, ns, "p", "told what is missing", waits("main", "CreateContainerConfigError"))
	equal(t, "message", statusOf(pod, "main").State.Waiting.Message, `configmap "later" not found`)
	equal(t, "phase", pod.Status.Phase, corev1.PodPending)
	equal(t, "restarts", statusOf(pod, "main").RestartCount, 0)
	awaitEvent(t, ns, "p", `^Failed: Error: configmap "later" not found$`)
	if _, err := readLog(t, ns, "p", &corev1.PodLogOptions{}); err == nil || !contains(err.Error(), `container "main" in pod "p" is waiting to start: CreateContainerConfigError`) {
		t.Errorf("its log answers %v", err)
	}
	configMap(t, ns, "later", map[string]string{"word": "arrived"})
	pod = await(t, client, ns, "p", "at its end", ended)
	equal(t, "phase", pod.Status.Phase, corev1.PodSucceeded)
	equal(t, "log", logOf(t, ns, "p", "main"), "arrived\n")
}

// missingKey is the same with a key of a secret that is there.
func missingKey(t *testing.T, ns string) {
	secret(t, ns, "login", map[string]string{"user": "ann"})
	pod := shellPod("p", "echo $PASSWORD")
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.Containers[0].Env = []corev1.EnvVar{secretKey("PASSWORD", "login", "password", false)}
	post(t, ns, pod)
	pod = await(t, client, ns, "p", "told what is missing", waits("main", "CreateContainerConfigError"))
	equal(t, "message", statusOf(pod, "main").State.Waiting.Message, "couldn't find key password in Secret "+ns+"/login")
	kubectl(t, "-n", ns, "patch", "secret", "login", "-p", `{"stringData":{"password":"arrived"}}`)
	await(t, client, ns, "p", "at its end", ended)
	equal(t, "log", logOf(t, ns, "p", "main"), "arrived\n")
}

// noServiceLinks: there are no services, so a container has the variables of its image and of its pod.
func noServiceLinks(t *testing.T, ns string) {
	env := environmentOf(t, ns, shellPod("p", printEnvironment))
	sameEnvironment(t, env, map[string]string{"HOSTNAME": "p"})
	for name := range env {
		switch name {
		case "PATH", "HOSTNAME", "HOME":
		default:
			t.Errorf("%s=%s comes from nowhere", name, env[name])
		}
	}
}
