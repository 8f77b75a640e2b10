package store

import (
	"sync"
	"weak"

	"github.com/klauspost/compress/s2"
)

// packed is an encoded object, compressed against a sibling.
type packed struct {
	data    string
	sibling *sibling // nil: compressed by itself
	form    form
}

// form says what was encoded.
type form uint8

const (
	formWhole    form = iota
	formStored        // as etcd has it
	formRestored      // as etcd has it; what Config.Restored makes of it is meant
)

// body answers the encoded object, without its version.
func (p packed) body() ([]byte, error) {
	if p.sibling != nil {
		return p.sibling.dict.Decode(nil, []byte(p.data))
	}
	return s2.Decode(nil, []byte(p.data))
}

// sibling is an encoded object that others, which look like it, are compressed against: what they have in
// common is held once.
type sibling struct {
	body []byte
	dict *s2.Dict // for decoding: it never gets the tables that encoding needs
}

func newSibling(body []byte) *sibling {
	if len(body) < s2.MinDictSize || len(body) > s2.MaxDictSize {
		return nil
	}
	kept := append(make([]byte, 0, len(body)+16), body...) // with the room that s2 wants, so that it shares them
	return &sibling{body: kept, dict: s2.MakeDict(kept, nil)}
}

// Bounds of what a family remembers.
const (
	maxKins     = 1 << 14
	maxEncoders = 128 // 32 KiB each
	// kinSize is how many objects of a kin are seen before one is kept as their sibling.
	kinSize = 4
)

// family knows a sibling for each kin: for objects that look alike, by Config.Pack.
type family struct {
	mu       sync.Mutex // guards what follows
	kins     map[kin]*kinship
	encoders map[*sibling]*s2.Dict
}

type kin struct {
	name string
	form form
}

// kinship of a kin: the sibling is there for as long as something is packed against it.
type kinship struct {
	seen    int
	sibling weak.Pointer[sibling]
}

func newFamily() *family {
	return &family{kins: map[kin]*kinship{}, encoders: map[*sibling]*s2.Dict{}}
}

// pack compresses an encoded object.
func (f *family) pack(name string, how form, body []byte) packed {
	sib, encoder := f.find(kin{name, how}, body)
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	if n := s2.MaxEncodedLen(len(body)); cap(*buf) < n {
		*buf = make([]byte, n)
	}
	if sib == nil {
		return packed{data: string(s2.Encode((*buf)[:cap(*buf)], body)), form: how}
	}
	return packed{data: string(encoder.Encode((*buf)[:cap(*buf)], body)), sibling: sib, form: how}
}

var scratch = sync.Pool{New: func() any { return new([]byte) }}

func (f *family) find(k kin, body []byte) (*sibling, *s2.Dict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.kins[k]
	if known == nil {
		if len(f.kins) >= maxKins {
			f.forgetLocked()
		}
		known = &kinship{}
		f.kins[k] = known
	}
	sib := known.sibling.Value()
	if sib == nil {
		if known.seen++; known.seen < kinSize {
			return nil, nil
		}
		if sib = newSibling(body); sib == nil {
			return nil, nil
		}
		known.sibling = weak.Make(sib)
	}
	encoder := f.encoders[sib]
	if encoder == nil {
		if len(f.encoders) >= maxEncoders {
			clear(f.encoders)
		}
		encoder = s2.MakeDict(sib.body, nil)
		f.encoders[sib] = encoder
	}
	return sib, encoder
}

// forgetLocked makes room: kins that are gone first, then all, which costs them a sibling anew.
func (f *family) forgetLocked() {
	clear(f.encoders)
	for k, known := range f.kins {
		if known.sibling.Value() == nil {
			delete(f.kins, k)
		}
	}
	if len(f.kins) >= maxKins {
		clear(f.kins)
	}
}
