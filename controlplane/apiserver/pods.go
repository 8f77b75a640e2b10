package apiserver

import (
	"net/http"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

func (s *Server) pods() *resource {
	stream := func(serve func(http.ResponseWriter, *http.Request, *corev1.Pod)) func(*request) error {
		return func(q *request) error {
			o, err := s.stored(q)
			if err != nil {
				return err
			}
			serve(q.w, q.r, o.(*corev1.Pod))
			return nil
		}
	}
	options := func(kind string) schema.GroupVersionKind { return core(kind) }
	return &resource{
		gvk: core("Pod"), plural: "pods", singular: "pod", short: []string{"po"}, categories: []string{"all"},
		namespaced: true, verbs: allVerbs, serve: s.serveStored, table: podTable,
		subresources: []subresource{
			{name: "eviction", gvk: policyv1.SchemeGroupVersion.WithKind("Eviction"), methods: []string{http.MethodPost}, verbs: []string{"create"}, serve: s.serveEviction},
			{name: "exec", gvk: options("PodExecOptions"), methods: getAndPost, verbs: []string{"create", "get"}, types: ownResponse, serve: stream(s.cfg.Streams.Exec)},
			{name: "log", gvk: core("Pod"), methods: getOnly, verbs: []string{"get"}, types: ownResponse, serve: stream(s.cfg.Streams.Log)},
			{name: "portforward", gvk: options("PodPortForwardOptions"), methods: getAndPost, verbs: []string{"create", "get"}, types: ownResponse, serve: stream(s.cfg.Streams.PortForward)},
			{name: "resize", gvk: core("Pod"), methods: []string{http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPut}, verbs: []string{"get", "patch", "update"}, serve: s.serveResize},
			{name: "status", gvk: core("Pod"), methods: getOnly, verbs: []string{"get"}, serve: s.get},
		},
		rules: &rules{
			new:            func() controlplane.Object { return &corev1.Pod{} },
			newList:        func() runtime.Object { return &corev1.PodList{} },
			fields:         podFields,
			prepare:        s.preparePod,
			admit:          s.admitPod,
			warn:           s.warnOfBurst,
			prepareUpdate:  s.preparePodUpdate,
			specChanged:    podSpecChanged,
			validate:       s.validatePod,
			validateUpdate: s.validatePodUpdate,
			admitUpdate:    s.admitBurst,
			create:         s.createPod,
			delete:         s.deletePod,
		},
	}
}

func podFields(o controlplane.Object) fields.Set {
	pod := o.(*corev1.Pod)
	ip := pod.Status.PodIP
	if ip == "" && len(pod.Status.PodIPs) > 0 {
		ip = pod.Status.PodIPs[0].IP
	}
	return fields.Set{
		"spec.nodeName":            pod.Spec.NodeName,
		"spec.restartPolicy":       string(pod.Spec.RestartPolicy),
		"spec.schedulerName":       pod.Spec.SchedulerName,
		"spec.serviceAccountName":  pod.Spec.ServiceAccountName,
		"spec.hostNetwork":         strconv.FormatBool(pod.Spec.HostNetwork),
		"status.phase":             string(pod.Status.Phase),
		"status.podIP":             ip,
		"status.nominatedNodeName": pod.Status.NominatedNodeName,
	}
}

// preparePod defaults a new pod. Its status is the server's, as is the annotation of admitted resources.
func (s *Server) preparePod(o controlplane.Object) {
	s.preparePodWithin(o.(*corev1.Pod), s.limits.of(o.GetNamespace()))
}

// preparePodWithin answers what limits gave the pod.
func (s *Server) preparePodWithin(pod *corev1.Pod, l *limits) (note string) {
	if l != nil {
		note = s.cfg.Admission.LimitPod(pod, l.ranges)
	}
	s.cfg.Admission.Default(pod)
	s.preparePodStatus(pod, v1alpha1.PodQOS(&pod.Spec))
	noteLimits(pod, note)
	return note
}

func (s *Server) preparePodStatus(pod *corev1.Pod, qos corev1.PodQOSClass) {
	delete(pod.Annotations, v1alpha1.AnnotationAllocated)
	annotate(pod, v1alpha1.AnnotationPrice, "")
	annotate(pod, v1alpha1.AnnotationBilledSize, "")
	pod.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: qos}
}

func (s *Server) preparePodUpdate(nextObj, oldObj controlplane.Object) {
	next, old := nextObj.(*corev1.Pod), oldObj.(*corev1.Pod)
	s.cfg.Admission.Default(next)
	next.Status = *old.Status.DeepCopy()
	if next.Spec.Priority == nil { // set at the create, and not by the user
		next.Spec.Priority = old.Spec.Priority
	}
	if next.Spec.PreemptionPolicy == nil {
		next.Spec.PreemptionPolicy = old.Spec.PreemptionPolicy
	}
	delete(next.Annotations, v1alpha1.AnnotationAllocated)
	if held, ok := old.Annotations[v1alpha1.AnnotationAllocated]; ok {
		if next.Annotations == nil {
			next.Annotations = map[string]string{}
		}
		next.Annotations[v1alpha1.AnnotationAllocated] = held
	}
	keptPrice(next, old)
}

func podSpecChanged(next, old controlplane.Object) bool {
	return !equality.Semantic.DeepEqual(next.(*corev1.Pod).Spec, old.(*corev1.Pod).Spec)
}

func (s *Server) validatePod(o controlplane.Object) field.ErrorList {
	pod := o.(*corev1.Pod)
	errs := validation.ValidateObjectMeta(&pod.ObjectMeta, true, validation.NameIsDNSSubdomain, field.NewPath("metadata"))
	return distinct(append(errs, s.cfg.Admission.Validate(pod)...))
}

func (s *Server) validatePodUpdate(nextObj, oldObj controlplane.Object) field.ErrorList {
	next, old := nextObj.(*corev1.Pod), oldObj.(*corev1.Pod)
	errs := validateMetaUpdate(next, old)
	return distinct(append(errs, s.cfg.Admission.ValidateUpdate(next, old)...))
}

func validateMetaUpdate(next, old controlplane.Object) field.ErrorList {
	path := field.NewPath("metadata")
	errs := validation.ValidateObjectMetaAccessor(next, next.GetNamespace() != "", validation.NameIsDNSSubdomain, path)
	errs = append(errs, validation.ValidateObjectMetaAccessorUpdate(next, old, path)...)
	if old.GetDeletionTimestamp() != nil {
		errs = append(errs, validation.ValidateNoNewFinalizers(next.GetFinalizers(), old.GetFinalizers(), path.Child("finalizers"))...)
	}
	return distinct(errs)
}

// distinct drops what several checks said alike.
func distinct(errs field.ErrorList) field.ErrorList {
	seen := make(map[string]bool, len(errs))
	var out field.ErrorList
	for _, e := range errs {
		if text := e.Error(); !seen[text] {
			seen[text] = true
			out = append(out, e)
		}
	}
	return out
}
