package store

import (
	"encoding/json"
	"fmt"
	"strconv"

	"swell.dev/swell/controlplane"
)

const (
	magic          = 'S'
	formatProtobuf = 1
	formatJSON     = 2
	headerSize     = 5
)

// protobuf is what Kubernetes' generated types have.
type protobuf interface {
	Size() int
	Marshal() ([]byte, error)
	MarshalToSizedBuffer([]byte) (int, error)
	Unmarshal([]byte) error
}

// encode answers the envelope, its ordinal still zero. The resourceVersion is left out: it isn't known yet.
func encode(o controlplane.Object) ([]byte, error) {
	o.SetResourceVersion("")
	if m, ok := o.(protobuf); ok {
		n := m.Size()
		out := make([]byte, headerSize+n)
		out[0], out[1] = magic, formatProtobuf
		if _, err := m.MarshalToSizedBuffer(out[headerSize:]); err != nil {
			return nil, err
		}
		return out, nil
	}
	body, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return append([]byte{magic, formatJSON, 0, 0, 0}, body...), nil
}

func setOrdinal(value []byte, n int) {
	value[2], value[3], value[4] = byte(n>>16), byte(n>>8), byte(n)
}

// decode reads an envelope into an empty object and sets its version.
func decode(value []byte, modRevision int64, into controlplane.Object) error {
	if len(value) < headerSize || value[0] != magic {
		return fmt.Errorf("not written by this program")
	}
	var err error
	switch body := value[headerSize:]; value[1] {
	case formatProtobuf:
		m, ok := into.(protobuf)
		if !ok {
			return fmt.Errorf("protobuf for a %T, which has none", into)
		}
		err = m.Unmarshal(body)
	case formatJSON:
		err = json.Unmarshal(body, into)
	default:
		err = fmt.Errorf("format %d is unknown: written by a newer version", value[1])
	}
	if err != nil {
		return err
	}
	into.SetResourceVersion(formatVersion(version(modRevision, ordinal(value))))
	return nil
}

func ordinal(value []byte) int { return int(value[2])<<16 | int(value[3])<<8 | int(value[4]) }

// ordinalBits is the room for changes within one etcd revision.
const (
	ordinalBits = 24
	maxOrdinal  = 1<<ordinalBits - 1
)

func version(revision int64, ordinal int) uint64 {
	return uint64(revision)<<ordinalBits | uint64(ordinal)
}

func formatVersion(v uint64) string { return strconv.FormatUint(v, 10) }
