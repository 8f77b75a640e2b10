package apiserver

import (
	"maps"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// priced writes on a pod, whose annotations are its own, what it costs.
func (s *Server) priced(pod *corev1.Pod) {
	perHour, _ := s.price(pod)
	annotate(pod, v1alpha1.AnnotationPrice, perHour)
	annotate(pod, v1alpha1.AnnotationBilledSize, "")
}

// quoted answers what a dry run does: the pod with its price, and the size that it would be billed for. It is for the
// size that is asked for, also where a resize waits.
func (s *Server) quoted(pod *corev1.Pod) *corev1.Pod {
	out, asked := *pod, *pod
	out.Annotations, asked.Annotations = maps.Clone(pod.Annotations), maps.Clone(pod.Annotations)
	delete(asked.Annotations, v1alpha1.AnnotationAllocated)
	perHour, billed := s.price(&asked)
	annotate(&out, v1alpha1.AnnotationPrice, perHour)
	annotate(&out, v1alpha1.AnnotationBilledSize, billed)
	return &out
}

func (s *Server) price(pod *corev1.Pod) (perHour, billed string) {
	if s.cfg.Price == nil {
		return "", ""
	}
	return s.cfg.Price(pod)
}

func annotate(pod *corev1.Pod, key, value string) {
	if value == "" {
		delete(pod.Annotations, key)
		return
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[key] = value
}

// keptPrice gives an update the price that the pod had: users neither change it nor take it away.
func keptPrice(next, old *corev1.Pod) {
	annotate(next, v1alpha1.AnnotationPrice, old.Annotations[v1alpha1.AnnotationPrice])
	annotate(next, v1alpha1.AnnotationBilledSize, "")
}
