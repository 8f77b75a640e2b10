package ociimage

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Serve runs a registry in memory on a free loopback port, over plain HTTP, and answers its host:port.
func Serve() (addr string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("registry: %w", err)
	}
	server := &http.Server{
		Handler:           registry.New(registry.Logger(log.New(io.Discard, "", 0))),
		ReadHeaderTimeout: 10 * time.Second,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l) //nolint:errcheck // it ends with Close
	}()
	return l.Addr().String(), func() {
		server.Close() //nolint:errcheck // the listener goes with it
		<-done
	}, nil
}

// Push puts an image into a registry on loopback under a reference such as 127.0.0.1:5000/hello:1.
func Push(ctx context.Context, ref string, img v1.Image) error {
	tag, err := name.ParseReference(ref, name.Insecure)
	if err != nil {
		return fmt.Errorf("image %s: %w", ref, err)
	}
	if err := remote.Write(tag, img, remote.WithContext(ctx)); err != nil {
		return fmt.Errorf("image %s: push: %w", ref, err)
	}
	return nil
}

// WriteArchive writes an archive as docker save does.
func WriteArchive(path, ref string, img v1.Image) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return fmt.Errorf("image %s: %w", ref, err)
	}
	if err := tarball.WriteToFile(path, tag, img); err != nil {
		return fmt.Errorf("image %s: archive: %w", ref, err)
	}
	return nil
}

// WriteLayout writes an archive that holds an OCI layout. With an empty ref the image has no name.
func WriteLayout(path, ref string, img v1.Image) (err error) {
	dir, err := os.MkdirTemp("", "oci-layout-")
	if err != nil {
		return fmt.Errorf("image %s: layout: %w", ref, err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // temporary
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("image %s: layout: %w", ref, err)
	}
	var opts []layout.Option
	if ref != "" {
		opts = append(opts, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": ref}))
	}
	if err := l.AppendImage(img, opts...); err != nil {
		return fmt.Errorf("image %s: layout: %w", ref, err)
	}
	out, err := os.Create(filepath.Clean(path))
	if err != nil {
		return fmt.Errorf("image %s: layout: %w", ref, err)
	}
	w := tar.NewWriter(out)
	for _, close := range []func() error{func() error { return w.AddFS(os.DirFS(dir)) }, w.Close, out.Close} {
		if cerr := close(); err == nil && cerr != nil {
			err = fmt.Errorf("image %s: layout: %w", ref, cerr)
		}
	}
	return err
}
