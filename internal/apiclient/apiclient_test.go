package apiclient

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func writeKubeconfig(t *testing.T, path, server, namespace string) {
	t.Helper()
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: swell, cluster: {server: %q}}]
users: [{name: admin, user: {token: secret}}]
contexts: [{name: swell, context: {cluster: swell, user: admin, namespace: %q}}]
current-context: swell
`, server, namespace)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoadPrecedence(t *testing.T) {
	dirs := map[string]string{}
	for _, name := range []string{"flag", "datadir", "env", "default"} {
		dirs[name] = t.TempDir()
		writeKubeconfig(t, filepath.Join(dirs[name], KubeconfigName), "https://"+name, "ns-"+name)
	}
	full := Source{
		Kubeconfig:     filepath.Join(dirs["flag"], KubeconfigName),
		DataDir:        dirs["datadir"],
		Environment:    filepath.Join(dirs["env"], "absent") + string(os.PathListSeparator) + filepath.Join(dirs["env"], KubeconfigName),
		defaultDataDir: dirs["default"],
	}
	for _, c := range []struct {
		want string
		drop func(*Source)
	}{
		{"flag", func(*Source) {}},
		{"datadir", func(s *Source) { s.Kubeconfig = "" }},
		{"env", func(s *Source) { s.Kubeconfig, s.DataDir = "", "" }},
		{"default", func(s *Source) { s.Kubeconfig, s.DataDir, s.Environment = "", "", "" }},
	} {
		s := full
		c.drop(&s)
		config, namespace, err := s.Load()
		if err != nil {
			t.Errorf("%s: %v", c.want, err)
			continue
		}
		if config.Host != "https://"+c.want || namespace != "ns-"+c.want || config.BearerToken != "secret" {
			t.Errorf("%s: host %s, namespace %s", c.want, config.Host, namespace)
		}
	}
	full.Namespace = "asked"
	if _, namespace, err := full.Load(); err != nil || namespace != "asked" {
		t.Errorf("namespace %s, %v", namespace, err)
	}
}

func TestLoadSaysWhatToDo(t *testing.T) {
	empty := t.TempDir()
	broken := filepath.Join(empty, "broken")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		source Source
		want   string
	}{
		"nothing":     {Source{defaultDataDir: empty}, "kubeconfig " + empty + "/kubeconfig: no such file or directory; start the system with `swell up`"},
		"data dir":    {Source{DataDir: empty}, "swell up --data-dir " + empty},
		"flag":        {Source{Kubeconfig: empty + "/x"}, empty + "/x: no such file or directory; give the path"},
		"environment": {Source{Environment: empty + "/x"}, "$KUBECONFIG names it"},
		"broken":      {Source{Kubeconfig: broken}, "kubeconfig " + broken + ":"},
	} {
		_, _, err := c.source.Load()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
}

func TestExplain(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	hidden := apierrors.NewConflict(pods, "web", errors.New("changed"))
	hidden.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: "FieldManagerConflict", Field: ".spec.image", Message: `conflict with "kubectl"`}}
	dial := func(cause error) error {
		return &url.Error{Op: "Get", URL: "https://127.0.0.1:6443/api/v1/pods?limit=500", Err: &net.OpError{Op: "dial", Net: "tcp", Err: cause}}
	}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"not found": {apierrors.NewNotFound(pods, "web"), "pods \"web\" not found; `swell ps -A` lists the pods of all namespaces"},
		"wrapped":   {fmt.Errorf("bill: %w", apierrors.NewNotFound(pods, "web")), "bill: pods \"web\" not found; `swell ps -A` lists the pods of all namespaces"},
		"invalid": {
			apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "web", field.ErrorList{field.Required(field.NewPath("spec", "containers"), "")}),
			"Pod \"web\" is invalid: spec.containers: Required value",
		},
		"causes":       {hidden, "Operation cannot be fulfilled on pods \"web\": changed\n  .spec.image: conflict with \"kubectl\"; somebody changed it meanwhile: try again"},
		"unauthorized": {apierrors.NewUnauthorized("Unauthorized"), "Unauthorized; the API doesn't know these credentials: use the kubeconfig that this `swell up` wrote"},
		"refused":      {dial(syscall.ECONNREFUSED), "API at https://127.0.0.1:6443: connection refused; is it running? Start it with `swell up`"},
		"bare dial":    {&net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 6443}, Err: syscall.ECONNREFUSED}, "API at 127.0.0.1:6443: connection refused; is it running? Start it with `swell up`"},
		"reset":        {dial(syscall.ECONNRESET), "API at https://127.0.0.1:6443: dial tcp: connection reset by peer"},
		"joined":       {errors.Join(errors.New("one"), apierrors.NewNotFound(pods, "b")), "one\npods \"b\" not found; `swell ps -A` lists the pods of all namespaces"},
		"plain":        {errors.New("nothing special"), "nothing special"},
	} {
		if got := Explain(c.err); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", name, got, c.want)
		}
	}
}

func TestExplainForeignCertificate(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	server.Config.ErrorLog = nil
	_, err := http.Get(server.URL)
	if err == nil {
		t.Fatal("an unknown certificate was accepted")
	}
	want := "API at " + server.URL + ": its certificate is signed by another CA than the kubeconfig's"
	if got := Explain(err); !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want prefix %q", got, want)
	}
}
