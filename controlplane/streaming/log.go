package streaming

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

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
		if d := f.GetData(); d != nil {
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

func logRequest(q url.Values, pod *corev1.Pod) (*nodev1.LogRequest, error) {
	req := &nodev1.LogRequest{PodUid: string(pod.UID), TailLines: -1}
	var err error
	if req.Container, err = container(pod, q.Get("container"), true); err != nil {
		return nil, err
	}
	for name, into := range map[string]*bool{"follow": &req.Follow, "previous": &req.Previous, "timestamps": &req.Timestamps} {
		if *into, err = boolean(q, name); err != nil {
			return nil, err
		}
	}
	if v := q.Get("tailLines"); v != "" {
		if req.TailLines, err = number(v, "tailLines", 0); err != nil {
			return nil, err
		}
	}
	if v := q.Get("limitBytes"); v != "" {
		if req.LimitBytes, err = number(v, "limitBytes", 1); err != nil {
			return nil, err
		}
	}
	seconds, since := q.Get("sinceSeconds"), q.Get("sinceTime")
	if seconds != "" && since != "" {
		return nil, apierrors.NewBadRequest("at most one of `sinceTime` or `sinceSeconds` may be specified")
	}
	if seconds != "" {
		n, err := number(seconds, "sinceSeconds", 1)
		if err != nil {
			return nil, err
		}
		req.SinceUnixNano = time.Now().Add(-time.Duration(n) * time.Second).UnixNano()
	}
	if since != "" {
		t, err := time.Parse(time.RFC3339, since)
		if err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("sinceTime: %q is not a time as in RFC 3339", since))
		}
		req.SinceUnixNano = t.UnixNano()
	}
	return req, nil
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

func number(v, name string, least int64) (int64, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < least {
		return 0, apierrors.NewBadRequest(fmt.Sprintf("%s: %q is not a number of at least %d", name, v, least))
	}
	return n, nil
}

// hasStarted answers, as Kubernetes does, why a container has no log yet.
func hasStarted(pod *corev1.Pod, req *nodev1.LogRequest) error {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for _, st := range list {
			if st.Name != req.Container {
				continue
			}
			if req.Previous && st.LastTerminationState.Terminated == nil {
				return apierrors.NewBadRequest(fmt.Sprintf("previous terminated container %q in pod %q not found", st.Name, pod.Name))
			}
			if wait := st.State.Waiting; wait != nil && st.LastTerminationState.Terminated == nil {
				if wait.Message != "" {
					return apierrors.NewBadRequest(fmt.Sprintf("container %q in pod %q is waiting to start: %s", st.Name, pod.Name, wait.Message))
				}
				return apierrors.NewBadRequest(fmt.Sprintf("container %q in pod %q is waiting to start: %s", st.Name, pod.Name, wait.Reason))
			}
		}
	}
	return nil
}
