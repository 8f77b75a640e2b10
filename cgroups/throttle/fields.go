package throttle

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// fields finds members of the kernel's structures.
type fields struct {
	kernel *btf.Spec
	err    error
}

func (f *fields) has(structure string, path ...string) bool {
	_, err := offset(f.kernel, structure, path)
	return err == nil
}

// at answers a member's offset. Of those that aren't there err names all.
func (f *fields) at(structure string, path ...string) int16 {
	n, err := offset(f.kernel, structure, path)
	f.err = errors.Join(f.err, err)
	return n
}

// offset goes down a path of members, through anonymous ones as C does.
func offset(kernel *btf.Spec, structure string, path []string) (int16, error) {
	var at btf.Type
	var s *btf.Struct
	if err := kernel.TypeByName(structure, &s); err != nil {
		return 0, fmt.Errorf("kernel without struct %s: %w", structure, err)
	}
	at = s
	var sum uint32
	for _, name := range path {
		m, within, ok := member(at, name)
		if !ok {
			return 0, fmt.Errorf("kernel without %s.%s", structure, strings.Join(path, "."))
		}
		sum += within
		at = btf.UnderlyingType(m.Type)
	}
	if sum > 1<<15-1 {
		return 0, fmt.Errorf("%s.%s is %d bytes into it: more than an instruction reaches", structure, strings.Join(path, "."), sum)
	}
	return int16(sum), nil
}

func member(of btf.Type, name string) (m btf.Member, offset uint32, ok bool) {
	var members []btf.Member
	switch t := of.(type) {
	case *btf.Struct:
		members = t.Members
	case *btf.Union:
		members = t.Members
	}
	for _, m := range members {
		if m.Name == name {
			return m, m.Offset.Bytes(), true
		}
		if m.Name == "" {
			if in, within, ok := member(btf.UnderlyingType(m.Type), name); ok {
				return in, m.Offset.Bytes() + within, true
			}
		}
	}
	return btf.Member{}, 0, false
}
