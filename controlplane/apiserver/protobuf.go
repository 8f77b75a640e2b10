package apiserver

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// sized is what Kubernetes' generated types have: they write themselves to the end of a buffer.
type sized interface {
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
}

// Field numbers of k8s.io.apimachinery.pkg.runtime.Unknown and .TypeMeta, and of
// k8s.io.apimachinery.pkg.apis.meta.v1.WatchEvent and runtime.RawExtension.
const (
	unknownTypeMeta, unknownRaw, unknownEncoding = 1, 2, 3
	typeMetaAPIVersion, typeMetaKind             = 1, 2
	watchEventType, watchEventObject             = 1, 2
	rawExtensionRaw                              = 1
)

// protobufPrefix begins every protobuf body of Kubernetes.
const protobufPrefix = "k8s\x00"

// encodeProtobuf answers obj in its envelope, in one buffer that is made once: an encoder of apimachinery's
// would copy the object to set its kind, and its bytes twice.
func encodeProtobuf(obj sized, gvk schema.GroupVersionKind) ([]byte, error) {
	size := obj.Size()
	out := protobufHead(gvk, size, size)
	head := len(out)
	out = out[:head+size]
	n, err := obj.MarshalToSizedBuffer(out[head:])
	if err != nil {
		return nil, fmt.Errorf("%s as %s: %w", gvk.Kind, mediaProtobuf, err)
	}
	if n != size {
		return nil, fmt.Errorf("%s as %s: %d bytes were announced, %d came", gvk.Kind, mediaProtobuf, size, n)
	}
	return out, nil
}

// protobufHead is what stands before a body of that size, with room for more.
func protobufHead(gvk schema.GroupVersionKind, size, room int) []byte {
	apiVersion, kind := gvk.GroupVersion().String(), gvk.Kind
	meta := fieldSize(typeMetaAPIVersion, len(apiVersion)) + fieldSize(typeMetaKind, len(kind))
	b := make([]byte, 0, len(protobufPrefix)+fieldSize(unknownTypeMeta, meta)+protowire.SizeTag(unknownRaw)+protowire.SizeVarint(uint64(size))+room)
	b = append(b, protobufPrefix...)
	b = appendHeader(b, unknownTypeMeta, meta)
	b = appendHeader(b, typeMetaAPIVersion, len(apiVersion))
	b = append(b, apiVersion...)
	b = appendHeader(b, typeMetaKind, len(kind))
	b = append(b, kind...)
	return appendHeader(b, unknownRaw, size)
}

// fieldSize is that of a length-delimited field.
func fieldSize(number protowire.Number, length int) int {
	return protowire.SizeTag(number) + protowire.SizeBytes(length)
}

// appendHeader begins a length-delimited field.
func appendHeader(b []byte, number protowire.Number, length int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.BytesType), uint64(length))
}
