package apiserver

import (
	"bytes"
	"fmt"
	"net/http"
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

var statusKind = schema.GroupVersionKind{Version: "v1", Kind: "Status"}

// codecs are the serializers by media type. They convert and default nothing.
type codecs struct {
	types []string // on offer, the default first
	info  map[string]runtime.SerializerInfo
	cache *encodings
}

func newCodecs(scheme *runtime.Scheme) codecs {
	c := codecs{
		types: []string{mediaJSON, mediaYAML, mediaProtobuf},
		info:  map[string]runtime.SerializerInfo{},
		cache: newEncodings(),
	}
	for _, info := range serializer.NewCodecFactory(scheme, serializer.WithStreamingCollectionEncodingToJSON()).SupportedMediaTypes() {
		c.info[info.MediaType] = info
	}
	return c
}

// encode answers obj as the kind gvk. It leaves obj alone, which may be shared.
func (c codecs) encode(obj runtime.Object, gvk schema.GroupVersionKind, f format) ([]byte, error) {
	if p, ok := obj.(sized); ok && f.media == mediaProtobuf {
		return encodeProtobuf(p, gvk)
	}
	info := c.info[f.media]
	enc := runtime.Encoder(info.Serializer)
	if f.pretty && info.PrettySerializer != nil {
		enc = info.PrettySerializer
	}
	var buf bytes.Buffer
	if err := enc.Encode(withKind(obj, gvk), &buf); err != nil {
		return nil, fmt.Errorf("%s as %s: %w", gvk.Kind, f.media, err)
	}
	return buf.Bytes(), nil
}

// withKind answers obj with its kind set: itself, or a shallow copy where the kind is missing.
func withKind(obj runtime.Object, gvk schema.GroupVersionKind) runtime.Object {
	if obj.GetObjectKind().GroupVersionKind() == gvk {
		return obj
	}
	v := reflect.New(reflect.TypeOf(obj).Elem())
	v.Elem().Set(reflect.ValueOf(obj).Elem())
	out := v.Interface().(runtime.Object)
	out.GetObjectKind().SetGroupVersionKind(gvk)
	return out
}

// write answers with obj. Encoding comes first, so that an object that can't be encoded is an error answer.
func (s *Server) write(w http.ResponseWriter, r *http.Request, code int, f format, obj runtime.Object, gvk schema.GroupVersionKind) {
	data, err := s.codecs.encode(obj, gvk, f)
	if err != nil {
		s.cfg.Log.Error("encode", "path", r.URL.Path, "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeBytes(w, r, code, f.contentType(), data)
}
