package ociimage

import (
	"archive/tar"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func names(t *testing.T, img v1.Image) map[string]*tar.Header {
	t.Helper()
	r := mutate.Extract(img)
	defer r.Close() //nolint:errcheck // it was only read
	found := map[string]*tar.Header{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found[h.Name] = h
	}
}

func TestFromFiles(t *testing.T) {
	program := filepath.Join(t.TempDir(), "p")
	if err := os.WriteFile(program, []byte("#!"), 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"/opt/app/p": program}
	img, err := FromFiles(files, v1.Config{Entrypoint: []string{"/opt/app/p"}})
	if err != nil {
		t.Fatal(err)
	}
	found := names(t, img)
	if h := found["opt/app/p"]; h == nil || h.Mode != 0o755 || h.Size != 2 {
		t.Errorf("the program is %+v", h)
	}
	for _, want := range []string{"opt", "opt/app", "tmp", "etc/passwd", "etc/group"} {
		if found[want] == nil {
			t.Errorf("%s is missing", want)
		}
	}
	again, err := FromFiles(files, v1.Config{Entrypoint: []string{"/opt/app/p"}})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := img.Digest()
	b, _ := again.Digest()
	if a != b {
		t.Errorf("the same files make %s and %s", a, b)
	}
	if _, err := FromFiles(map[string]string{"relative": program}, v1.Config{}); err == nil {
		t.Error("a relative path was taken")
	}
}

func TestProgramsBringTheirLibraries(t *testing.T) {
	files, err := Programs("/bin/ls")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(files)), func(p string) bool { return filepath.Base(p) == "libc.so.6" }) {
		t.Errorf("ls comes without its C library: %v", files)
	}
}

func TestPublish(t *testing.T) {
	img, err := FromFiles(nil, v1.Config{User: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	want, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	addr, stop, err := Serve()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ref := addr + "/team/app:1"
	if err := Push(t.Context(), ref, img); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Head(tag)
	if err != nil || d.Digest != want {
		t.Errorf("the registry has %+v, %v", d, err)
	}

	archive := filepath.Join(t.TempDir(), "a.tar")
	if err := WriteArchive(archive, "example.com/app:1", img); err != nil {
		t.Fatal(err)
	}
	back, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	if cf, err := back.ConfigFile(); err != nil || cf.Config.User != "nobody" {
		t.Errorf("the archive has %+v, %v", cf, err)
	}
	layout := filepath.Join(t.TempDir(), "l.tar")
	if err := WriteLayout(layout, "example.com/app:1", img); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(layout); err != nil || info.Size() == 0 {
		t.Errorf("the layout is %v, %v", info, err)
	}
}
