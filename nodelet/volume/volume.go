// Package volume makes the volumes of pods on the host: emptyDir on disk or in memory, config maps,
// secrets (never on disk), projected and downward API volumes.
//
//	<dir>/<pod UID>/volumes/<volume>             what containers mount; a tmpfs where it must not reach a disk
//	<dir>/<pod UID>/subpaths/<container>/<n>     the n-th mount's part of a volume, bound where it can't move
//
// Everything below <dir>/<pod UID> goes with the pod, mounts of a former process included.
package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/nodelet"
)

// Config says where volumes are.
type Config struct {
	Dir            string // of our own; made where it is missing
	CPUCapacity    int64  // milli-CPU of the host, for resourceFieldRef without a limit
	MemoryCapacity int64  // bytes of the host, likewise
}

// Manager implements nodelet.Volumes.
type Manager struct {
	cfg Config

	mu     sync.Mutex // guards what follows
	limits map[string]map[string]limit
	busy   map[string]*sync.Mutex // one pod's volumes are changed by one call at a time
}

var _ nodelet.Volumes = (*Manager)(nil)

// New makes a manager and its folder.
func New(cfg Config) (*Manager, error) {
	if cfg.Dir == "" {
		return nil, errors.New("volume config: Dir is required")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("volume folder %s: %w", cfg.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("volume folder %s: %w", dir, err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil { // as the kernel's table of mounts has it
		return nil, fmt.Errorf("volume folder %s: %w", dir, err)
	}
	cfg.Dir = dir
	return &Manager{cfg: cfg, limits: make(map[string]map[string]limit), busy: make(map[string]*sync.Mutex)}, nil
}

func (m *Manager) podDir(uid string) string { return filepath.Join(m.cfg.Dir, uid) }

func (m *Manager) volumeDir(uid, volume string) string {
	return filepath.Join(m.podDir(uid), "volumes", volume)
}

// lock keeps others from the pod's volumes.
func (m *Manager) lock(uid string) (unlock func()) {
	m.mu.Lock()
	l := m.busy[uid]
	if l == nil {
		l = new(sync.Mutex)
		m.busy[uid] = l
	}
	m.mu.Unlock()
	l.Lock()
	return l.Unlock
}

// Prepare makes every volume of the pod or brings it up to date, and answers a host path per volume.
func (m *Manager) Prepare(ctx context.Context, a nodelet.Assignment, _ string) (map[string]string, error) {
	uid := string(a.Pod.UID)
	if !filepath.IsLocal(uid) {
		return nil, fmt.Errorf("pod UID %q: not a name", uid)
	}
	defer m.lock(uid)()
	out := make(map[string]string, len(a.Pod.Spec.Volumes))
	limits := make(map[string]limit)
	for i := range a.Pod.Spec.Volumes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		v := &a.Pod.Spec.Volumes[i]
		dir := m.volumeDir(uid, v.Name)
		if err := os.MkdirAll(filepath.Dir(dir), 0o750); err != nil {
			return nil, setUpError(v.Name, err)
		}
		var err error
		if v.EmptyDir != nil {
			err = m.emptyDir(dir, a.Pod, v.EmptyDir)
			if q := v.EmptyDir.SizeLimit; q != nil && !q.IsZero() {
				limits[v.Name] = limit{bytes: q.Value(), memory: v.EmptyDir.Medium == corev1.StorageMediumMemory}
			}
		} else {
			err = m.config(dir, a, v)
		}
		if err != nil {
			return nil, setUpError(v.Name, err)
		}
		out[v.Name] = dir
	}
	if len(a.Pod.Spec.Containers)+len(a.Pod.Spec.InitContainers) > 1 {
		dir := m.volumeDir(uid, nodelet.SharedMemory)
		if err := sharedMemory(dir); err != nil {
			return nil, fmt.Errorf("shared memory of pod %s: %w", uid, err)
		}
		out[nodelet.SharedMemory] = dir
	}
	m.mu.Lock()
	m.limits[uid] = limits
	m.mu.Unlock()
	return out, nil
}

// sharedBytes is what containerd gives a container's /dev/shm, and Kubernetes' pods have together.
const sharedBytes = 64 << 20

// sharedMemory makes what the containers of a pod share at /dev/shm.
func sharedMemory(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	mounted, err := isMount(dir)
	if err != nil {
		return err
	}
	if !mounted {
		if err := mountTmpfs(dir, sharedBytes); err != nil {
			return err
		}
	}
	return os.Chmod(dir, 0o777|fs.ModeSticky)
}

// setUpError reads as a kubelet's.
func setUpError(volume string, err error) error {
	return fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", volume, err)
}

func fsGroup(pod *corev1.Pod) *int64 {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroup
}

// emptyDir makes an empty folder that every user may write to. One that is in use stays as it is.
func (m *Manager) emptyDir(dir string, pod *corev1.Pod, source *corev1.EmptyDirVolumeSource) error {
	memory := source.Medium == corev1.StorageMediumMemory
	if source.Medium != corev1.StorageMediumDefault && !memory {
		return fmt.Errorf("emptyDir medium %q: %w", source.Medium, nodelet.ErrUnsupported)
	}
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if memory {
		mounted, err := isMount(dir)
		if err != nil {
			return err
		}
		if !mounted {
			if err := mountTmpfs(dir, m.memorySize(pod, source)); err != nil {
				return err
			}
		}
	}
	// Containers may have changed one that they use; one that holds nothing may have been left half made.
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		return err
	}
	mode := os.FileMode(0o777)
	if gid := fsGroup(pod); gid != nil {
		if err := os.Chown(dir, -1, int(*gid)); err != nil {
			return err
		}
		mode |= fs.ModeSetgid
	}
	return os.Chmod(dir, mode) // whatever the umask
}

// memorySize bounds a volume in memory: by its limit, and by what the pod may use anyway. Zero leaves
// the kernel's default, half of the host's memory.
func (m *Manager) memorySize(pod *corev1.Pod, source *corev1.EmptyDirVolumeSource) int64 {
	var size int64
	if source.SizeLimit != nil {
		size = source.SizeLimit.Value()
	}
	allocated, err := v1alpha1.Allocated(pod)
	if err != nil {
		return size
	}
	for name := range allocated {
		if res := allocated.Of(name); res.Limits.Memory().IsZero() {
			return size // a container without a limit leaves the pod without one
		}
	}
	whole := allocated.Whole(pod)
	if most := whole.Limits.Memory().Value(); size == 0 || most < size {
		return most
	}
	return size
}

// config makes a volume of files that we write.
func (m *Manager) config(dir string, a nodelet.Assignment, v *corev1.Volume) error {
	files, err := m.payload(a, v)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if v.Secret != nil || v.Projected != nil {
		mounted, err := isMount(dir)
		if err != nil {
			return err
		}
		if !mounted {
			if err := mountTmpfs(dir, 0); err != nil {
				return err
			}
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	return writeAtomically(dir, files, fsGroup(a.Pod))
}

// Remove unmounts and deletes what the pod has here.
func (m *Manager) Remove(ctx context.Context, podUID string) error {
	if !filepath.IsLocal(podUID) || podUID == "." {
		return fmt.Errorf("pod UID %q: not a name", podUID)
	}
	defer m.lock(podUID)()
	if err := ctx.Err(); err != nil {
		return err
	}
	dir := m.podDir(podUID)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		m.forget(podUID)
		return nil
	}
	if err := unmountBelow(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("volumes of pod %s: %w", podUID, err)
	}
	m.forget(podUID)
	return nil
}

func (m *Manager) forget(uid string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.limits, uid)
	delete(m.busy, uid)
}

// List answers the pods that have volumes.
func (m *Manager) List(context.Context) ([]string, error) {
	entries, err := os.ReadDir(m.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("volume folder: %w", err)
	}
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out, nil
}

// statfsUsed answers the bytes that a filesystem holds.
func statfsUsed(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize, nil
}
