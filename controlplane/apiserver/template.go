package apiserver

import (
	"context"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/controlplane"
	"swell.dev/swell/internal/quantities"
)

// knownSpec is a pod's spec that was defaulted and found valid. Pods that are created with the same bytes of a
// spec share it: it is decoded, defaulted and checked once, and is in memory once. It is never changed.
type knownSpec struct {
	spec  corev1.PodSpec
	qos   corev1.PodQOSClass
	steps steps
}

// specKey is what a known spec came as, and within which limits (0: none).
type specKey struct {
	limits uint64
	spec   string
}

// Bounds of what is remembered. A spec that is longer is looked at each time anew.
const (
	maxAdmitted      = 4096
	maxAdmittedBytes = 64 << 10
)

// templates remembers admitted specs by the bytes that they came as, and the limits of their namespace. When there
// are too many, those that weren't asked for since the last time go.
type templates struct {
	mu       sync.RWMutex // guards what follows
	now, old map[specKey]*knownSpec
}

func (t *templates) find(spec []byte, limits uint64) *knownSpec {
	t.mu.RLock()
	a, ok := t.now[specKey{limits, string(spec)}]
	if !ok {
		a = t.old[specKey{limits, string(spec)}]
	}
	t.mu.RUnlock()
	if a != nil && !ok {
		t.add(specKey{limits, string(spec)}, a)
	}
	return a
}

func (t *templates) add(key specKey, a *knownSpec) {
	if len(key.spec) > maxAdmittedBytes {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.now) >= maxAdmitted/2 || t.now == nil {
		t.old, t.now = t.now, map[specKey]*knownSpec{}
	}
	t.now[key] = a
}

// decodeNew reads the body of a create and says what is to become of it.
func (s *Server) decodeNew(q *request, fieldValidation string) (controlplane.Object, steps, error) {
	if q.resource != "pods" || s.cfg.Admission.ValidateMeta == nil {
		obj := q.res.rules.new()
		return obj, q.res.rules.steps(), s.decodeBody(q, obj, q.res.gvk, fieldValidation)
	}
	media, err := q.mediaType(s.codecs.types)
	if err != nil {
		return nil, steps{}, err
	}
	data, err := q.body()
	if err != nil {
		return nil, steps{}, err
	}
	pod := &corev1.Pod{}
	meta, spec, plain := splitPod(data)
	within := s.limits.of(q.namespace)
	if media == mediaProtobuf && plain {
		if a := s.templates.find(spec, within.key()); a != nil {
			if err := pod.ObjectMeta.Unmarshal(meta); err != nil {
				return nil, steps{}, apierrors.NewBadRequest("metadata: " + err.Error())
			}
			pod.Spec = a.spec
			return pod, a.steps, nil
		}
	}
	warnings, err := s.decode(data, media, pod, q.res.gvk, fieldValidation)
	warn(q.w, warnings)
	if err != nil {
		return nil, steps{}, err
	}
	do := q.res.rules.steps()
	note := ""
	do.prepare = func(o controlplane.Object) { note = s.preparePodWithin(o.(*corev1.Pod), within) }
	if media == mediaProtobuf && plain {
		validate := do.validate
		do.validate = func(o controlplane.Object) field.ErrorList {
			errs := validate(o)
			if len(errs) == 0 {
				s.admit(specKey{within.key(), string(spec)}, note, o.(*corev1.Pod))
			}
			return errs
		}
	}
	return pod, do, nil
}

// admit remembers the spec of a pod that was found valid.
func (s *Server) admit(key specKey, note string, pod *corev1.Pod) {
	quantities.Format(&pod.Spec)
	a := &knownSpec{spec: pod.Spec, qos: pod.Status.QOSClass}
	template := controlplane.SpecTemplate(&pod.Spec)
	a.steps = steps{
		prepare: func(o controlplane.Object) {
			s.preparePodStatus(o.(*corev1.Pod), a.qos)
			noteLimits(o.(*corev1.Pod), note)
		},
		validate: s.validatePodMeta,
		create: func(ctx context.Context, o controlplane.Object) (controlplane.Object, error) {
			return s.createPodOf(ctx, o, template)
		},
	}
	s.templates.add(key, a)
}

func (s *Server) validatePodMeta(o controlplane.Object) field.ErrorList {
	return distinct(s.cfg.Admission.ValidateMeta(o.(*corev1.Pod)))
}

// Field numbers of k8s.io.api.core.v1.Pod.
const podMetadata, podSpec = 1, 2

// splitPod finds metadata and spec in a protobuf body that is a v1 Pod in its plainest form. Anything else is for
// the decoder.
func splitPod(data []byte) (meta, spec []byte, plain bool) {
	if len(data) < len(protobufPrefix) || string(data[:len(protobufPrefix)]) != protobufPrefix {
		return nil, nil, false
	}
	var envelope, kind, pod [5][]byte
	if !fieldsOf(data[len(protobufPrefix):], envelope[:]) || !fieldsOf(envelope[unknownTypeMeta], kind[:]) ||
		string(kind[typeMetaAPIVersion]) != "v1" || string(kind[typeMetaKind]) != "Pod" ||
		len(envelope[unknownEncoding]) > 0 || !fieldsOf(envelope[unknownRaw], pod[:]) {
		return nil, nil, false
	}
	return pod[podMetadata], pod[podSpec], len(pod[podSpec]) > 0
}

// fieldsOf takes the length-delimited fields of a message apart, by number. It reports false for a message that
// has others or has one of them twice.
func fieldsOf(message []byte, into [][]byte) bool {
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeTag(message)
		if size < 0 || kind != protowire.BytesType {
			return false
		}
		value, length := protowire.ConsumeBytes(message[size:])
		if length < 0 {
			return false
		}
		message = message[size+length:]
		if len(value) == 0 {
			continue
		}
		if int(n) >= len(into) || into[n] != nil {
			return false
		}
		into[n] = value
	}
	return true
}
