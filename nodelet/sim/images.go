package sim

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/distribution/reference"

	"swell.dev/swell/nodelet"
)

var _ nodelet.Images = (*Images)(nil)

// Images are a Host's images. Nothing is fetched: an image is its name.
type Images struct{ h *Host }

// Images connects to the host.
func (h *Host) Images() *Images { return &Images{h: h} }

// normalised remembers names: a fleet asks for the same few for each of its pods.
var normalised sync.Map // of string to string

func normalise(ref string) (string, error) {
	if name, ok := normalised.Load(ref); ok {
		return name.(string), nil
	}
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", fmt.Errorf("%w: %q: %w", nodelet.ErrImageName, ref, err)
	}
	name := reference.TagNameOnly(named).String()
	normalised.Store(ref, name)
	return name, nil
}

// Get implements nodelet.Images.
func (i *Images) Get(_ context.Context, ref string) (nodelet.Image, error) {
	name, err := normalise(ref)
	if err != nil {
		return nodelet.Image{}, err
	}
	i.h.mu.Lock()
	defer i.h.mu.Unlock()
	img, ok := i.h.images[name]
	if !ok {
		return nodelet.Image{}, fmt.Errorf("image %s: %w", name, nodelet.ErrNotFound)
	}
	return img, nil
}

// Pull implements nodelet.Images.
func (i *Images) Pull(ctx context.Context, ref string, _ []nodelet.Credential) (nodelet.Image, error) {
	name, err := normalise(ref)
	if err != nil {
		return nodelet.Image{}, err
	}
	if err := wait(ctx, i.h.cfg.PullLatency); err != nil {
		return nodelet.Image{}, fmt.Errorf("image %s: %w: %w", name, nodelet.ErrImagePull, err)
	}
	if refuse := i.h.cfg.PullError; refuse != nil {
		if err := refuse(name); err != nil {
			return nodelet.Image{}, fmt.Errorf("image %s: %w: %w", name, nodelet.ErrImagePull, err)
		}
	}
	return i.add(name), nil
}

func (i *Images) add(name string) nodelet.Image {
	sum := sha256.Sum256([]byte(name))
	id := "sha256:" + hex.EncodeToString(sum[:])
	img := nodelet.Image{Ref: name, ID: id, Digest: id, Size: 1 << 20}
	i.h.mu.Lock()
	defer i.h.mu.Unlock()
	i.h.images[name] = img
	return img
}

// List implements nodelet.Images.
func (i *Images) List(context.Context) ([]nodelet.Image, error) {
	i.h.mu.Lock()
	defer i.h.mu.Unlock()
	list := make([]nodelet.Image, 0, len(i.h.images))
	for _, img := range i.h.images {
		list = append(list, img)
	}
	return list, nil
}

// Import implements nodelet.Images: it takes the names out of the archive.
func (i *Images) Import(_ context.Context, archive io.Reader) ([]string, error) {
	var names []string
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("image archive: %w", err)
		}
		found, err := namesIn(h.Name, r)
		if err != nil {
			return nil, fmt.Errorf("image archive: %s: %w", h.Name, err)
		}
		names = append(names, found...)
	}
	var refs []string
	for _, n := range names {
		name, err := normalise(n)
		if err != nil {
			return nil, fmt.Errorf("image archive: %w", err)
		}
		refs = append(refs, i.add(name).Ref)
	}
	if len(refs) == 0 {
		return nil, errors.New("image archive: it holds no named image")
	}
	return refs, nil
}

// namesIn reads an archive's table of contents, docker's or OCI's.
func namesIn(file string, r io.Reader) ([]string, error) {
	var names []string
	switch file {
	case "manifest.json":
		var list []struct{ RepoTags []string }
		if err := json.NewDecoder(r).Decode(&list); err != nil {
			return nil, err
		}
		for _, m := range list {
			names = append(names, m.RepoTags...)
		}
	case "index.json":
		var index struct {
			Manifests []struct{ Annotations map[string]string }
		}
		if err := json.NewDecoder(r).Decode(&index); err != nil {
			return nil, err
		}
		for _, m := range index.Manifests {
			if n := m.Annotations["org.opencontainers.image.ref.name"]; n != "" {
				names = append(names, n)
			}
		}
	}
	return names, nil
}
