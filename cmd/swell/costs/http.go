package costs

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane/apiserver"
)

// Handler serves one endpoint. It hasn't answered when it returns an error; an error of the query is one of
// apimachinery's (BadRequest).
type Handler func(http.ResponseWriter, *http.Request, apiserver.BillingRequest) error

// API are billing's endpoints, below /apis/swell.dev/v1alpha1/[namespaces/PROJECT/]billing/. Endpoints are added
// before it serves.
type API struct {
	endpoints map[string]endpoint
}

type endpoint struct {
	methods []string
	serve   Handler
}

// Handle adds an endpoint: its name, or "name/" for all that begin so. GET is HEAD as well.
func (a *API) Handle(name string, serve Handler, methods ...string) {
	if a.endpoints == nil {
		a.endpoints = map[string]endpoint{}
	}
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	a.endpoints[name] = endpoint{methods, serve}
}

// Serve finds the endpoint of a request.
func (a *API) Serve(w http.ResponseWriter, r *http.Request, b apiserver.BillingRequest) error {
	e, ok := a.endpoints[b.Endpoint]
	if !ok {
		first, _, _ := strings.Cut(b.Endpoint, "/")
		e, ok = a.endpoints[first+"/"]
	}
	gr := schema.GroupResource{Group: v1alpha1.Group, Resource: "billing"}
	switch {
	case !ok:
		return apierrors.NewNotFound(gr, b.Endpoint)
	case !slices.Contains(e.methods, r.Method):
		return apierrors.NewMethodNotSupported(gr, strings.ToLower(r.Method))
	}
	err := e.serve(w, r, b)
	var bad *BadQuery
	if errors.As(err, &bad) {
		return apierrors.NewBadRequest(bad.Error())
	}
	return err
}

// BadQuery is what is wrong with a parameter of a query.
type BadQuery struct{ Parameter, Value, Want string }

func (e *BadQuery) Error() string {
	return "query parameter " + e.Parameter + `: "` + e.Value + `": want ` + e.Want
}
