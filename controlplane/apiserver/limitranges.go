package apiserver

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

const limitRangesResource = "limitranges"

func (s *Server) limitRanges() *resource {
	prepare := func(o controlplane.Object) { s.cfg.Admission.DefaultLimitRange(o.(*corev1.LimitRange)) }
	valid := func(o controlplane.Object) field.ErrorList {
		return s.cfg.Admission.ValidateLimitRange(o.(*corev1.LimitRange))
	}
	res := &resource{
		gvk: core("LimitRange"), plural: limitRangesResource, singular: "limitrange", short: []string{"limits"},
		namespaced: true, verbs: allVerbs, serve: s.serveStored, table: limitRangeTable,
		rules: &rules{
			new:           func() controlplane.Object { return &corev1.LimitRange{} },
			newList:       func() runtime.Object { return &corev1.LimitRangeList{} },
			prepare:       prepare,
			prepareUpdate: func(next, _ controlplane.Object) { prepare(next) },
			validate: func(o controlplane.Object) field.ErrorList {
				return append(validateMeta(o, validation.NameIsDNSSubdomain), valid(o)...)
			},
			validateUpdate: func(next, old controlplane.Object) field.ErrorList {
				return append(validateMetaUpdate(next, old), valid(next)...)
			},
		},
	}
	res.rules.create = func(ctx context.Context, o controlplane.Object) (controlplane.Object, error) {
		defer s.findLimits(o.GetNamespace())
		return s.insert(ctx, res.key(o.GetNamespace(), o.GetName()), o)
	}
	res.rules.delete = func(ctx context.Context, key controlplane.Key, d deletion) (controlplane.Object, bool, error) {
		defer s.findLimits(key.Namespace)
		return s.removePlain(ctx, res, key, d)
	}
	return res
}

// limits are the limit ranges of one namespace, by name. They are never changed: another set has another number.
type limits struct {
	number uint64 // from 1
	ranges []*corev1.LimitRange
}

// key is 0 where there are none.
func (l *limits) key() uint64 {
	if l == nil {
		return 0
	}
	return l.number
}

// limitBook knows the limits of those namespaces that have any.
type limitBook struct {
	finding sync.Mutex // makes sure that the last who looks has the last word

	mu          sync.RWMutex // guards what follows
	last        uint64
	byNamespace map[string]*limits
}

// of answers nil for a namespace without limits, and for no book's.
func (b *limitBook) of(namespace string) *limits {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.byNamespace[namespace]
}

func (b *limitBook) set(namespace string, ranges []*corev1.LimitRange) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(ranges) == 0 {
		delete(b.byNamespace, namespace)
		return
	}
	b.last++
	if b.byNamespace == nil {
		b.byNamespace = map[string]*limits{}
	}
	b.byNamespace[namespace] = &limits{number: b.last, ranges: ranges}
}

// findLimits looks for a namespace's limit ranges (of all namespaces, if it is empty). It is called after each change
// of one, so that creates needn't look.
func (s *Server) findLimits(namespace string) {
	s.limits.finding.Lock()
	defer s.limits.finding.Unlock()
	list, _ := s.cfg.Store.List(limitRangesResource, namespace)
	found := map[string][]*corev1.LimitRange{}
	if namespace != "" {
		found[namespace] = nil
	}
	for _, o := range list {
		found[o.GetNamespace()] = append(found[o.GetNamespace()], o.(*corev1.LimitRange))
	}
	for ns, ranges := range found {
		s.limits.set(ns, ranges)
	}
}

// annotationLimitRanger is Kubernetes' own: which of a pod's sizes its namespace's limit ranges gave it.
const annotationLimitRanger = "kubernetes.io/limit-ranger"

func noteLimits(pod *corev1.Pod, note string) {
	if note == "" {
		return
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[annotationLimitRanger] = note
}

// DefaultPod defaults a pod as those are that are created in its namespace.
func (s *Server) DefaultPod(pod *corev1.Pod) {
	if l := s.limits.of(pod.Namespace); l != nil {
		s.cfg.Admission.LimitPod(pod, l.ranges)
	}
	s.cfg.Admission.Default(pod)
}

// outsideLimits answers the refusal of a pod whose sizes its namespace's limit ranges don't allow, else nil.
func (s *Server) outsideLimits(pod *corev1.Pod) error {
	l := s.limits.of(pod.Namespace)
	if l == nil {
		return nil
	}
	if err := s.cfg.Admission.CheckLimits(pod, l.ranges); err != nil {
		return apierrors.NewForbidden(corev1.Resource("pods"), pod.Name, err)
	}
	return nil
}

// sizePod gives a new pod the size that a policy asks for, unless the namespace's limit ranges forbid that: what its
// owner asked for is judged then.
func (s *Server) sizePod(pod *corev1.Pod) error {
	before := *pod
	if s.cfg.InitialSize == nil || !s.cfg.InitialSize(pod) {
		return s.outsideLimits(pod)
	}
	if s.outsideLimits(pod) == nil {
		return nil
	}
	delete(pod.Annotations, v1alpha1.AnnotationAutosized)
	pod.Spec.Containers = before.Spec.Containers
	return s.outsideLimits(pod)
}

var limitRangeTable = table{
	columns: []metav1.TableColumnDefinition{nameColumn(), {Name: "Created At", Type: "date", Description: metaDoc["creationTimestamp"]}},
	row: func(o controlplane.Object) metav1.TableRow {
		return metav1.TableRow{Cells: []any{o.GetName(), o.GetCreationTimestamp().UTC().Format(time.RFC3339)}}
	},
}
