package apiserver

import (
	"net/http"
	"strings"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// BillingRequest is a request for one of billing's endpoints, which the user has the right to.
type BillingRequest struct {
	Namespace string // empty: all
	Endpoint  string // report, focus, verify …; "a/b" where the path goes on
	User      controlplane.User
}

// billingResource is what rights on billing's endpoints are given for: they aren't kinds, and answer in forms of
// their own.
const billingResource = "billing"

// openCostPaths are where OpenCost's clients ask.
var openCostPaths = []string{"/allocation", "/model/allocation"}

// billingTarget reads the path of a billing endpoint: /apis/swell.dev/v1alpha1/[namespaces/NS/]billing/ENDPOINT,
// or one of OpenCost's.
func (s *Server) billingTarget(path string) (target, bool) {
	if s.cfg.Billing == nil {
		return target{}, false
	}
	of := target{group: v1alpha1.Group, version: v1alpha1.Version, resource: billingResource}
	for _, p := range openCostPaths {
		if rest, ok := strings.CutPrefix(path, p); ok && (rest == "" || rest[0] == '/') {
			of.name, of.subresource = "allocation", strings.Trim(rest, "/")
			return of, true
		}
	}
	t, ok := parseTarget(path)
	if !ok || t.group != of.group || t.version != of.version || t.resource != of.resource || t.name == "" {
		return target{}, false
	}
	return t, true
}

func (s *Server) serveBilling(q *request) error {
	if err := s.authorize(q.user, q.attributes()); err != nil {
		return err
	}
	r := BillingRequest{Namespace: q.namespace, Endpoint: q.name, User: q.user}
	if q.subresource != "" {
		r.Endpoint += "/" + q.subresource
	}
	answer := &started{ResponseWriter: q.w}
	err := s.cfg.Billing(answer, q.r, r)
	if err != nil && answer.wrote {
		// Nothing else tells the client that the export isn't whole.
		s.cfg.Log.Error("billing: answer broken off", "path", q.r.URL.Path, "error", err)
		panic(http.ErrAbortHandler)
	}
	return err
}
