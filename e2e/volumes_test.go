package e2e

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestVolumes mounts every kind of volume.
func TestVolumes(t *testing.T) {
	scenarios{
		"emptydir-disk":    emptyDirOnDisk,
		"emptydir-evicted": emptyDirEvicted,
		"emptydir-memory":  emptyDirInMemory,
		"configmap":        configMapVolume,
		"configmap-later":  configMapLater,
		"secret":           secretVolume,
		"projected":        projectedVolume,
		"downward":         downwardVolume,
		"subpath":          subPaths,
		"fsgroup":          fsGroupVolumes,
	}.run(t)
}

// updateWithin is how soon a change of a config map, a secret or the pod's labels is in the volumes of a
// pod whose node is connected; it takes milliseconds, on a machine that has time.
const updateWithin = 20 * time.Second

// awaitInside runs a script in a pod until it succeeds, and answers how long that took.
func awaitInside(t *testing.T, ns, pod, script string) time.Duration {
	t.Helper()
	begun := time.Now()
	kubectl(t, "-n", ns, "exec", pod, "--", "sh", "-c", "for i in $(seq 1000); do { "+script+"; } && exit 0; sleep 0.05; done; exit 1")
	return time.Since(begun)
}

// emptyDirOnDisk outlives a container, and everybody may write to it.
func emptyDirOnDisk(t *testing.T, ns string) {
	pod := shellPod("p", `id -u; stat -c %a /scratch; [ -e /scratch/n ] || { echo kept > /scratch/n; exit 1; }; cat /scratch/n; grep ' /scratch ' /proc/mounts | cut -d' ' -f3`)
	pod.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64(1000))}
	pod = emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{})
	made, out := once(t, ns, pod)
	equal(t, "phase", made.Status.Phase, corev1.PodSucceeded)
	if strings.Contains(out, "tmpfs") {
		t.Errorf("it isn't on disk")
	}
	mustMatch(t, out, `^1000\n777\nkept\n`)
}

// emptyDirEvicted writes more to a volume than its limit.
func emptyDirEvicted(t *testing.T, ns string) {
	pod := shellPod("p", "dd if=/dev/zero of=/scratch/big bs=1M count=5; exec sleep 100000")
	post(t, ns, emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{SizeLimit: resource.NewQuantity(1<<20, resource.BinarySI)}))
	pod = await(t, client, ns, "p", "at its end", ended)
	equal(t, "phase", pod.Status.Phase, corev1.PodFailed)
	equal(t, "reason", pod.Status.Reason, "Evicted")
	equal(t, "message", strings.TrimSpace(pod.Status.Message), `Usage of EmptyDir volume "scratch" exceeds the limit "1Mi".`)
	equal(t, "condition DisruptionTarget", conditionOf(pod, corev1.DisruptionTarget).Status, corev1.ConditionTrue)
	awaitEvent(t, ns, "p", "^Evicted: ")
}

// emptyDirInMemory holds as much as its limit and no more.
func emptyDirInMemory(t *testing.T, ns string) {
	pod := shellPod("p", `dd if=/dev/zero of=/scratch/fits bs=512k count=1 2>/dev/null && echo fits
dd if=/dev/zero of=/scratch/big bs=1M count=3 2>&1 | grep -o 'No space left on device'
stat -c %s /scratch/fits; df -k /scratch | tail -1 | awk '{print $2}'; grep ' /scratch ' /proc/mounts | cut -d' ' -f3`)
	pod = emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: resource.NewQuantity(1<<20, resource.BinarySI)})
	equal(t, "output", succeed(t, ns, pod), "fits\nNo space left on device\n524288\n1024\ntmpfs\n")
}

func configMapSource(name string) *corev1.ConfigMapVolumeSource {
	return &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}
}

func configMapVolume(t *testing.T, ns string) {
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings"},
		Data:       map[string]string{"a.conf": "one", "b.conf": "two", "d.conf": "three"}, BinaryData: map[string][]byte{"c.bin": {0, 255, 10}},
	}
	if _, err := client.CoreV1().ConfigMaps(ns).Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := shellPod("p", `exec 2>&1; cd /all; for f in *; do echo "$f $(stat -Lc %a $f) $(cat $f | xxd -p)"; done
cd /some; find -L . -type f | grep -v '/\.\.' | sort; stat -Lc %a deep/er/x y; cat deep/er/x; echo
echo no > /all/a.conf; echo no > /all/new; echo ready; exec sleep 100000`)
	withVolume(pod, "/all", corev1.VolumeSource{ConfigMap: configMapSource("settings")})
	some := configMapSource("settings")
	some.DefaultMode = new(int32(0o400))
	some.Items = []corev1.KeyToPath{{Key: "a.conf", Path: "deep/er/x"}, {Key: "b.conf", Path: "y", Mode: new(int32(0o640))}}
	withVolume(pod, "/some", corev1.VolumeSource{ConfigMap: some})
	optional := configMapSource("nowhere")
	optional.Optional = new(true)
	withVolume(pod, "/optional", corev1.VolumeSource{ConfigMap: optional})
	create(t, client, ns, pod)
	logs := startFollowing(t, "kubectl", "-n", ns, "logs", "-f", "p")
	logs.await(t, "ready\n")
	mustMatch(t, logs.String(), `^a.conf 644 6f6e65\nb.conf 644 74776f\nc.bin 644 00ff0a\nd.conf 644 7468726565\n\./deep/er/x\n\./y\n400\n640\none\n`)
	equal(t, "writes that were refused", strings.Count(logs.String(), "Read-only file system"), 2)
	equal(t, "files of the optional one", inside(t, ns, "p", "ls /optional"), "")

	kubectl(t, "-n", ns, "patch", "configmap", "settings", "-p", `{"data":{"a.conf":"changed","d.conf":null,"e.conf":"new"}}`)
	took := awaitInside(t, ns, "p", `[ "$(cat /all/a.conf)" = changed ] && [ "$(cat /some/deep/er/x)" = changed ]`)
	t.Logf("a change of the config map was there after %s", took)
	if took > updateWithin {
		t.Errorf("the change took %s", took)
	}
	equal(t, "files", inside(t, ns, "p", "ls /all"), "a.conf\nb.conf\nc.bin\ne.conf\n")
	configMap(t, ns, "nowhere", map[string]string{"late": "here"})
	awaitInside(t, ns, "p", `[ "$(cat /optional/late)" = here ]`)
}

// configMapLater holds a pod back until the config map that it mounts is there.
func configMapLater(t *testing.T, ns string) {
	pod := shellPod("p", "cat /etc/settings/word")
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	post(t, ns, withVolume(pod, "/etc/settings", corev1.VolumeSource{ConfigMap: configMapSource("later")}))
	awaitEvent(t, ns, "p", `^FailedMount: MountVolume.SetUp failed for volume "etc-settings" : configmap "later" not found$`)
	pod = await(t, client, ns, "p", "held back", waits("main", "ContainerCreating"))
	equal(t, "phase", pod.Status.Phase, corev1.PodPending)
	configMap(t, ns, "later", map[string]string{"word": "arrived"})
	await(t, client, ns, "p", "at its end", ended)
	equal(t, "log", logOf(t, ns, "p", "main"), "arrived")
}

func secretVolume(t *testing.T, ns string) {
	secret(t, ns, "login", map[string]string{"user": "ann", "password": "secret word"})
	pod := shellPod("p", "exec sleep 100000")
	withVolume(pod, "/login", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "login", DefaultMode: new(int32(0o400))}})
	create(t, client, ns, pod)
	equal(t, "volume", inside(t, ns, "p", `cd /login; cat user; echo; cat password; echo; stat -Lc %a user; grep ' /login ' /proc/mounts | cut -d' ' -f3; touch /login/x 2>&1`+" || true"),
		"ann\nsecret word\n400\ntmpfs\ntouch: /login/x: Read-only file system\n")
	kubectl(t, "-n", ns, "patch", "secret", "login", "-p", `{"stringData":{"password":"another"}}`)
	if took := awaitInside(t, ns, "p", `[ "$(cat /login/password)" = another ]`); took > updateWithin {
		t.Errorf("the change took %s", took)
	}
}

func projectedVolume(t *testing.T, ns string) {
	configMap(t, ns, "settings", map[string]string{"colour": "red", "size": "10"})
	secret(t, ns, "login", map[string]string{"user": "ann"})
	from := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	pod := shellPod("p", `cd /all; find -L . -type f | grep -v '/\.\.' | sort; cat conf/colour login/user; echo; cat meta/name; echo; stat -Lc %a conf/colour login/user; grep ' /all ' /proc/mounts | cut -d' ' -f3`)
	withVolume(pod, "/all", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		DefaultMode: new(int32(0o440)),
		Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: from("settings"), Items: []corev1.KeyToPath{{Key: "colour", Path: "conf/colour"}}}},
			{Secret: &corev1.SecretProjection{LocalObjectReference: from("login"), Items: []corev1.KeyToPath{{Key: "user", Path: "login/user", Mode: new(int32(0o400))}}}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "meta/name", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}}},
			{Secret: &corev1.SecretProjection{LocalObjectReference: from("nowhere"), Optional: new(true)}},
		},
	}})
	equal(t, "volume", succeed(t, ns, pod), "./conf/colour\n./login/user\n./meta/name\nredann\np\n440\n400\ntmpfs\n")
}

func downwardVolume(t *testing.T, ns string) {
	field := func(path, field string) corev1.DownwardAPIVolumeFile {
		return corev1.DownwardAPIVolumeFile{Path: path, FieldRef: &corev1.ObjectFieldSelector{FieldPath: field}}
	}
	pod := shellPod("p", "exec sleep 100000")
	pod.Labels = map[string]string{"app": "web", "tier": "front"}
	pod.Annotations = map[string]string{"note": "kept"}
	withVolume(pod, "/about", corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
		field("labels", "metadata.labels"), field("note", "metadata.annotations['note']"), field("deep/uid", "metadata.uid"),
		{Path: "memory", ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "main", Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}},
	}}})
	made := create(t, client, ns, pod)
	equal(t, "volume", inside(t, ns, "p", "cd /about; for f in labels note deep/uid memory; do cat $f; echo; done"),
		"app=\"web\"\ntier=\"front\"\nkept\n"+string(made.UID)+"\n64\n")
	kubectl(t, "-n", ns, "label", "pod", "p", "tier-", "colour=blue")
	took := awaitInside(t, ns, "p", `grep -q blue /about/labels`)
	t.Logf("a change of the labels was there after %s", took)
	if took > updateWithin {
		t.Errorf("the change took %s", took)
	}
	equal(t, "labels", inside(t, ns, "p", "cat /about/labels"), "app=\"web\"\ncolour=\"blue\"")
	kubectl(t, "-n", ns, "patch", "pod", "p", "--subresource", "resize", "-p", `{"spec":{"containers":[{"name":"main","resources":{"requests":{"memory":"80Mi"},"limits":{"memory":"80Mi"}}}]}}`)
	awaitInside(t, ns, "p", `[ "$(cat /about/memory)" = 80 ]`)
}

// subPaths mounts parts of volumes, made where they are missing, one by the container's environment.
func subPaths(t *testing.T, ns string) {
	configMap(t, ns, "settings", map[string]string{"a.conf": "one", "b.conf": "two"})
	pod := shellPod("p", `exec 2>&1; cat /etc/app/a.conf; echo; ls /etc/app; echo mine > /data/file; cat /whole/p/data/file; echo no > /read-only/x; ls /whole /etc/passwd`)
	pod.Spec.Volumes = []corev1.Volume{
		{Name: "conf", VolumeSource: corev1.VolumeSource{ConfigMap: configMapSource("settings")}},
		{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
	}
	c := &pod.Spec.Containers[0]
	c.Env = []corev1.EnvVar{fieldEnv("POD", "metadata.name")}
	c.VolumeMounts = []corev1.VolumeMount{
		{Name: "conf", MountPath: "/etc/app/a.conf", SubPath: "a.conf"},
		{Name: "scratch", MountPath: "/data", SubPathExpr: "$(POD)/data"},
		{Name: "scratch", MountPath: "/read-only", SubPath: "other", ReadOnly: true},
		{Name: "scratch", MountPath: "/whole"},
	}
	equal(t, "output", succeed(t, ns, pod), "one\na.conf\nmine\nsh: can't create /read-only/x: Read-only file system\n/etc/passwd\n\n/whole:\nother\np\n")
	// One that leads out of its volume is refused when it is asked for.
	pod = shellPod("escape", "true")
	pod = emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{})
	pod.Spec.Containers[0].VolumeMounts[0].SubPath = "../.."
	if _, err := client.CoreV1().Pods(ns).Create(t.Context(), pod, metav1.CreateOptions{}); err == nil || !contains(err.Error(), "subPath") {
		t.Errorf("a subPath out of its volume answers %v", err)
	}
}

// fsGroupVolumes gives volumes to a group that the pod's processes are in.
func fsGroupVolumes(t *testing.T, ns string) {
	secret(t, ns, "login", map[string]string{"user": "ann"})
	pod := shellPod("p", `id -G; for d in /scratch /memory; do touch $d/file; stat -c '%g %a' $d; stat -c %g $d/file; done; cat /login/user; echo; stat -Lc '%g %a' /login/user`)
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(1234)), RunAsGroup: new(int64(1234)), FSGroup: new(int64(4321))}
	emptyDir(pod, "/scratch", corev1.EmptyDirVolumeSource{})
	emptyDir(pod, "/memory", corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory})
	withVolume(pod, "/login", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "login", DefaultMode: new(int32(0o400))}})
	equal(t, "output", succeed(t, ns, pod), "1234 4321\n4321 2777\n4321\n4321 2777\n4321\nann\n4321 440\n")
}
