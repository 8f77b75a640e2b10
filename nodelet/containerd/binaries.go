package containerd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"swell.dev/swell/nodelet"
)

// Binaries are the programs that a host needs, by absolute path.
type Binaries struct {
	Containerd string
	Shim       string
	Runc       string
	Logger     string
	Holder     string // empty: it isn't there, and nothing is held ahead of its pod
}

// FindBinaries looks in the given directories, beside the running program, in ./bin and in PATH, in
// this order. What is missing is named in one error.
func FindBinaries(dirs ...string) (Binaries, error) {
	if self, err := os.Executable(); err == nil {
		dirs = append(dirs, filepath.Dir(self))
	}
	dirs = append(dirs, "bin")
	var b Binaries
	var missing []error
	for _, want := range []struct {
		name string
		path *string
	}{
		{"containerd", &b.Containerd},
		{"containerd-shim-runc-v2", &b.Shim},
		{"runc", &b.Runc},
		{"swell-logger", &b.Logger},
	} {
		path, err := find(want.name, dirs)
		if err != nil {
			missing = append(missing, err)
		}
		*want.path = path
	}
	if len(missing) > 0 {
		return b, fmt.Errorf("%w: %w; run `make deps`, or name the directory that holds them", nodelet.ErrUnsupported, errors.Join(missing...))
	}
	b.Holder, _ = find("swell-hold", dirs)
	return b, nil
}

func find(name string, dirs []string) (string, error) {
	for _, dir := range dirs {
		path, err := filepath.Abs(filepath.Join(dir, name))
		if err != nil {
			return "", fmt.Errorf("program %s: %w", name, err)
		}
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("program %s: not found", name)
	}
	return filepath.Abs(path)
}
