// Package streaming carries logs, exec and port-forward between Kubernetes' clients and a node's streams:
// chunked text for logs, WebSocket channels or SPDY for exec, SPDY (also tunnelled through a WebSocket)
// for ports.
package streaming

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/streaming/pkg/httpstream"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// Channels of Data frames.
const (
	stdin  = 0
	stdout = 1
	stderr = 2
)

// Config says how to reach nodes.
type Config struct {
	// Open asks a node for an exchange.
	Open func(ctx context.Context, node string, open *nodev1.Open) (controlplane.Stream, error)
}

// Server serves the streaming subresources of pods.
type Server struct {
	cfg  Config
	beat time.Duration
}

// beatEvery is how often an exec's client is written to although there is nothing to say. One that has
// gone is found out even while its last input waits for a process that doesn't read.
const beatEvery = 10 * time.Second

// New answers a server.
func New(cfg Config) *Server { return &Server{cfg: cfg, beat: beatEvery} }

// container answers the container that a request means: the one that it names, or the only one.
func container(pod *corev1.Pod, name string) (string, error) {
	var names []string
	for i := range pod.Spec.Containers {
		names = append(names, pod.Spec.Containers[i].Name)
	}
	var inits []string
	for i := range pod.Spec.InitContainers {
		inits = append(inits, pod.Spec.InitContainers[i].Name)
	}
	switch {
	case name == "" && len(names) == 1:
		return names[0], nil
	case name == "" && len(inits) > 0:
		return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s, choose one of: %v or one of the init containers: %v", pod.Name, names, inits))
	case name == "":
		return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s, choose one of: %v", pod.Name, names))
	case slices.Contains(names, name), slices.Contains(inits, name):
		return name, nil
	}
	return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", name, pod.Name))
}

// onNode refuses a pod that no node has.
func onNode(pod *corev1.Pod) error {
	if pod.Spec.NodeName == "" {
		return apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", pod.Name))
	}
	return nil
}

// wantsUpgrade refuses a request that can't be answered by a stream.
func wantsUpgrade(r *http.Request) error {
	if !httpstream.IsUpgradeRequest(r) {
		return apierrors.NewBadRequest("Upgrade request required")
	}
	return nil
}

// resultStatus turns a nodelet's result into what Kubernetes' clients read, nil for success.
func resultStatus(r *nodev1.Result) *metav1.Status {
	var err *apierrors.StatusError
	switch r.Reason {
	case "":
		return nil
	case "NonZeroExitCode":
		return &metav1.Status{
			Status: metav1.StatusFailure, Reason: "NonZeroExitCode", Message: r.Message,
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: "ExitCode", Message: fmt.Sprint(r.ExitCode)}}},
		}
	case "NotFound":
		err = apierrors.NewGenericServerResponse(http.StatusNotFound, "get", corev1.Resource("pods"), "", r.Message, 0, false)
		err.ErrStatus.Message = r.Message
	case "BadRequest":
		err = apierrors.NewBadRequest(r.Message)
	default:
		err = apierrors.NewInternalError(errors.New(r.Message))
	}
	return &err.ErrStatus
}

// statusOf turns any error into a Status.
func statusOf(err error) *metav1.Status {
	var api apierrors.APIStatus
	if errors.As(err, &api) {
		st := api.Status()
		return &st
	}
	if errors.Is(err, controlplane.ErrUnavailable) {
		st := apierrors.NewServiceUnavailable(err.Error()).ErrStatus
		return &st
	}
	if errors.Is(err, controlplane.ErrOverloaded) {
		st := apierrors.NewTooManyRequests(err.Error(), 1).ErrStatus
		return &st
	}
	st := apierrors.NewInternalError(err).ErrStatus
	return &st
}

// fail answers an error before a stream has begun.
func fail(w http.ResponseWriter, err error) {
	st := statusOf(err)
	st.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	body, merr := json.Marshal(st)
	if merr != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(st.Code))
	_, _ = w.Write(body) // a client that has gone isn't an error
}

// sender lets several goroutines send on a stream.
type sender struct {
	mu sync.Mutex // guards the sending side of s
	s  controlplane.Stream
}

func (o *sender) send(f *nodev1.Frame) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.s.Send(f)
}

func (o *sender) data(b []byte) error {
	return o.send(&nodev1.Frame{Frame: &nodev1.Frame_Data{Data: &nodev1.Data{Channel: stdin, Bytes: b}}})
}

func (o *sender) eof() error {
	return o.send(&nodev1.Frame{Frame: &nodev1.Frame_Data{Data: &nodev1.Data{Channel: stdin, Eof: true}}})
}
