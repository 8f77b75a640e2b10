package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"swell.dev/swell/internal/instance"
)

// TestUpAgain ends swell by Ctrl-C and starts it again: the containers run on and every second is metered.
func TestUpAgain(t *testing.T) {
	in, c := newInstance(t)
	const ns = metav1.NamespaceDefault
	known := map[string]identity{"web": identify(create(t, c, ns, shellPod("web", "exec sleep 100000")))}
	pid := pidOf(t, inKernel(t, known["web"].uid, "main"))
	if err := in.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the container's process %d after Ctrl-C: %v", pid, err)
	}
	start(t, in)
	if is := identify(await(t, c, ns, "web", "ready again", ready)); is != known["web"] {
		t.Errorf("pod web was %+v and is %+v", known["web"], is)
	}
	if is := pidOf(t, inKernel(t, known["web"].uid, "main")); is != pid {
		t.Errorf("the process was %d and is %d", pid, is)
	}
	if out := kubectlOf(t, in, "exec", "web", "--", "echo", "still here"); out != "still here\n" {
		t.Errorf("exec after the restart: %q", out)
	}
	checkMetering(t, in, c, known)
}

// traces is what an instance may have made on the host outside of its data directory.
func traces(t *testing.T, dataDir string) string {
	t.Helper()
	id, err := os.ReadFile(filepath.Join(dataDir, "instance"))
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSpace(string(id))
	var found []string
	for _, pattern := range []string{"/sys/fs/cgroup/swell-" + name, "/sys/fs/cgroup/*/swell-" + name, "/run/swell-" + name} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, paths...)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dataDir) || strings.Contains(line, "swell-"+name) {
			found = append(found, "mount "+strings.TrimSpace(line))
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if strings.Contains(l.Name, name) {
			found = append(found, "interface "+l.Name)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		// One that ended meanwhile can't be read and is none.
		if line, err := os.ReadFile(p); err == nil && strings.Contains(string(line), dataDir) {
			found = append(found, "process "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return strings.Join(found, "\n")
}

// TestDown removes what an instance made, once with swell ended before and once while it runs.
func TestDown(t *testing.T) {
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running=%v", running), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			in := newRole(t, "up", dir, "--capacity", capacity)
			start(t, in)
			c, err := in.Client()
			if err != nil {
				t.Fatal(err)
			}
			importBusybox(t, in)
			pod := shellPod("web", "exec sleep 100000")
			medium := corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: resource.NewQuantity(1<<20, resource.BinarySI)}
			pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &medium}}}
			pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
			create(t, c, metav1.NamespaceDefault, pod)
			if made := traces(t, dir); !strings.Contains(made, "cgroup") || !strings.Contains(made, "mount") || !strings.Contains(made, "interface") {
				t.Fatalf("a running instance has only:\n%s", made)
			}
			if !running {
				if err := in.Signal(syscall.SIGINT); err != nil {
					t.Fatal(err)
				}
			}
			down := exec.CommandContext(t.Context(), filepath.Join(binDir, "swell"), "down", "--data-dir", dir)
			if out, err := down.CombinedOutput(); err != nil {
				t.Fatalf("swell down: %v\n%s", err, out)
			}
			if left := traces(t, dir); left != "" {
				t.Errorf("swell down left:\n%s", left)
			}
		})
	}
}

// TestWhoMayComeIn shows that nothing but health and version is answered without credentials.
func TestWhoMayComeIn(t *testing.T) {
	cfg, err := shared.REST()
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(cfg))
	if err != nil {
		t.Fatal(err)
	}
	anonymous := &http.Client{Transport: transport}
	for path, want := range map[string]int{
		"/healthz": 200, "/livez": 200, "/readyz": 200, "/version": 200,
		"/api": 401, "/apis": 401, "/api/v1/pods": 401, "/openapi/v3": 401, "/openapi/v2": 401, "/metrics": 401,
		"/apis/swell.dev/v1alpha1/bills": 401, "/apis/swell.dev/v1alpha1/jointokens": 401, "/": 401,
	} {
		res, err := anonymous.Get(cfg.Host + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s without credentials: %s, want %d", path, res.Status, want)
		}
	}
}

// TestPrivilegesNeedTheOperator refuses rights over the host where the operator hasn't allowed them.
func TestPrivilegesNeedTheOperator(t *testing.T) {
	control := newRole(t, "controlplane", filepath.Join(t.TempDir(), "control"), "--node-listen", "127.0.0.1:0")
	start(t, control)
	c, err := control.Client()
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	pod := shellPod("root", "true")
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	_, err = c.CoreV1().Pods(metav1.NamespaceDefault).Create(t.Context(), pod, metav1.CreateOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.containers[0].securityContext.privileged") {
		t.Errorf("a privileged pod: %v", err)
	}
}

// TestRefusals are the one-line answers to what a user gets wrong first.
func TestRefusals(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"port taken":          {[]string{"up", "--data-dir", filepath.Join(dir, "a"), "--listen", taken.Addr().String()}, []string{"--listen", taken.Addr().String(), "choose another"}},
		"bad address":         {[]string{"up", "--data-dir", filepath.Join(dir, "b"), "--listen", "6443"}, []string{"--listen", `"6443"`, "host:port"}},
		"bad capacity":        {[]string{"up", "--data-dir", filepath.Join(dir, "c"), "--listen", "127.0.0.1:0", "--capacity", "cpu=lots"}, []string{"--capacity", `"lots"`}},
		"bad range":           {[]string{"up", "--data-dir", filepath.Join(dir, "d"), "--listen", "127.0.0.1:0", "--pod-cidr", "10.0.0.0"}, []string{"--pod-cidr"}},
		"data directory held": {[]string{"up", "--data-dir", filepath.Dir(shared.Kubeconfig()), "--listen", "127.0.0.1:0"}, []string{"swell runs on it already", fmt.Sprint(shared.PID())}},
		"prices missing":      {[]string{"up", "--data-dir", filepath.Join(dir, "e"), "--listen", "127.0.0.1:0", "--price-file", "/no/such/file"}, []string{"--price-file", "/no/such/file"}},
		"joining nobody":      {[]string{"nodelet", "--data-dir", filepath.Join(dir, "f")}, []string{"--join"}},
		"joining without":     {[]string{"nodelet", "--data-dir", filepath.Join(dir, "g"), "--join", "127.0.0.1:1"}, []string{"--token", "swell nodes token"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), filepath.Join(binDir, "swell"), c.args...).CombinedOutput()
			if err == nil {
				t.Fatalf("it worked:\n%s", out)
			}
			for _, want := range c.says {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in: %s", want, out)
				}
			}
			if n := strings.Count(strings.TrimSpace(string(out)), "\n"); n > 0 {
				t.Errorf("%d lines instead of one:\n%s", n+1, out)
			}
		})
	}
}

// TestOneTimeToken lets one node join, under its own name only.
func TestOneTimeToken(t *testing.T) {
	nodes, err := instance.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	control := newRole(t, "controlplane", filepath.Join(dir, "control"), "--node-listen", nodes)
	start(t, control)
	c, err := control.Client()
	if err != nil {
		t.Fatal(err)
	}
	flags := join(t, control, nodes)
	first := newRole(t, "nodelet", filepath.Join(dir, "first"), append(flags, "--node-name", "first")...)
	start(t, first)
	awaitNode(t, c, "first")
	second := newRole(t, "nodelet", filepath.Join(dir, "second"), append(flags, "--node-name", "second")...)
	if err := second.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("the token was taken again: %v", err)
	}
	// The certificate that the node has says who it is, whatever it calls itself.
	if err := first.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	posing := newRole(t, "nodelet", filepath.Join(dir, "first"), append(flags, "--node-name", "other")...)
	if err := posing.Start(t.Context()); err == nil || !strings.Contains(err.Error(), `"first"`) {
		t.Errorf("node first calls itself other: %v", err)
	}
}
