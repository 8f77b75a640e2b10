package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestLogs reads what containers print, on disk and through the API.
func TestLogs(t *testing.T) {
	scenarios{
		"on-disk":     logOnDisk,
		"rotation":    logRotation,
		"options":     logOptions,
		"which":       whichLog,
		"follow-ends": followEnds,
	}.run(t)
}

// logFiles answers the files of a container's log on the host, oldest first.
func logFiles(t *testing.T, pod *corev1.Pod, container string) []string {
	t.Helper()
	path := filepath.Join(dataDir(shared), "nodelet", "logs", fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, pod.UID), container, "0.log")
	files := []string{path}
	for i := 1; ; i++ {
		older := fmt.Sprintf("%s.%d", path, i)
		if _, err := os.Stat(older); err != nil {
			return files
		}
		files = append([]string{older}, files...)
	}
}

var criEntry = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) (F|P) `)

func logOnDisk(t *testing.T, ns string) {
	pod := shellPod("p", `echo to stdout; echo to stderr >&2; head -c 20000 /dev/zero | tr '\0' x; echo; printf 'no newline'`)
	pod, out := once(t, ns, pod)
	if want := "to stdout\n" + strings.Repeat("x", 20000) + "\nno newline"; strings.Replace(out, "to stderr\n", "", 1) != want {
		t.Errorf("the log has %d bytes, not %d and a line of stderr", len(out), len(want))
	}
	raw, err := os.ReadFile(logFiles(t, pod, "main")[0])
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for line := range strings.Lines(string(raw)) {
		m := criEntry.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("not an entry of a CRI log: %q", line[:min(80, len(line))])
		}
		if m[1] == "stdout" {
			kinds = append(kinds, m[2])
		}
	}
	equal(t, "entries of stdout", strings.Join(kinds, ""), "FPFP") // a line, a long one in pieces, one without an end
	mustMatch(t, string(raw), `(?m)^\S+ stderr F to stderr$`)
}

// logRotation follows a log over a rotation and misses no line, whose files stay below their size.
func logRotation(t *testing.T, ns string) {
	const lines, rotatedAt = 250_000, 10 << 20
	pod := emptyDir(shellPod("p", fmt.Sprintf("echo begun; until [ -e /scratch/go ]; do sleep 0.1; done; seq %d; exec sleep 100000", lines)), "/scratch", corev1.EmptyDirVolumeSource{})
	pod = create(t, client, ns, pod)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := client.CoreV1().Pods(ns).GetLogs("p", &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	scan := bufio.NewScanner(stream)
	if !scan.Scan() || scan.Text() != "begun" {
		t.Fatalf("the first line is %q, %v", scan.Text(), scan.Err())
	}
	touch(t, shared, string(pod.UID), "scratch", "go")
	for i := 1; i <= lines; i++ {
		if !scan.Scan() || scan.Text() != fmt.Sprint(i) {
			t.Fatalf("line %d is %q, %v", i, scan.Text(), scan.Err())
		}
	}
	files := logFiles(t, pod, "main")
	if len(files) < 2 {
		t.Errorf("the log wasn't rotated: %v", files)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > rotatedAt {
			t.Errorf("%s: %d bytes, %v", f, info.Size(), err)
		}
	}
	whole, err := readLog(t, ns, "p", &corev1.PodLogOptions{})
	if err != nil || strings.Count(whole, "\n") != lines+1 {
		t.Errorf("the whole log has %d lines, %v", strings.Count(whole, "\n"), err)
	}
	n := int64(200_000) // reaches into the rotated file
	tail, err := readLog(t, ns, "p", &corev1.PodLogOptions{TailLines: &n})
	if err != nil || strings.Count(tail, "\n") != int(n) || !strings.HasPrefix(tail, fmt.Sprintf("%d\n", lines-n+1)) {
		t.Errorf("the tail has %d lines, %v", strings.Count(tail, "\n"), err)
	}
}

func logOptions(t *testing.T, ns string) {
	post(t, ns, shellPod("p", "echo one; echo two; sleep 3; echo three; exec sleep 100000"))
	pod := await(t, client, ns, "p", "ready", ready)
	// In whole seconds, and known only after the process runs.
	started := statusOf(pod, "main").State.Running.StartedAt.Add(-time.Second)
	logs := startFollowing(t, "kubectl", "-n", ns, "logs", "-f", "p")
	logs.await(t, "three\n")
	get := func(args ...string) string {
		t.Helper()
		return kubectl(t, append([]string{"-n", ns, "logs", "p"}, args...)...)
	}
	equal(t, "log", get(), "one\ntwo\nthree\n")
	equal(t, "tail of 2", get("--tail=2"), "two\nthree\n")
	equal(t, "tail of 0", get("--tail=0"), "")
	equal(t, "tail of more than there is", get("--tail=100"), "one\ntwo\nthree\n")
	equal(t, "first 5 bytes", get("--limit-bytes=5"), "one\nt")
	equal(t, "since an hour ago", get("--since=1h"), "one\ntwo\nthree\n")
	stamped := strings.Split(strings.TrimSpace(get("--timestamps")), "\n")
	if len(stamped) != 3 {
		t.Fatalf("with timestamps: %q", stamped)
	}
	stamp, text, _ := strings.Cut(stamped[2], " ")
	equal(t, "text after the timestamp", text, "three")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		t.Fatal(err)
	}
	// A line has the time at which it was read, so that only a lower bound is sure of any.
	for _, line := range stamped {
		stamp, text, _ := strings.Cut(line, " ")
		least := started
		if text == "three" {
			least = started.Add(3 * time.Second)
		}
		if read, err := time.Parse(time.RFC3339Nano, stamp); err != nil || read.Before(least) || read.After(time.Now()) {
			t.Errorf("line %q of a container that was started after %s: %v", line, started, err)
		}
	}
	equal(t, "since the third line", get("--since-time="+at.UTC().Truncate(time.Second).Format(time.RFC3339)), "three\n")
	equal(t, "since tomorrow", get("--since-time="+time.Now().UTC().Add(24*time.Hour).Format(time.RFC3339)), "")
	if out, code := kubectlCode(t, "", "-n", ns, "logs", "p", "--previous"); code == 0 || !contains(out, `previous terminated container "main" in pod "p" not found`) {
		t.Errorf("the log of a former run that there wasn't: exit %d\n%s", code, out)
	}
}

// whichLog names one container of several.
func whichLog(t *testing.T, ns string) {
	pod := shellPod("p", "echo from main; exec sleep 100000")
	pod.Spec.InitContainers = []corev1.Container{shell("before", "echo from before")}
	pod.Spec.Containers = append(pod.Spec.Containers, shell("beside", "echo from beside; exec sleep 100000"))
	create(t, client, ns, pod)
	for _, name := range []string{"before", "main", "beside"} {
		logs := startFollowing(t, "kubectl", "-n", ns, "logs", "-f", "p", "-c", name)
		logs.await(t, "from "+name+"\n")
	}
	_, err := readLog(t, ns, "p", &corev1.PodLogOptions{})
	if !apierrors.IsBadRequest(err) || !contains(err.Error(), "a container name must be specified for pod p, choose one of: [main beside] or one of the init containers: [before]") {
		t.Errorf("without a container's name: %v", err)
	}
	if out, code := kubectlCode(t, "", "-n", ns, "logs", "p", "-c", "none"); code == 0 || !contains(out, "container none is not valid for pod p") {
		t.Errorf("the log of a container that there isn't: exit %d\n%s", code, out)
	}
	out := kubectl(t, "-n", ns, "logs", "p", "--all-containers", "--prefix")
	for _, name := range []string{"before", "main", "beside"} {
		mustMatch(t, out, `(?m)^\[pod/p/`+name+`\] from `+name+`$`)
	}
}

// followEnds shows that following a log ends with the container, also where that ended before, and where
// its last line has no newline.
func followEnds(t *testing.T, ns string) {
	pod := emptyDir(shellPod("p", "echo begun; until [ -e /scratch/go ]; do sleep 0.1; done; printf 'last words'"), "/scratch", corev1.EmptyDirVolumeSource{})
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod = create(t, client, ns, pod)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := command(ctx, shared, "kubectl", "-n", ns, "logs", "-f", "p")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	touch(t, shared, string(pod.UID), "scratch", "go")
	if err := cmd.Wait(); err != nil || out.String() != "begun\nlast words" {
		t.Errorf("followed from before its end: %q, %v", out.String(), err)
	}
	await(t, client, ns, "p", "at its end", ended)
	equal(t, "followed after its end", kubectl(t, "-n", ns, "logs", "-f", "p"), "begun\nlast words")
	if err := client.CoreV1().Pods(ns).Delete(t.Context(), "p", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, client, ns, "p")
	awaitNothing(t, string(pod.UID))
}
