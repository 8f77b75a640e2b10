package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// seenPod is the little that the program reads of a pod that the server sent. Its slices point into what was read.
type seenPod struct{ name, uid, version, node, phase, status []byte }

var errWire = errors.New("not a Kubernetes object in protobuf")

// magic stands before every Kubernetes object in protobuf; a runtime.Unknown follows.
var magic = []byte("k8s\x00")

// field answers the bytes of one field of a message, of its last appearance; nil if it isn't there.
func field(message []byte, path ...protowire.Number) ([]byte, error) {
	for _, want := range path {
		var found []byte
		for len(message) > 0 {
			num, typ, n := protowire.ConsumeTag(message)
			if n < 0 {
				return nil, errWire
			}
			message = message[n:]
			if n = protowire.ConsumeFieldValue(num, typ, message); n < 0 {
				return nil, errWire
			}
			if num == want && typ == protowire.BytesType {
				found, _ = protowire.ConsumeBytes(message)
			}
			message = message[n:]
		}
		message = found
	}
	return message, nil
}

// unwrap answers what a runtime.Unknown holds.
func unwrap(raw []byte) ([]byte, error) {
	raw, ok := bytes.CutPrefix(raw, magic)
	if !ok {
		return nil, errWire
	}
	return field(raw, 2)
}

// readPod reads a Pod in protobuf without its envelope: Pod{metadata=1 spec=2 status=3}.
func readPod(raw []byte) (p seenPod, err error) {
	for len(raw) > 0 {
		num, typ, n := protowire.ConsumeTag(raw)
		if n < 0 || typ != protowire.BytesType {
			return p, errWire
		}
		part, m := protowire.ConsumeBytes(raw[n:])
		if m < 0 {
			return p, errWire
		}
		raw = raw[n+m:]
		switch num {
		case 1:
			err = p.readMeta(part)
		case 2:
			p.node, err = field(part, 10)
		case 3:
			p.status = part
			p.phase, err = field(part, 1)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

// actualCPU is the CPU limit of the first container that a PodStatus{containerStatuses=8} in protobuf reports, as it
// is written there: ContainerStatus{resources=11}, ResourceRequirements{limits=1}, whose entries are {key=1
// value=2}, Quantity{string=1}. Empty: none is reported.
func actualCPU(status []byte) string {
	resources, err := field(status, 8, 11)
	if err != nil {
		return ""
	}
	for len(resources) > 0 {
		num, typ, n := protowire.ConsumeTag(resources)
		if n < 0 {
			return ""
		}
		resources = resources[n:]
		if n = protowire.ConsumeFieldValue(num, typ, resources); n < 0 {
			return ""
		}
		if num == 1 && typ == protowire.BytesType {
			entry, _ := protowire.ConsumeBytes(resources)
			if key, err := field(entry, 1); err == nil && string(key) == "cpu" {
				value, err := field(entry, 2, 1)
				if err != nil {
					return ""
				}
				return string(value)
			}
		}
		resources = resources[n:]
	}
	return ""
}

// readMeta reads an ObjectMeta{name=1 uid=5 resourceVersion=6}.
func (p *seenPod) readMeta(meta []byte) error {
	for len(meta) > 0 {
		num, typ, n := protowire.ConsumeTag(meta)
		if n < 0 {
			return errWire
		}
		meta = meta[n:]
		if n = protowire.ConsumeFieldValue(num, typ, meta); n < 0 {
			return errWire
		}
		if typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(meta)
			switch num {
			case 1:
				p.name = value
			case 5:
				p.uid = value
			case 6:
				p.version = value
			}
		}
		meta = meta[n:]
	}
	return nil
}

// readAnswer reads the pod in the body of an answer.
func readAnswer(media string, body []byte) (seenPod, error) {
	if media == mediaProtobuf {
		raw, err := unwrap(body)
		if err != nil {
			return seenPod{}, err
		}
		return readPod(raw)
	}
	var pod struct {
		Metadata struct{ Name, UID, ResourceVersion string }
		Spec     struct{ NodeName string }
		Status   struct{ Phase string }
	}
	if err := json.Unmarshal(body, &pod); err != nil {
		return seenPod{}, err
	}
	return seenPod{
		name: []byte(pod.Metadata.Name), uid: []byte(pod.Metadata.UID), version: []byte(pod.Metadata.ResourceVersion),
		node: []byte(pod.Spec.NodeName), phase: []byte(pod.Status.Phase),
	}, nil
}

// maxFrame bounds an event of a watch.
const maxFrame = 16 << 20

// frameReader reads the events of a watch in protobuf: a length of four bytes, then a WatchEvent{type=1
// object=2} whose object is a RawExtension{raw=1}.
type frameReader struct {
	r   io.Reader
	buf []byte
}

// next answers an event's type and its object without the envelope, until the next call.
func (f *frameReader) next() (kind, object []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return nil, nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n > maxFrame {
		return nil, nil, fmt.Errorf("watch: an event of %d bytes", n)
	}
	if cap(f.buf) < n {
		f.buf = make([]byte, 2*n)
	}
	b := f.buf[:n]
	if _, err := io.ReadFull(f.r, b); err != nil {
		return nil, nil, err
	}
	if kind, err = field(b, 1); err != nil {
		return nil, nil, err
	}
	if object, err = field(b, 2, 1); err != nil {
		return nil, nil, err
	}
	object, err = unwrap(object)
	return kind, object, err
}
