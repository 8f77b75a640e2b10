package apiserver

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"swell.dev/swell/controlplane"
)

// streamedList is from how many items on a list is written item by item, so that it is never in memory as a
// whole.
const streamedList = 1000

// listItems is the field of the items in every list of Kubernetes' protobuf.
const listItems protowire.Number = 2

// streamList writes a list as encode would, item by item. It answers false, having written nothing, where
// the kind or the form is another one.
func (q *request) streamList(s *Server, items controlplane.Items, lm metav1.ListMeta) (bool, error) {
	empty, err := q.res.list(items.Slice(0, 0), lm)
	if err != nil {
		return false, err
	}
	list, ok := empty.(sized)
	if !ok {
		return false, nil
	}
	var write func(io.Writer) error
	switch q.as.media {
	case mediaProtobuf:
		write = func(w io.Writer) error { return streamProtobuf(w, list, q.res.listKind(), items) }
	case mediaJSON:
		frame, err := s.codecs.encode(empty, q.res.listKind(), q.as)
		if err != nil {
			return false, err
		}
		head, tail, ok := bytes.Cut(frame, []byte(`"items":[]`))
		if !ok {
			return false, nil
		}
		write = func(w io.Writer) error { return s.streamJSON(w, head, tail, items) }
	default:
		return false, nil
	}
	h := q.w.Header()
	h.Set("Content-Type", q.as.contentType())
	h.Set("Cache-Control", "no-cache, private")
	h.Add("Vary", "Accept")
	out := io.Writer(q.w)
	if q.r.Method == http.MethodGet && acceptsGzip(q.r) {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		z, err := gzip.NewWriterLevel(q.w, gzip.BestSpeed)
		if err != nil {
			panic(err) // the level is a constant
		}
		defer z.Close() //nolint:errcheck // the only error left is that the client went away
		out = z
	}
	q.w.WriteHeader(http.StatusOK)
	buffered := bufio.NewWriterSize(out, 64<<10)
	if err := write(buffered); err != nil {
		// Nothing else tells the client that the list isn't whole.
		s.cfg.Log.Debug("list broken off", "path", q.r.URL.Path, "error", err)
		panic(http.ErrAbortHandler)
	}
	_ = buffered.Flush()
	return true, nil
}

func (s *Server) streamJSON(w io.Writer, head, tail []byte, items controlplane.Items) error {
	if _, err := fmt.Fprintf(w, `%s"items":[`, head); err != nil {
		return err
	}
	encoder := s.codecs.info[mediaJSON].Serializer
	var buf bytes.Buffer
	for i := range items.Len() {
		buf.Reset()
		if i > 0 {
			buf.WriteByte(',')
		}
		// Items of a typed list don't repeat their kind.
		if err := encoder.Encode(withKind(items.Object(i), schema.GroupVersionKind{}), &buf); err != nil {
			return err
		}
		if _, err := w.Write(bytes.TrimRight(buf.Bytes(), "\n")); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "]%s", tail)
	return err
}

// streamProtobuf goes over the items twice: how long the list is stands before it.
func streamProtobuf(w io.Writer, empty sized, gvk schema.GroupVersionKind, items controlplane.Items) error {
	size := empty.Size()
	for i := range items.Len() {
		data, err := items.Protobuf(i)
		if err != nil {
			return err
		}
		size += fieldSize(listItems, len(data))
	}
	meta := make([]byte, empty.Size())
	head := protobufHead(gvk, size, len(meta))
	if _, err := empty.MarshalToSizedBuffer(meta); err != nil {
		return err
	}
	if _, err := w.Write(append(head, meta...)); err != nil {
		return err
	}
	var header []byte
	for i := range items.Len() {
		data, err := items.Protobuf(i)
		if err != nil {
			return err
		}
		header = appendHeader(header[:0], listItems, len(data))
		if _, err := w.Write(header); err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	return nil
}
