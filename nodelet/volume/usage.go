package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"syscall"
)

// limit is an emptyDir's sizeLimit.
type limit struct {
	bytes  int64
	memory bool
}

// Usage answers the emptyDir volumes that hold more than their limit. A volume in memory can't.
func (m *Manager) Usage(ctx context.Context, podUID string) ([]string, error) {
	m.mu.Lock()
	limits := maps.Clone(m.limits[podUID])
	m.mu.Unlock()
	var over []string
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		var used int64
		var err error
		if dir := m.volumeDir(podUID, name); limits[name].memory {
			used, err = statfsUsed(dir)
		} else {
			used, err = diskUsage(ctx, dir)
		}
		if err != nil {
			return nil, fmt.Errorf("volume %q of pod %s: usage: %w", name, podUID, err)
		}
		if used > limits[name].bytes {
			over = append(over, fmt.Sprintf("%s: %d > %d", name, used, limits[name].bytes))
		}
	}
	return over, nil
}

// diskUsage sums the blocks below dir; a file with several names counts once. What vanishes meanwhile
// counts nothing.
func diskUsage(ctx context.Context, dir string) (int64, error) {
	type inode struct{ dev, ino uint64 }
	seen := make(map[inode]bool)
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Nlink > 1 && !d.IsDir() {
			if id := (inode{st.Dev, st.Ino}); seen[id] {
				return nil
			} else {
				seen[id] = true
			}
		}
		sum += st.Blocks * 512
		return nil
	})
	return sum, err
}
