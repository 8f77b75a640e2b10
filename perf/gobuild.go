package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"swell.dev/swell/internal/ociimage"
)

// builtImage has the Go toolchain and the sources of a small server; its container builds the server with nothing
// cached, and becomes it.
const builtImage = "perf.example/built:v1"

const goroot = "/usr/local/go" // in the image

//go:embed boosted/main.go
var builtSource []byte

// writeBuiltImage writes the image into an archive: of this host's toolchain what such a build needs.
func writeBuiltImage(dir string) (archive string, err error) {
	work := filepath.Join(dir, "server")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(work, "main.go"), builtSource, 0o644); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(work, "go.mod"), []byte("module built\n"), 0o644); err != nil {
		return "", err
	}
	files, err := toolchain(work)
	if err != nil {
		return "", err
	}
	files["/src/main.go"], files["/src/go.mod"] = filepath.Join(work, "main.go"), filepath.Join(work, "go.mod")
	files["/bin/sh"] = "/bin/busybox" // Debian's busybox-static
	img, err := ociimage.FromFiles(files, v1.Config{
		Entrypoint: []string{"/bin/sh", "-c", "go build -o /tmp/server . && exec /tmp/server"}, WorkingDir: "/src",
		Env: []string{"PATH=" + goroot + "/bin:/bin", "GOROOT=" + goroot, "GOCACHE=/tmp/cache", "GOPATH=/tmp/go", "HOME=/tmp", "CGO_ENABLED=0", "GOTOOLCHAIN=local", "GOPROXY=off"},
	})
	if err != nil {
		return "", err
	}
	archive = filepath.Join(dir, "built.tar")
	return archive, ociimage.WriteArchive(archive, builtImage, img)
}

// toolchain answers the files of this host's Go that build the package in a folder.
func toolchain(work string) (map[string]string, error) {
	root, err := goTool(work, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	host := strings.TrimSpace(string(root))
	tools, err := goTool(work, "env", "GOTOOLDIR")
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	add := func(from string) error {
		rel, err := filepath.Rel(host, from)
		if err == nil {
			files[goroot+"/"+rel] = from
		}
		return err
	}
	for _, name := range []string{"asm", "compile", "link"} {
		if err := add(filepath.Join(strings.TrimSpace(string(tools)), name)); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"bin/go", "VERSION", "go.env", "src/go.mod", "src/go.sum", "src/vendor/modules.txt"} {
		if err := add(filepath.Join(host, name)); err != nil {
			return nil, err
		}
	}
	folders := []string{filepath.Join(host, "pkg", "include"), filepath.Join(host, "src", "runtime", "cgo")} // whose headers the runtime includes
	listed, err := goTool(work, "list", "-deps", "-json=Dir,Standard", ".")
	if err != nil {
		return nil, err
	}
	for in := json.NewDecoder(bytes.NewReader(listed)); ; {
		var p struct {
			Dir      string
			Standard bool
		}
		if err := in.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if p.Standard {
			folders = append(folders, p.Dir)
		}
	}
	for _, dir := range folders {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.Type() == fs.ModeDir || strings.HasSuffix(e.Name(), "_test.go") {
				continue
			}
			if err := add(filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

func goTool(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}
