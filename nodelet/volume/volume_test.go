package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/nodelet"
)

const uid = "6f1a2b3c-0000-4000-8000-000000000001"

func newManager(t *testing.T) *Manager {
	t.Helper()
	m, err := New(Config{Dir: filepath.Join(t.TempDir(), "volumes"), CPUCapacity: 4000, MemoryCapacity: 8 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Remove(context.Background(), uid); err != nil {
			t.Errorf("clean-up: %v", err)
		}
	})
	return m
}

func assignment(volumes ...corev1.Volume) nodelet.Assignment {
	return nodelet.Assignment{
		Pod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: uid, Labels: map[string]string{"app": "web", "tier": "front"}},
			Spec: corev1.PodSpec{
				Volumes: volumes,
				Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{
					Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")},
				}}},
			},
		},
		ConfigMaps: map[string]*corev1.ConfigMap{"cm": {Data: map[string]string{"a": "1", "b": "2"}, BinaryData: map[string][]byte{"bin": {0, 1}}}},
		Secrets:    map[string]*corev1.Secret{"sec": {Data: map[string][]byte{"key": []byte("hush")}}},
	}
}

func prepare(t *testing.T, m *Manager, a nodelet.Assignment) map[string]string {
	t.Helper()
	paths, err := m.Prepare(context.Background(), a, "10.0.0.1")
	if errors.Is(err, nodelet.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func configMapVolume(items ...corev1.KeyToPath) corev1.Volume {
	return corev1.Volume{Name: "conf", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Items: items,
	}}}
}

func secretVolume() corev1.Volume {
	return corev1.Volume{Name: "sec", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "sec"}}}
}

// tree reads a volume as a container sees it: names without the versions.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var walk func(path, name string)
	walk = func(path, name string) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			list, err := os.ReadDir(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				walk(filepath.Join(path, e.Name()), name+"/"+e.Name())
			}
			return
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(raw)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "..") {
			walk(filepath.Join(dir, e.Name()), e.Name())
		}
	}
	return out
}

func equal(t *testing.T, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for k, v := range want {
		if got[k] != v {
			t.Fatalf("%s: got %q, want %q", k, got[k], v)
		}
	}
}

func TestConfigMap(t *testing.T) {
	m := newManager(t)
	a := assignment(configMapVolume())
	dir := prepare(t, m, a)["conf"]
	equal(t, tree(t, dir), map[string]string{"a": "1", "b": "2", "bin": "\x00\x01"})

	version, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil {
		t.Fatal(err)
	}
	prepare(t, m, a)
	if again, err := os.Readlink(filepath.Join(dir, dataLink)); err != nil || again != version {
		t.Fatalf("the same content made a new version: %q, then %q (%v)", version, again, err)
	}

	held, err := os.Open(filepath.Join(dir, dataLink))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	a.ConfigMaps["cm"] = &corev1.ConfigMap{Data: map[string]string{"b": "3", "c": "4"}}
	prepare(t, m, a)
	equal(t, tree(t, dir), map[string]string{"b": "3", "c": "4"})
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 4 { // ..data, one version, b, c
		t.Fatalf("left behind: %v", entries)
	}
}

// TestCrash leaves what a process that was killed in the middle leaves.
func TestCrash(t *testing.T) {
	m := newManager(t)
	a := assignment(configMapVolume())
	dir := prepare(t, m, a)["conf"]
	if err := os.Mkdir(filepath.Join(dir, version+"half"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(version+"half", filepath.Join(dir, dataNext)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	prepare(t, m, a)
	equal(t, tree(t, dir), map[string]string{"a": "1", "b": "2", "bin": "\x00\x01"})
	for _, name := range []string{version + "half", dataNext} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there (%v)", name, err)
		}
	}
}

func TestItemsModesAndGroup(t *testing.T) {
	m := newManager(t)
	mode := int32(0o400)
	a := assignment(configMapVolume(corev1.KeyToPath{Key: "a", Path: "etc/app/a.conf", Mode: &mode}))
	gid := int64(os.Getgid() + 1234)
	a.Pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: &gid}
	if os.Geteuid() != 0 {
		t.Skip("changing a file's group needs root")
	}
	dir := prepare(t, m, a)["conf"]
	equal(t, tree(t, dir), map[string]string{"etc/app/a.conf": "1"})
	info, err := os.Stat(filepath.Join(dir, "etc/app/a.conf"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o440 {
		t.Errorf("mode %o, want 440", got)
	}
	if got := info.Sys().(*syscall.Stat_t).Gid; int64(got) != gid {
		t.Errorf("group %d, want %d", got, gid)
	}
}

func TestSecretInMemory(t *testing.T) {
	m := newManager(t)
	a := assignment(secretVolume(), corev1.Volume{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
		Medium: corev1.StorageMediumMemory, SizeLimit: resource.NewQuantity(1<<20, resource.BinarySI),
	}}})
	paths := prepare(t, m, a)
	equal(t, tree(t, paths["sec"]), map[string]string{"key": "hush"})
	for _, dir := range paths {
		if mounted, err := isMount(dir); err != nil || !mounted {
			t.Errorf("%s: mounted %v, %v", dir, mounted, err)
		}
	}
	err := os.WriteFile(filepath.Join(paths["scratch"], "f"), make([]byte, 2<<20), 0o600)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("2 MiB into a volume of 1 MiB: %v", err)
	}
	// A manager of a later process removes what this one mounted.
	again, err := New(m.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if uids, err := again.List(context.Background()); err != nil || len(uids) != 1 || uids[0] != uid {
		t.Fatalf("list: %v, %v", uids, err)
	}
	if err := again.Remove(context.Background(), uid); err != nil {
		t.Fatal(err)
	}
	if left, err := mountsBelow(m.cfg.Dir); err != nil || len(left) != 0 {
		t.Errorf("mounts remain: %v, %v", left, err)
	}
	if uids, err := again.List(context.Background()); err != nil || len(uids) != 0 {
		t.Errorf("list: %v, %v", uids, err)
	}
	if err := again.Remove(context.Background(), uid); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestProjectedAndDownward(t *testing.T) {
	m := newManager(t)
	a := assignment(corev1.Volume{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Items: []corev1.KeyToPath{{Key: "a", Path: "conf/a"}}}},
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "sec"}}},
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}, Optional: new(true)}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
				{Path: "tier", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['tier']"}},
				{Path: "cpu", ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "c", Resource: "limits.cpu", Divisor: resource.MustParse("1m")}},
				{Path: "memory", ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "c", Resource: "limits.memory", Divisor: resource.MustParse("1Gi")}},
			}}},
		},
	}}})
	equal(t, tree(t, prepare(t, m, a)["all"]), map[string]string{
		"conf/a": "1", "key": "hush", "labels": "app=\"web\"\ntier=\"front\"", "tier": "front", "cpu": "1500", "memory": "8",
	})
}

func TestRefusals(t *testing.T) {
	missing := configMapVolume()
	missing.ConfigMap.Name = "none"
	for name, c := range map[string]struct {
		volume corev1.Volume
		want   string
	}{
		"no config map": {missing, `MountVolume.SetUp failed for volume "conf" : configmap "none" not found`},
		"no key":        {configMapVolume(corev1.KeyToPath{Key: "z", Path: "z"}), `MountVolume.SetUp failed for volume "conf" : configmap references non-existent config key: z`},
		"out of it":     {configMapVolume(corev1.KeyToPath{Key: "a", Path: "../a"}), `MountVolume.SetUp failed for volume "conf" : path "../a": must stay in the volume`},
		"host path": {corev1.Volume{Name: "h", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}},
			`MountVolume.SetUp failed for volume "h" : volume source: not supported on this host`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newManager(t).Prepare(context.Background(), assignment(c.volume), "")
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// TestSharedMemory is there for pods of several containers, keeps what is in it, and goes with the pod.
func TestSharedMemory(t *testing.T) {
	m := newManager(t)
	a := assignment()
	if got := prepare(t, m, a); len(got) != 0 {
		t.Errorf("a pod of one container got %v", got)
	}
	a.Pod.Spec.Containers = []corev1.Container{{Name: "a"}, {Name: "b"}}
	dir := prepare(t, m, a)[nodelet.SharedMemory]
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o777 || info.Mode()&os.ModeSticky == 0 {
		t.Fatalf("shared memory: %v, %v", info, err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC || fs.Blocks*uint64(fs.Bsize) != sharedBytes {
		t.Errorf("it is %+v, %v", fs, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := prepare(t, m, a)[nodelet.SharedMemory]; again != dir {
		t.Errorf("it moved to %s", again)
	}
	if _, err := os.Stat(filepath.Join(dir, "f")); err != nil {
		t.Errorf("it was emptied: %v", err)
	}
	if err := m.Remove(context.Background(), uid); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("it outlives its pod: %v", err)
	}
}

func TestUsage(t *testing.T) {
	m := newManager(t)
	a := assignment(corev1.Volume{Name: "disk", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: resource.NewQuantity(64<<10, resource.BinarySI)}}})
	dir := prepare(t, m, a)["disk"]
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o777 {
		t.Fatalf("emptyDir: %v, %v", info.Mode(), err)
	}
	if over, err := m.Usage(context.Background(), uid); err != nil || len(over) != 0 {
		t.Fatalf("empty: %v, %v", over, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, 256<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	over, err := m.Usage(context.Background(), uid)
	if err != nil || len(over) != 1 || !strings.HasPrefix(over[0], "disk: ") || !strings.HasSuffix(over[0], " > 65536") {
		t.Fatalf("256 KiB over 64 KiB: %q, %v", over, err)
	}
	prepare(t, m, a)
	if raw, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || len(raw) != 256<<10 {
		t.Fatalf("an emptyDir in use was changed: %d bytes, %v", len(raw), err)
	}
}

func TestSubPath(t *testing.T) {
	m := newManager(t)
	a := assignment(configMapVolume(), corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	paths := prepare(t, m, a)
	ask := func(volume, path string) (string, error) {
		return m.SubPath(context.Background(), nodelet.SubPath{PodUID: uid, Volume: volume, Container: "c", Path: path})
	}
	got, err := ask("conf", "a")
	if errors.Is(err, nodelet.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(got); err != nil || string(raw) != "1" {
		t.Fatalf("a file of a config map: %q, %v", raw, err)
	}
	// The same mount again, as after a restart of the container; this time a folder that must be made.
	if got, err = ask("data", "x/y"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(got, "f"), []byte("in"), 0o600); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(paths["data"], "x/y/f")); err != nil || string(raw) != "in" {
		t.Fatalf("a made folder: %q, %v", raw, err)
	}
	if info, err := os.Stat(filepath.Join(paths["data"], "x")); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("mode of a made folder: %v, %v", info.Mode(), err)
	}
	// Links that lead out are held inside.
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("host"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(paths["data"], "out")); err != nil {
		t.Fatal(err)
	}
	if got, err := ask("data", "out/secret"); err == nil {
		raw, _ := os.ReadFile(got)
		t.Errorf("a link out of the volume led to %q at %s", raw, got)
	}
	for _, path := range []string{"../x", "/etc", ""} {
		if _, err := ask("data", path); err == nil {
			t.Errorf("subPath %q was accepted", path)
		}
	}
}

func TestUnescape(t *testing.T) {
	if got := unescape(`/a\040b\134c`); got != `/a b\c` {
		t.Error(got)
	}
}
