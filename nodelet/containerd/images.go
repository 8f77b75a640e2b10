package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"swell.dev/swell/nodelet"
)

// Images keeps images in containerd's store, unpacked for the snapshotter.
type Images struct {
	cfg     Config
	client  *client.Client
	flights flights
}

// NewImages connects to containerd.
func NewImages(ctx context.Context, cfg Config) (*Images, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c, err := dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Images{cfg: cfg, client: c}, nil
}

// Close disconnects.
func (i *Images) Close() error { return i.client.Close() }

func (i *Images) in(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, i.cfg.Namespace)
}

// normalise makes a reference complete: busybox is docker.io/library/busybox:latest.
func normalise(ref string) (string, error) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", fmt.Errorf("%w: %q: %w", nodelet.ErrImageName, ref, err)
	}
	return reference.TagNameOnly(named).String(), nil
}

// Get implements nodelet.Images. An image whose unpacking was interrupted is unpacked first.
func (i *Images) Get(ctx context.Context, ref string) (nodelet.Image, error) {
	name, err := normalise(ref)
	if err != nil {
		return nodelet.Image{}, err
	}
	ctx = i.in(ctx)
	img, err := i.client.GetImage(ctx, name)
	if err != nil {
		return nodelet.Image{}, fmt.Errorf("image %s: %w", name, classed(err, nil))
	}
	if err := i.unpack(ctx, img); err != nil {
		return nodelet.Image{}, fmt.Errorf("image %s: unpack: %w", name, classed(err, nil))
	}
	return describe(ctx, img)
}

func (i *Images) unpack(ctx context.Context, img client.Image) error {
	done, err := img.IsUnpacked(ctx, i.cfg.Snapshotter)
	if err != nil || done {
		return err
	}
	return img.Unpack(ctx, i.cfg.Snapshotter)
}

// describe reads what a node must know of an image.
func describe(ctx context.Context, img client.Image) (nodelet.Image, error) {
	config, err := img.Config(ctx)
	if err != nil {
		return nodelet.Image{}, fmt.Errorf("image %s: %w", img.Name(), classed(err, nil))
	}
	b, err := content.ReadBlob(ctx, img.ContentStore(), config)
	if err != nil {
		return nodelet.Image{}, fmt.Errorf("image %s: config: %w", img.Name(), classed(err, nil))
	}
	var c ocispec.Image
	if err := json.Unmarshal(b, &c); err != nil {
		return nodelet.Image{}, fmt.Errorf("image %s: config: %w", img.Name(), err)
	}
	size, err := img.Size(ctx)
	if err != nil {
		return nodelet.Image{}, fmt.Errorf("image %s: size: %w", img.Name(), classed(err, nil))
	}
	return nodelet.Image{
		Ref:        img.Name(),
		ID:         config.Digest.String(),
		Digest:     img.Target().Digest.String(),
		User:       c.Config.User,
		Size:       size,
		StopSignal: c.Config.StopSignal,
	}, nil
}

// List implements nodelet.Images. Images for other platforms are left out.
func (i *Images) List(ctx context.Context) ([]nodelet.Image, error) {
	ctx = i.in(ctx)
	all, err := i.client.ListImages(ctx)
	if err != nil {
		return nil, fmt.Errorf("images: %w", classed(err, nil))
	}
	list := make([]nodelet.Image, 0, len(all))
	for _, img := range all {
		d, err := describe(ctx, img)
		if errors.Is(err, nodelet.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// importedName is of images whose archive gives them no name that says where they are from.
const importedName = "localhost/imported"

// Import implements nodelet.Images: a tar of an OCI layout, or what docker save writes. An image
// without a name is called localhost/imported@<digest>; one with a bare tag, localhost/imported:<tag>.
func (i *Images) Import(ctx context.Context, archive io.Reader) ([]string, error) {
	ctx = i.in(ctx)
	ctx, release, err := i.client.WithLease(ctx)
	if err != nil {
		return nil, fmt.Errorf("image archive: %w", err)
	}
	defer release(context.WithoutCancel(ctx)) //nolint:errcheck // it expires by itself
	imported, err := i.client.Import(ctx, archive,
		client.WithImageRefTranslator(archiveName),
		client.WithDigestRef(func(d digest.Digest) string { return importedName + "@" + d.String() }),
		client.WithSkipDigestRef(func(name string) bool { return name != "" }),
	)
	if err != nil {
		return nil, fmt.Errorf("image archive: %w", err)
	}
	if len(imported) == 0 {
		return nil, fmt.Errorf("image archive: it holds no image for this platform")
	}
	refs := make([]string, 0, len(imported))
	for _, rec := range imported {
		if err := i.unpack(ctx, client.NewImage(i.client, rec)); err != nil {
			return nil, fmt.Errorf("image %s: unpack: %w", rec.Name, classed(err, nil))
		}
		refs = append(refs, rec.Name)
	}
	return refs, nil
}

// archiveName makes a name of an OCI layout's annotation, which is a whole reference or a tag alone.
func archiveName(ref string) string {
	if !strings.ContainsAny(ref, "/:@") {
		return importedName + ":" + ref
	}
	name, err := normalise(ref)
	if err != nil {
		return "" // by its digest, then
	}
	return name
}
