// Package ociimage makes container images out of files of this host, in process: for the demo and the
// tests, which must not depend on a registry or a builder elsewhere. Images go to a registry on
// loopback (Serve, Push) or into an archive (WriteArchive, WriteLayout).
package ociimage

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// accounts are what an image has that doesn't bring its own.
var accounts = map[string]string{
	"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
	"/etc/group":  "root:x:0:\nnogroup:x:65534:\n",
}

// FromFiles makes an image of one layer. Keys are absolute paths in the image, values paths on this
// host; links are followed and modes kept. /tmp and, unless given, /etc/passwd and /etc/group (root and
// nobody) are added. config is the image's: Entrypoint, Cmd, Env, User, WorkingDir.
func FromFiles(files map[string]string, config v1.Config) (v1.Image, error) {
	return build(files, nil, nil, config)
}

// Busybox makes an image of Debian's busybox-static with a link in /bin for each applet; its command is
// sh. Users are root, nobody and app (1000), who is also in the group extra (2000).
func Busybox() (v1.Image, error) {
	const binary = "/bin/busybox"
	out, err := exec.Command(binary, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w; install Debian's busybox-static", binary, err)
	}
	links := map[string]string{}
	for applet := range strings.FieldsSeq(string(out)) {
		if applet != "busybox" {
			links["/bin/"+applet] = "busybox"
		}
	}
	texts := map[string]string{
		"/etc/passwd": accounts["/etc/passwd"] + "app:x:1000:1000:app:/home/app:/bin/sh\n",
		"/etc/group":  accounts["/etc/group"] + "app:x:1000:\nextra:x:2000:app\n",
	}
	return build(map[string]string{binary: binary}, texts, links, v1.Config{
		Cmd: []string{"sh"},
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	})
}

func build(files, texts, links map[string]string, config v1.Config) (v1.Image, error) {
	for name, text := range accounts {
		if _, ok := files[name]; !ok && texts[name] == "" {
			texts = maps.Clone(texts)
			if texts == nil {
				texts = map[string]string{}
			}
			texts[name] = text
		}
	}
	content, err := layer(files, texts, links)
	if err != nil {
		return nil, fmt.Errorf("image layer: %w", err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithCompressedCaching)
	if err != nil {
		return nil, fmt.Errorf("image layer: %w", err)
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture, cf.Config = "linux", runtime.GOARCH, config
	return mutate.ConfigFile(img, cf)
}

// layer writes a tar that depends on names, modes and contents alone: the same files make the same digest.
func layer(files, texts, links map[string]string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	made := map[string]bool{"/": true}
	dir := func(name string, mode int64) error {
		if made[name] {
			return nil
		}
		made[name] = true
		return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name[1:] + "/", Mode: mode})
	}
	parents := func(name string) error {
		for i, c := range name {
			if c == '/' && i > 0 {
				if err := dir(name[:i], 0o755); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := dir("/tmp", 0o1777); err != nil {
		return nil, err
	}
	names := slices.Sorted(maps.Keys(files))
	names = append(names, slices.Sorted(maps.Keys(texts))...)
	names = append(names, slices.Sorted(maps.Keys(links))...)
	for _, name := range names {
		if !path.IsAbs(name) {
			return nil, fmt.Errorf("path %q: not absolute", name)
		}
		if err := parents(name); err != nil {
			return nil, err
		}
		var err error
		if from, ok := files[name]; ok {
			err = addFile(w, name, from)
		} else if text, ok := texts[name]; ok {
			err = add(w, name, 0o644, []byte(text))
		} else {
			err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name[1:], Linkname: links[name], Mode: 0o777})
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func addFile(w *tar.Writer, name, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return add(w, name, int64(info.Mode().Perm()), b)
}

func add(w *tar.Writer, name string, mode int64, b []byte) error {
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name[1:], Mode: mode, Size: int64(len(b))}); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}
