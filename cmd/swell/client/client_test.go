package client

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/apiclient"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// testNow is when the commands run.
var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// deadline bounds every wait in these tests.
const deadline = 30 * time.Second

// command makes the root command, connected to the fake.
func (f *fakeAPI) command(out, errOut io.Writer, in io.Reader, args ...string) *cobra.Command {
	f.t.Helper()
	path := filepath.Join(f.t.TempDir(), "kubeconfig")
	config := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","clusters":[{"name":"c","cluster":{"server":%q}}],
"contexts":[{"name":"c","context":{"cluster":"c","user":""}}],"current-context":"c"}`, f.server.URL)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.t.Setenv("KUBECONFIG", path)
	a := &app{version: "v0.test", now: func() time.Time { return testNow }}
	root := &cobra.Command{Use: "swell", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(a.commands()...)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	root.SetIn(in)
	return root
}

// result is what a command did.
type result struct {
	stdout, stderr string
	err            error
}

func (f *fakeAPI) run(args ...string) result {
	f.t.Helper()
	return f.runWith(strings.NewReader(""), args...)
}

func (f *fakeAPI) runWith(in io.Reader, args ...string) result {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var out, errOut bytes.Buffer
	err := f.command(&out, &errOut, in, args...).ExecuteContext(ctx)
	return result{out.String(), errOut.String(), err}
}

func (f *fakeAPI) mustRun(args ...string) result {
	f.t.Helper()
	r := f.run(args...)
	if r.err != nil {
		f.t.Fatalf("swell %s: %v\n%s", strings.Join(args, " "), r.err, r.stderr)
	}
	return r
}

// wantError checks that the command failed, and what it says.
func (r result) wantError(t *testing.T, part string) {
	t.Helper()
	if r.err == nil {
		t.Errorf("no error, want %q; printed %q", part, r.stdout)
		return
	}
	if text := apiclient.Explain(r.err); !strings.Contains(text, part) {
		t.Errorf("error %q, want %q in it", text, part)
	}
}

func (r result) wantUsage(t *testing.T, part string) {
	t.Helper()
	var usage *UsageError
	if !errors.As(r.err, &usage) {
		t.Errorf("error %v is no usage error", r.err)
	}
	r.wantError(t, part)
}

func (r result) wantExit(t *testing.T, code int) {
	t.Helper()
	var exit *ExitError
	if !errors.As(r.err, &exit) || exit.Code != code {
		t.Errorf("error %v, want exit code %d", r.err, code)
	}
}

var durations = regexp.MustCompile(`\b\d+(\.\d+)?(µs|ms|s)\b`)

// golden compares with testdata/NAME; durations read T.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func timeless(s string) string { return durations.ReplaceAllString(s, "T") }

func resources(cpu, memory string) corev1.ResourceRequirements {
	list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	return corev1.ResourceRequirements{Requests: list, Limits: list.DeepCopy()}
}

// runningPod is a pod with these containers, all of which run.
func runningPod(name string, containers ...string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Generation: 1, UID: types.UID("uid-" + name), CreationTimestamp: metav1.NewTime(testNow.Add(-90 * time.Minute))},
		Spec:       corev1.PodSpec{NodeName: "n1"},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.88.0.5"},
	}
	for _, c := range containers {
		size := resources("250m", "512Mi")
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: c, Image: "registry.example/" + c + ":1", Resources: size})
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c, Ready: true, Resources: &size, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}})
	}
	return pod
}

func TestUsage(t *testing.T) {
	f := newFakeAPI(t)
	for _, c := range []struct {
		args string
		want string
	}{
		{"ps a b", `swell ps: unexpected argument "b"`},
		{"ps -A web", "leave out -A"},
		{"resize", "POD is missing"},
		{"resize web", "nothing to change"},
		{"resize web --cpu lots", `--cpu "lots" is no amount: write it like 2, 1.5 or 250m`},
		{"resize web --memory -1Gi", `--memory "-1Gi" is no amount`},
		{"run", "NAME is missing"},
		{"run web", "--image is missing"},
		{"run web --image i --class fast", "must be one of general-purpose, performance, gpu"},
		{"run web --image i --startup-boost 2", `--startup-boost: "2": must be cpu=CPU, for=DURATION or required`},
		{"run web --image i --qos x", "must be one of default, best-effort"},
		{"run web --image i --restart x", "must be one of Always, OnFailure, Never"},
		{"run web --image i --pull x", "must be one of always, missing, never"},
		{"run web --image i --env X", `--env "X": write KEY=VALUE`},
		{"run web --image i --label X", `--label "X": write KEY=VALUE`},
		{"run web --image i --port 0", `--port "0"`},
		{"run web --image i --port 70000", `--port "70000"`},
		{"run web --image i --port :80", `--port ":80"`},
		{"run web --image i --port 80/sctp", `--port "80/sctp"`},
		{"run web --image i --cpu 0", `--cpu "0" is no amount`},
		{"run web --image i --rm -d", "leave out -d"},
		{"run web --image i --rm --restart Always", "leave out one"},
		{"exec web", "COMMAND is missing"},
		{"logs web --tail -3", "--tail -3"},
		{"logs web --since yesterday", "write a duration"},
		{"rm", "POD is missing"},
		{"rm web --force --grace-period 3", "leave out one of"},
		{"nodes cordon", "NODE is missing"},
		{"nodes frobnicate", `unexpected argument "frobnicate"`},
		{"nodes token --ttl 0s", "must be a second or more"},
		{"image import", "FILE is missing"},
	} {
		t.Run(c.args, func(t *testing.T) {
			f.run(strings.Fields(c.args)...).wantUsage(t, c.want)
		})
	}
	if sent := f.requested(""); len(sent) > 0 {
		t.Errorf("commands that can't be understood sent %q", sent)
	}
	r := f.run("ps", "-o", "xml")
	r.wantError(t, "must be one of wide, json, yaml, name")
}

func TestNoServer(t *testing.T) {
	f := newFakeAPI(t)
	f.server.Close()
	for _, args := range []string{"ps", "ps -w", "resize web --cpu 1", "run web --image i", "logs web", "exec web -- true", "rm web",
		"nodes", "nodes token", "image ls", "bill"} {
		f.run(strings.Fields(args)...).wantError(t, "connection refused; is it running?")
	}
}

func TestCompletion(t *testing.T) {
	f := newFakeAPI(t)
	f.set("pods", runningPod("web", "app", "side"))
	f.set("pods", runningPod("db", "db"))
	f.set("nodes", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	f.set("namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
	f.group("GET /namespaces/default/bills", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, v1alpha1.BillList{Items: []v1alpha1.Bill{{ObjectMeta: metav1.ObjectMeta{Name: "gone"}}}})
	})
	for args, want := range map[string][]string{
		"resize ":                   {"db", "web"},
		"resize w":                  {"web"},
		"logs web ":                 nil,
		"rm web ":                   {"db", "web"},
		"logs web -c ":              {"app", "side"},
		"exec pod/web -c s":         {"side"},
		"nodes cordon ":             {"n1"},
		"ps -n ":                    {"default"},
		"run x --class ":            {"general-purpose", "gpu", "performance"},
		"run x --node ":             {"n1"},
		"bill ":                     {"gone"},
		"image ls --node ":          {"n1"},
		"run web --image i --pull ": {"always", "missing", "never"},
	} {
		r := f.mustRun(append([]string{"__complete"}, strings.Split(args, " ")...)...)
		lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
		got := lines[:len(lines)-1]                                                                  // the last is the directive
		got = slices.DeleteFunc(got, func(line string) bool { return strings.Contains(line, "\t") }) // subcommands
		slices.Sort(got)
		if !slices.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
}

func TestVersion(t *testing.T) {
	f := newFakeAPI(t)
	f.extra.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, map[string]string{"gitVersion": "v1.37.0-swell", "goVersion": "go1.26", "platform": "linux/amd64"})
	})
	r := f.mustRun("version")
	if !strings.HasPrefix(r.stdout, "client: v0.test (go") || !strings.HasSuffix(r.stdout, "server: v1.37.0-swell (go1.26, linux/amd64)\n") {
		t.Errorf("got %q", r.stdout)
	}
	if r := f.mustRun("version", "--client", "-o", "json"); strings.Contains(r.stdout, "server") || !strings.Contains(r.stdout, `"version": "v0.test"`) {
		t.Errorf("got %q", r.stdout)
	}
	f.server.Close()
	if r := f.mustRun("version"); !strings.Contains(r.stderr, "connection refused") || !strings.HasPrefix(r.stdout, "client: ") {
		t.Errorf("without a server: %+v", r)
	}
}
