package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// diskBytes is enough for what a fresh data directory takes, and little to fill.
const diskBytes = 700 << 20

// TestFullDisk lets the data directory run full. What can't be stored is refused with the reason, what was
// answered stays, what runs runs on and is metered, and with room again everything goes on.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	err := syscall.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes))
	if errors.Is(err, syscall.EPERM) {
		t.Skip("needs CAP_SYS_ADMIN: mounts a small tmpfs")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	in := newRole(t, "up", filepath.Join(disk, "data"), "--capacity", capacity)
	start(t, in)
	c, err := in.Client()
	if err != nil {
		t.Fatal(err)
	}
	importBusybox(t, in)
	const ns = metav1.NamespaceDefault
	known := map[string]identity{"before": identify(create(t, c, ns, shellPod("before", "exec sleep 100000")))}

	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	_, err = c.CoreV1().Pods(ns).Create(t.Context(), shellPod("during", "exec sleep 100000"), metav1.CreateOptions{})
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		t.Fatalf("create on a full disk: %v", err)
	}
	if said := status.Status(); said.Code != 507 || !strings.Contains(said.Message, "disk") {
		t.Errorf("create on a full disk: %d %s", said.Code, said.Message)
	}
	if is := identify(await(t, c, ns, "before", "ready", ready)); is != known["before"] {
		t.Errorf("pod before was %+v and is %+v", known["before"], is)
	}
	// A new process in a container needs a little room.
	if out, err := runSwell(t.Context(), in, "exec", "before", "--", "true"); err == nil || !strings.Contains(out, "the disk of") {
		t.Errorf("exec on a full disk: %v\n%s", err, out)
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	known["after"] = identify(create(t, c, ns, shellPod("after", "exec sleep 100000")))
	if _, err := c.CoreV1().Pods(ns).Get(t.Context(), "during", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what was refused is there: %v", err)
	}
	killAndBill(t, in, c, known)
}

// fill writes until nothing fits any more.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 512; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
