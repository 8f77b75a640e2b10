package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"swell.dev/swell/controlplane"
)

// retryAfterSeconds is what a client is told to wait when the server can't take its request now.
const retryAfterSeconds = 1

// optimisticLockMessage is Kubernetes' own; clients show it.
const optimisticLockMessage = "the object has been modified; please apply your changes to the latest version and try again"

// statusOf maps an error to the Status that the client gets. It is the only place that does. The resource
// and the name are those of the request.
func statusOf(err error, gr schema.GroupResource, name string) *metav1.Status {
	var api apierrors.APIStatus
	if errors.As(err, &api) {
		st := api.Status()
		return &st
	}
	var tooLarge *http.MaxBytesError
	var out *apierrors.StatusError
	switch {
	case errors.As(err, &tooLarge):
		out = apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", tooLarge.Limit))
	case errors.Is(err, controlplane.ErrNotFound):
		out = apierrors.NewNotFound(gr, name)
	case errors.Is(err, controlplane.ErrExists):
		out = apierrors.NewAlreadyExists(gr, name)
	case errors.Is(err, controlplane.ErrConflict):
		out = apierrors.NewConflict(gr, name, errors.New(optimisticLockMessage))
	case errors.Is(err, controlplane.ErrExpired):
		out = apierrors.NewResourceExpired("The resourceVersion for the provided watch or list is too old.")
	case errors.Is(err, controlplane.ErrInfeasible):
		out = forbiddenNodeCapacity(gr, name, err)
	case errors.Is(err, controlplane.ErrOverloaded):
		out = apierrors.NewTooManyRequests("The server is busy: "+err.Error()+". Please try again.", retryAfterSeconds)
	case errors.Is(err, controlplane.ErrUnavailable), errors.Is(err, controlplane.ErrNotLeader), errors.Is(err, controlplane.ErrNoCapacity):
		out = apierrors.NewServiceUnavailable(err.Error())
		out.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: retryAfterSeconds}
	case errors.Is(err, controlplane.ErrNoStorage):
		out = apierrors.NewGenericServerResponse(http.StatusInsufficientStorage, "", gr, name, err.Error(), 0, true)
		out.ErrStatus.Message = err.Error()
	default:
		out = apierrors.NewInternalError(err)
	}
	return &out.ErrStatus
}

// causeNodeCapacity marks a resize, or a bound of bursts, that no node could ever hold.
const causeNodeCapacity metav1.CauseType = "NodeCapacity"

func forbiddenNodeCapacity(gr schema.GroupResource, name string, err error) *apierrors.StatusError {
	out := apierrors.NewForbidden(gr, name, err)
	out.ErrStatus.Details.Causes = append(out.ErrStatus.Details.Causes, metav1.StatusCause{Type: causeNodeCapacity, Message: err.Error()})
	return out
}

// notServed answers a path that nothing is behind.
func notServed(verb string) error {
	return apierrors.NewGenericServerResponse(http.StatusNotFound, verb, schema.GroupResource{}, "", "", 0, true)
}

func notAcceptable(accepted []string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotAcceptable, Reason: metav1.StatusReasonNotAcceptable,
		Message: fmt.Sprintf("only the following media types are accepted: %s", join(accepted)),
	}}
}

func unsupportedMediaType(accepted []string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
		Message: fmt.Sprintf("the body of the request was in an unknown format - accepted media types include: %s", join(accepted)),
	}}
}

// writeError answers with err as a Status, in the form the client accepts, JSON if it accepts none.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error, gr schema.GroupResource, name string) {
	st := statusOf(err, gr, name)
	if st.Code == http.StatusInternalServerError {
		s.cfg.Log.Error("request", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if st.Details != nil && st.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(st.Details.RetryAfterSeconds)))
	}
	form, negErr := negotiate(r, s.codecs.types, false)
	if negErr != nil {
		form = format{media: mediaJSON}
	}
	s.write(w, r, int(st.Code), form, st, statusKind)
}
