package e2e

import (
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/internal/ociimage"
)

// TestImages brings images to the node by every way there is, and meets those that can't be had.
func TestImages(t *testing.T) {
	scenarios{
		"pull-secret":   pullWithSecret,
		"wrong-secret":  pullWithWrongSecret,
		"late-secret":   pullSecretComesLater,
		"never":         neverPulled,
		"always":        alwaysPulled,
		"invalid-name":  invalidImageName,
		"import-docker": func(t *testing.T, ns string) { importImage(t, ns, "docker", ociimage.WriteArchive) },
		"import-oci":    func(t *testing.T, ns string) { importImage(t, ns, "oci", ociimage.WriteLayout) },
		"import-bad":    importRubbish,
	}.run(t)
}

// guardedRegistry is a registry on loopback that lets ann in by her password only, and says so to others.
// It has the image app:1.
func guardedRegistry(t *testing.T) (host string) {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	login := "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:open sesame"))
	guarded := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != login {
			w.Header().Set("WWW-Authenticate", `Basic realm="cave"`)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"the cave stays shut"}]}`)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(guarded.Close)
	direct := httptest.NewServer(inner)
	defer direct.Close()
	img, err := ociimage.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	if err := ociimage.Push(t.Context(), strings.TrimPrefix(direct.URL, "http://")+"/app:1", img); err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(guarded.URL, "http://")
}

// pullSecret makes the secret that `kubectl create secret docker-registry` makes.
func pullSecret(t *testing.T, ns, host, password string) {
	t.Helper()
	kubectl(t, "-n", ns, "create", "secret", "docker-registry", "login", "--docker-server="+host, "--docker-username=ann", "--docker-password="+password)
}

func pullingPod(host string) *corev1.Pod {
	pod := shellPod("p", "echo pulled")
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.Containers[0].Image = host + "/app:1"
	pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "login"}}
	return pod
}

func pullWithSecret(t *testing.T, ns string) {
	host := guardedRegistry(t)
	pullSecret(t, ns, host, "open sesame")
	equal(t, "output", succeed(t, ns, pullingPod(host)), "pulled\n")
	pod := await(t, client, ns, "p", "there", func(*corev1.Pod) bool { return true })
	mustMatch(t, statusOf(pod, "main").ImageID, `^`+host+`/app@sha256:[0-9a-f]{64}$`)
	awaitEvent(t, ns, "p", `^Pulling: Pulling image "`+host+`/app:1"$`)
	awaitEvent(t, ns, "p", `^Pulled: Successfully pulled image "`+host+`/app:1" in \S+ \(\S+ including waiting\)\. Image size: \d+ bytes\.$`)
}

func pullWithWrongSecret(t *testing.T, ns string) {
	host := guardedRegistry(t)
	pullSecret(t, ns, host, "open barley")
	post(t, ns, pullingPod(host))
	pod := await(t, client, ns, "p", "backing off", waits("main", "ImagePullBackOff"))
	message := statusOf(pod, "main").State.Waiting.Message
	if !contains(message, host+"/app:1") || !contains(message, "the cave stays shut") {
		t.Errorf("the registry's words aren't in %q", message)
	}
	equal(t, "phase", pod.Status.Phase, corev1.PodPending)
	awaitEvent(t, ns, "p", `^Failed: Failed to pull image "`+host+`/app:1": .*the cave stays shut`)
	awaitEvent(t, ns, "p", `^Failed: Error: ErrImagePull$`)
	awaitEvent(t, ns, "p", `^BackOff: Back-off pulling image "`+host+`/app:1"$`)
	if out := kubectl(t, "-n", ns, "get", "pod", "p", "-o", "yaml"); strings.Contains(out, "barley") {
		t.Error("the password is in the pod's status")
	}
}

// pullSecretComesLater has a pod whose secret is made after it; the next attempt uses it.
func pullSecretComesLater(t *testing.T, ns string) {
	host := guardedRegistry(t)
	post(t, ns, pullingPod(host))
	await(t, client, ns, "p", "backing off", waits("main", "ImagePullBackOff"))
	pullSecret(t, ns, host, "open sesame")
	pod := await(t, client, ns, "p", "at its end", ended)
	equal(t, "phase", pod.Status.Phase, corev1.PodSucceeded)
}

func neverPulled(t *testing.T, ns string) {
	pod := shellPod("p", "true")
	pod.Spec.Containers[0].Image = emptyRegistry(t) + "/absent:1"
	pod.Spec.Containers[0].ImagePullPolicy = corev1.PullNever
	ref := pod.Spec.Containers[0].Image
	post(t, ns, pod)
	pod = await(t, client, ns, "p", "refused", waits("main", "ErrImageNeverPull"))
	equal(t, "message", statusOf(pod, "main").State.Waiting.Message, fmt.Sprintf("Container image %q is not present with pull policy of Never", ref))
	awaitEvent(t, ns, "p", "^ErrImageNeverPull: ")
	present := shellPod("present", "echo ran")
	present.Spec.Containers[0].ImagePullPolicy = corev1.PullNever
	equal(t, "output of one that is there", succeed(t, ns, present), "ran\n")
}

// alwaysPulled gets the tag's new image, which a pod that takes what is there doesn't.
func alwaysPulled(t *testing.T, ns string) {
	host := emptyRegistry(t)
	img, err := ociimage.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	ref := host + "/moving:1"
	for i, word := range []string{"first", "second"} {
		if err := ociimage.Push(t.Context(), ref, withEnv(t, img, "WORD="+word)); err != nil {
			t.Fatal(err)
		}
		for policy, want := range map[corev1.PullPolicy]string{corev1.PullAlways: word, corev1.PullIfNotPresent: "first"} {
			if policy == corev1.PullIfNotPresent && i == 1 {
				continue // by then the tag is the second one here, too
			}
			pod := shellPod(fmt.Sprintf("%s-%d", strings.ToLower(string(policy)), i), "echo $WORD")
			pod.Spec.Containers[0].Image, pod.Spec.Containers[0].ImagePullPolicy = ref, policy
			equal(t, pod.Name, succeed(t, ns, pod), want+"\n")
		}
	}
}

func invalidImageName(t *testing.T, ns string) {
	pod := shellPod("p", "true")
	pod.Spec.Containers[0].Image = "Not/A:Name:At/All"
	post(t, ns, pod)
	pod = await(t, client, ns, "p", "refused", waits("main", "InvalidImageName"))
	if message := statusOf(pod, "main").State.Waiting.Message; !contains(message, "Not/A:Name:At/All") {
		t.Errorf("message %q doesn't name the image", message)
	}
	// A name that is corrected is tried at once.
	kubectl(t, "-n", ns, "set", "image", "pod/p", "main="+busybox)
	await(t, client, ns, "p", "run", func(p *corev1.Pod) bool { return statusOf(p, "main").ContainerID != "" })
}

// withEnv makes an image that differs by a variable.
func withEnv(t *testing.T, img v1.Image, variable string) v1.Image {
	t.Helper()
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config := *file.Config.DeepCopy()
	config.Env = append(config.Env, variable)
	if img, err = mutate.Config(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

// importImage brings an archive to the node by the command line and runs what is in it.
func importImage(t *testing.T, ns, kind string, write func(path, ref string, img v1.Image) error) {
	ref := "example.com/imported/" + kind + ":1"
	img, err := ociimage.Busybox()
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "archive.tar")
	if err := write(archive, ref, withEnv(t, img, "KIND="+kind)); err != nil {
		t.Fatal(err)
	}
	out, err := runSwell(t.Context(), shared, "image", "import", archive)
	if err != nil || !contains(out, ref+" imported on ") {
		t.Fatalf("import: %v\n%s", err, out)
	}
	if out, err = runSwell(t.Context(), shared, "image", "ls"); err != nil {
		t.Fatalf("image ls: %v\n%s", err, out)
	}
	mustMatch(t, out, `(?m)^.*example\.com/imported/`+kind+`\W.*$`)
	pod := shellPod("p", "echo $KIND")
	pod.Spec.Containers[0].Image, pod.Spec.Containers[0].ImagePullPolicy = ref, corev1.PullNever
	equal(t, "output", succeed(t, ns, pod), kind+"\n")
}

func importRubbish(t *testing.T, _ string) {
	out, err := runSwell(t.Context(), shared, "image", "import", writeFile(t, "rubbish.tar", strings.Repeat("this is no archive\n", 1000)))
	if err == nil || !contains(out, "image archive") {
		t.Errorf("rubbish: %v\n%s", err, out)
	}
	out, err = runSwell(t.Context(), shared, "image", "import", filepath.Join(t.TempDir(), "none.tar"))
	if err == nil || !contains(out, "no such file") {
		t.Errorf("a file that there isn't: %v\n%s", err, out)
	}
}
