package apiserver

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// ResizePod changes the sizes of a pod's containers just as a request for its resize subresource does: by the same
// rules, with the ledger's verdict. Change gets a copy of the pod; of what it does to that, the containers'
// resources count, and the annotation of Autosize. It may be called several times, and abandons the resize by an
// error.
func (s *Server) ResizePod(ctx context.Context, key controlplane.Key, uid string, change func(*corev1.Pod) error) (*corev1.Pod, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPatch, "/", nil)
	if err != nil {
		return nil, err
	}
	q := &request{
		target: target{version: "v1", namespace: key.Namespace, resource: key.Resource, name: key.Name, subresource: "resize"},
		r:      r, verb: "patch", res: s.resources.find("", "v1", "pods"),
	}
	o, err := s.modifySize(ctx, key, false, func(current controlplane.Object) (controlplane.Object, error) {
		old := current.(*corev1.Pod)
		if string(old.UID) != uid {
			return nil, fmt.Errorf("%s: %w", key, controlplane.ErrNotFound)
		}
		sent := old.DeepCopy()
		if err := change(sent); err != nil {
			return nil, err
		}
		out, err := s.resized(q, sent, old, "")
		if err != nil || out == current {
			return out, err
		}
		next := out.(*corev1.Pod)
		if v, ok := sent.Annotations[v1alpha1.AnnotationAutosized]; ok {
			if next.Annotations == nil {
				next.Annotations = map[string]string{}
			}
			next.Annotations[v1alpha1.AnnotationAutosized] = v
		}
		return next, nil
	})
	if err != nil {
		return nil, err
	}
	return o.(*corev1.Pod), nil
}

// Record tells of a pod by an event.
func (s *Server) Record(ctx context.Context, pod *corev1.Pod, kind, reason, message string) {
	s.recordBy(ctx, "autosize", pod, kind, reason, message)
}
