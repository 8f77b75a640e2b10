package vm

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// job tells /init what to run. It is the file /job in the machine, as JSON.
type job struct {
	Args, Env []string
	Await     string // a device that must be there first
	Token     string // begins the last line, which gives the exit code
}

// writeImage makes the initramfs. The kernel takes it uncompressed, which the emulation needn't undo.
func writeImage(image, initBinary string, cfg Config, j job) error {
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	defer f.Close()
	w := cpio.NewWriter(f)
	files := map[string]string{"init": initBinary, "program": cfg.Program}
	for name, from := range cfg.Files {
		files[strings.TrimPrefix(name, "/")] = from
	}
	for _, dir := range folders(files) {
		if err := w.WriteHeader(&cpio.Header{Name: dir, Mode: cpio.TypeDir | 0o755}); err != nil {
			return err
		}
	}
	b, err := json.Marshal(j)
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&cpio.Header{Name: "job", Mode: cpio.TypeReg | 0o600, Size: int64(len(b))}); err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	for name, from := range files {
		if err := addFile(w, name, from); err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}

// folders answers those that are mounted on and those that files are in, each behind the one that it is in.
func folders(files map[string]string) []string {
	all := map[string]bool{"dev": true, "proc": true, "sys": true, "tmp": true}
	for name := range files {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			all[dir] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func addFile(w *cpio.Writer, name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeReg | 0o755, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

// buildInit compiles the machine's first process.
func buildInit(root, to string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-o", to, "./internal/vm/init")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("vm: build of init: %w: %s", err, out)
	}
	return nil
}

// ModuleRoot answers the folder with go.mod at or above the working directory.
func ModuleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("vm: no go.mod at or above the working directory")
		}
		dir = parent
	}
}
