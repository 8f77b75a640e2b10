package role

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// chunk is how much of an archive one frame carries.
const chunk = 256 << 10

// importImage sends an archive to a node and answers the names it held.
func (c *controlPlane) importImage(ctx context.Context, node string, archive io.Reader) ([]string, error) {
	s, err := c.hub.Open(ctx, node, &nodev1.Open{Request: &nodev1.Open_ImageImport{ImageImport: &nodev1.ImageImportRequest{}}})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	sent := make(chan error, 1)
	go func() { // ends with the archive, or with the stream
		sent <- sendArchive(s, archive)
	}()
	data, err := answer(s)
	if err != nil {
		return nil, err
	}
	if err := <-sent; err != nil {
		return nil, err
	}
	var refs []string
	if err := json.Unmarshal(data, &refs); err != nil {
		return nil, fmt.Errorf("node %s: answer to an import: %w", node, err)
	}
	return refs, nil
}

func sendArchive(s controlplane.Stream, archive io.Reader) error {
	buf := make([]byte, chunk)
	for {
		n, err := io.ReadFull(archive, buf)
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			return err
		}
		if err := s.Send(&nodev1.Frame{Frame: &nodev1.Frame_Data{Data: &nodev1.Data{Bytes: buf[:n], Eof: end}}}); err != nil || end {
			return err
		}
	}
}

// listImages answers a node's images as JSON.
func (c *controlPlane) listImages(ctx context.Context, node string) ([]byte, error) {
	s, err := c.hub.Open(ctx, node, &nodev1.Open{Request: &nodev1.Open_ImageList{ImageList: &nodev1.ImageListRequest{}}})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	data, err := answer(s)
	if err != nil {
		return nil, err
	}
	images := []v1alpha1.NodeImage{}
	if err := json.Unmarshal(data, &images); err != nil {
		return nil, fmt.Errorf("node %s: list of images: %w", node, err)
	}
	return data, nil
}

// answer collects what a node sends, up to its result.
func answer(s controlplane.Stream) ([]byte, error) {
	var data []byte
	for {
		f, err := s.Recv()
		if err != nil {
			return nil, fmt.Errorf("the nodelet ended the stream: %w: %w", err, controlplane.ErrUnavailable)
		}
		if d := f.GetData(); d != nil {
			data = append(data, d.Bytes...)
		}
		if r := f.GetResult(); r != nil {
			return data, resultError(r)
		}
	}
}

func resultError(r *nodev1.Result) error {
	switch r.Reason {
	case "":
		return nil
	case "BadRequest":
		return apierrors.NewBadRequest(r.Message)
	case "NotFound":
		return fmt.Errorf("%s: %w", r.Message, controlplane.ErrNotFound)
	}
	return errors.New(r.Message)
}
