package streaming

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	nodev1 "swell.dev/swell/api/node/v1"
)

// Log serves a container's log as text.
func (s *Server) Log(w http.ResponseWriter, r *http.Request, pod *corev1.Pod) {
	req, err := logRequest(r.URL.Query(), pod)
	if err == nil {
		err = onNode(pod)
	}
	if err == nil {
		err = hasStarted(pod, req)
	}
	if err != nil {
		fail(w, err)
		return
	}
	stream, err := s.cfg.Open(r.Context(), pod.Spec.NodeName, &nodev1.Open{Request: &nodev1.Open_Log{Log: req}})
	if err != nil {
		fail(w, err)
		return
	}
	defer stream.Close()
	// One that follows waits for lines that may never come.
	defer context.AfterFunc(r.Context(), func() { stream.Close() })()
	flush := http.NewResponseController(w)
	begun := false
	begin := func() {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusOK)
		}
	}
	if req.Follow {
		begin() // a client that follows wants to know that it is connected
		_ = flush.Flush()
	}
	for {
		f, err := stream.Recv()
		if err != nil {
			if !begun {
				fail(w, fmt.Errorf("log of pod %s: the node ended the stream: %w", pod.Name, err))
			}
			return
		}
		if d := f.GetData(); d != nil && len(d.Bytes) > 0 {
			begin()
			if _, err := w.Write(d.Bytes); err != nil {
				return
			}
			_ = flush.Flush()
		}
		if res := f.GetResult(); res != nil {
			if st := resultStatus(res); st != nil && !begun {
				fail(w, &apierrors.StatusError{ErrStatus: *st})
				return
			}
			begin()
			return
		}
	}
}

// logRequest reads PodLogOptions; what is wrong with them is told as Kubernetes tells it.
func logRequest(q url.Values, pod *corev1.Pod) (*nodev1.LogRequest, error) {
	req := &nodev1.LogRequest{PodUid: string(pod.UID), TailLines: -1}
	for name, into := range map[string]*bool{"follow": &req.Follow, "previous": &req.Previous, "timestamps": &req.Timestamps} {
		var err error
		if *into, err = boolean(q, name); err != nil {
			return nil, err
		}
	}
	var seconds int64
	var problems field.ErrorList
	for _, o := range []struct {
		name  string
		into  *int64
		least int64
	}{{"tailLines", &req.TailLines, 0}, {"limitBytes", &req.LimitBytes, 1}, {"sinceSeconds", &seconds, 1}} {
		v := q.Get(o.name)
		if v == "" {
			continue
		}
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("%s: %q is not a whole number", o.name, v))
		}
		if n < o.least {
			problems = append(problems, field.Invalid(field.NewPath(o.name), n, [2]string{"must be greater than or equal to 0", "must be greater than 0"}[o.least]))
		}
		*o.into = n
	}
	since := q.Get("sinceTime")
	if since != "" {
		t, err := time.Parse(time.RFC3339, since)
		if err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("sinceTime: %q is not a time as in RFC 3339", since))
		}
		req.SinceUnixNano = t.UnixNano()
	}
	if since != "" && seconds != 0 {
		problems = append(problems, field.Forbidden(field.NewPath("sinceTime"), "at most one of `sinceTime` or `sinceSeconds` may be specified"))
	} else if seconds != 0 {
		req.SinceUnixNano = time.Now().Add(-time.Duration(seconds) * time.Second).UnixNano()
	}
	if v := q.Get("stream"); v != "" && v != corev1.LogStreamAll {
		problems = append(problems, field.NotSupported(field.NewPath("stream"), v, []string{corev1.LogStreamAll}))
	}
	if len(problems) > 0 {
		return nil, apierrors.NewInvalid(schema.GroupKind{Kind: "PodLogOptions"}, pod.Name, problems)
	}
	var err error
	req.Container, err = container(pod, q.Get("container"))
	return req, err
}

func boolean(q url.Values, name string) (bool, error) {
	v, ok := q[name]
	if !ok || len(v) == 0 {
		return false, nil
	}
	if v[0] == "" {
		return true, nil
	}
	b, err := strconv.ParseBool(v[0])
	if err != nil {
		return false, apierrors.NewBadRequest(fmt.Sprintf("%s: %q is neither true nor false", name, v[0]))
	}
	return b, nil
}

// hasStarted answers, as Kubernetes does, why a container has no log yet.
func hasStarted(pod *corev1.Pod, req *nodev1.LogRequest) error {
	waits := func(why string) error {
		return apierrors.NewBadRequest(fmt.Sprintf("container %q in pod %q is waiting to start: %s", req.Container, pod.Name, why))
	}
	st := statusOfContainer(pod, req.Container)
	switch {
	case st == nil && pod.Status.Phase == corev1.PodPending:
		return waits("ContainerCreating")
	case st == nil:
		return nil // the nodelet knows better
	case req.Previous && st.LastTerminationState.Terminated == nil:
		return apierrors.NewBadRequest(fmt.Sprintf("previous terminated container %q in pod %q not found", st.Name, pod.Name))
	case st.State.Waiting == nil || st.LastTerminationState.Terminated != nil:
		return nil
	}
	switch reason := st.State.Waiting.Reason; reason {
	case "ErrImagePull":
		return waits("image can't be pulled")
	case "ImagePullBackOff":
		return waits("trying and failing to pull image")
	default:
		return waits(reason)
	}
}

// statusOfContainer answers nil for a container that nothing was observed of.
func statusOfContainer(pod *corev1.Pod, name string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}
