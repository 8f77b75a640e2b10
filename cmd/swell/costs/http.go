package costs

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane/apiserver"
)

// Handler serves one endpoint. An error is the answer or, where that has begun, cuts it off; one of the query is a
// BadQuery or one of apimachinery's.
type Handler func(http.ResponseWriter, *http.Request, apiserver.BillingRequest) error

// API are billing's endpoints, below /apis/swell.dev/v1alpha1/[namespaces/PROJECT/]billing/. Endpoints are added
// before it serves.
type API struct {
	endpoints map[string]endpoint
	turns     chan struct{} // of those that read: each may read the whole ledger
}

// mostReaders bounds the memory and the cores that reports and exports take from the control plane they are asked of.
// Who comes when there are so many waits for as long as it cares to.
const mostReaders = 4

type endpoint struct {
	methods []string
	serve   Handler
}

// Handle adds an endpoint: its name, or "name/" for all that begin so. GET is HEAD as well.
func (a *API) Handle(name string, serve Handler, methods ...string) {
	if a.endpoints == nil {
		a.endpoints, a.turns = map[string]endpoint{}, make(chan struct{}, mostReaders)
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
	if r.Method != http.MethodPost {
		select {
		case a.turns <- struct{}{}:
			defer func() { <-a.turns }()
		case <-r.Context().Done():
			return r.Context().Err()
		}
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

// only refuses parameters that an endpoint doesn't know.
func only(v url.Values, names ...string) error {
	for name := range v {
		if !slices.Contains(names, name) {
			return &BadQuery{name, v.Get(name), "none of that name, but one of " + strings.Join(names, ", ")}
		}
	}
	return nil
}

// boolean reads a parameter that is true or false; false where it isn't given.
func boolean(v url.Values, name string) (bool, error) {
	switch s := v.Get(name); s {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, &BadQuery{name, s, "true or false"}
	}
}
