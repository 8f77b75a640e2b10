package apiserver

import (
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"swell.dev/swell/controlplane"
)

// encodingsBytes bounds what encoded objects are kept for the next watcher.
const encodingsBytes = 16 << 20

// encodingKey names an object by where it is: stored objects never change.
type encodingKey struct {
	object controlplane.Object
	media  string
}

// encodings keeps the bytes of stored objects, so that many watchers share one encoding. The oldest
// are given up first.
type encodings struct {
	mu    sync.Mutex
	bytes map[encodingKey][]byte // guarded by mu
	order []encodingKey          // guarded by mu; oldest first
	size  int                    // guarded by mu; of all bytes
}

func newEncodings() *encodings { return &encodings{bytes: map[encodingKey][]byte{}} }

func (e *encodings) get(k encodingKey) ([]byte, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b, ok := e.bytes[k]
	return b, ok
}

func (e *encodings) put(k encodingKey, b []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.bytes[k]; ok || len(b) > encodingsBytes/4 {
		return
	}
	e.bytes[k] = b
	e.order = append(e.order, k)
	e.size += len(b)
	for e.size > encodingsBytes {
		e.size -= len(e.bytes[e.order[0]])
		delete(e.bytes, e.order[0])
		e.order = e.order[1:]
	}
}

// encodeStored is encode for an object as the store holds it.
func (c codecs) encodeStored(obj controlplane.Object, gvk schema.GroupVersionKind, f format) ([]byte, error) {
	if f.pretty {
		return c.encode(obj, gvk, f)
	}
	k := encodingKey{object: obj, media: f.media}
	if b, ok := c.cache.get(k); ok {
		return b, nil
	}
	b, err := c.encode(obj, gvk, f)
	if err == nil {
		c.cache.put(k, b)
	}
	return b, err
}
