// Package e2e tests Swell as its users meet it: the built binary as a process, the real kubectl and
// client-go, real containers. It needs root, and what `make` builds in ./bin.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/internal/instance"
	"swell.dev/swell/internal/ociimage"
)

// errNeedsRoot is why the package's tests are skipped.
var errNeedsRoot = errors.New("containers need root")

// Images that every instance is given.
const busybox = "docker.io/library/busybox:e2e"

// capacity lets small machines take all the pods of a test; what is tested isn't the host's size.
const capacity = "cpu=16,memory=16Gi,pods=200"

var (
	shared     *instance.Instance // serves the tests that need no instance of their own
	client     *kubernetes.Clientset
	binDir     string
	archive    string // the busybox image
	workingDir string
)

func TestMain(m *testing.M) {
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func testMain(m *testing.M) (code int, err error) {
	if os.Geteuid() != 0 {
		fmt.Println("e2e: skipped:", errNeedsRoot)
		return 0, nil
	}
	if binDir, err = filepath.Abs("../bin"); err != nil {
		return 1, err
	}
	if _, err := os.Stat(filepath.Join(binDir, "swell")); err != nil {
		return 1, fmt.Errorf("%w: run make first", err)
	}
	if workingDir, err = os.MkdirTemp("", "swell-e2e-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(workingDir)
	img, err := ociimage.Busybox()
	if err != nil {
		return 1, err
	}
	archive = filepath.Join(workingDir, "busybox.tar")
	if err := ociimage.WriteArchive(archive, busybox, img); err != nil {
		return 1, err
	}

	if shared, err = instance.New(instance.Config{
		Binary: filepath.Join(binDir, "swell"), DataDir: filepath.Join(workingDir, "shared"),
		Args: []string{"--capacity", capacity, "--allow-privileged"},
	}); err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	defer func() {
		down, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		err = errors.Join(err, shared.Down(down))
	}()
	if err := shared.Start(ctx); err != nil {
		return 1, err
	}
	if client, err = shared.Client(); err != nil {
		return 1, err
	}
	if out, err := runSwell(ctx, shared, "image", "import", archive); err != nil {
		return 1, fmt.Errorf("image import: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// namespace makes a namespace for one test, removed with all it holds at the test's end.
func namespace(t *testing.T) string {
	t.Helper()
	name := "t-" + strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	createNamespace(t, client, name)
	return name
}

func createNamespace(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	ns := namespaceObject(name)
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		zero := int64(0)
		if err := client.CoreV1().Pods(name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &zero}, metav1.ListOptions{}); err != nil {
			t.Errorf("pods of %s: %v", name, err)
		}
		if err := client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("namespace %s: %v", name, err)
		}
	})
}
