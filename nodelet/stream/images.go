package stream

import (
	"context"
	"encoding/json"
	"io"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/api/v1alpha1"
)

// importExchange reads an image archive and answers a JSON array of the references in it.
type importExchange struct {
	d  Deps
	in input
}

func newImport(d Deps) *importExchange { return &importExchange{d: d, in: newInput()} }

func (x *importExchange) take(f *nodev1.Frame) { x.in.take(f) }

func (x *importExchange) run(ctx context.Context, out *sender) (int32, error) {
	defer x.in.endWith(ctx)()
	refs, err := x.d.Images.Import(ctx, x.in.r)
	if err != nil {
		return 0, badRequest{err}
	}
	// An archive may have padding after its end; who sends it isn't held up.
	if _, err := io.Copy(io.Discard, x.in.r); err != nil {
		return 0, err
	}
	return 0, sendJSON(out, refs)
}

// listExchange answers a JSON array of v1alpha1.NodeImage.
type listExchange struct {
	silent
	d Deps
}

func (x *listExchange) run(ctx context.Context, out *sender) (int32, error) {
	list, err := x.d.Images.List(ctx)
	if err != nil {
		return 0, err
	}
	images := make([]v1alpha1.NodeImage, 0, len(list))
	for _, i := range list {
		images = append(images, v1alpha1.NodeImage{Ref: i.Ref, ID: i.ID, Digest: i.Digest, Size: i.Size})
	}
	return 0, sendJSON(out, images)
}

func sendJSON(out *sender, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = channel{out, stdout}.Write(b)
	return err
}
