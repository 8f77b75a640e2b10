package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/internal/instance"
)

// dataDir is where an instance keeps everything.
func dataDir(in *instance.Instance) string { return filepath.Dir(in.Kubeconfig()) }

// volumeOf answers the folder of a pod's volume on the host.
func volumeOf(t *testing.T, in *instance.Instance, uid, volume string) string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(dataDir(in), "nodelet", "volumes", uid, "volumes", volume))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("volume %s of pod %s: %v, %v", volume, uid, dirs, err)
	}
	return dirs[0]
}

// touch makes a file in a pod's volume.
func touch(t *testing.T, in *instance.Instance, uid, volume, file string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(volumeOf(t, in, uid, volume), file), nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// leftOf answers what a pod has on the host: cgroups, volumes, its record, its address, its logs.
func leftOf(uid string) []string {
	nodelet := filepath.Join(dataDir(shared), "nodelet")
	var found []string
	for _, pattern := range []string{
		"/sys/fs/cgroup/*/pod" + uid, "/sys/fs/cgroup/*/*/pod" + uid,
		filepath.Join(nodelet, "*", uid), filepath.Join(nodelet, "network", "pods", uid+".json"), filepath.Join(nodelet, "logs", "*"+uid),
	} {
		if paths, err := filepath.Glob(pattern); err == nil {
			found = append(found, paths...)
		}
	}
	return found
}

// awaitNothing waits until nothing of a pod is left on the host. The kernel has no event for that.
func awaitNothing(t *testing.T, uid string) {
	t.Helper()
	timeout := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		left := leftOf(uid)
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("of pod %s is left: %v", uid, left)
		}
	}
}

func fieldEnv(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}
