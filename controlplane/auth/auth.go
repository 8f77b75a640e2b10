// Package auth says who asks, and whether they may.
//
// A user is known by a client certificate of the control plane's CA (common name and organisations, as in
// Kubernetes) or by a bearer token from a file. Rights follow from groups:
//
//	swell:admins            everything
//	swell:viewers           get, list and watch of everything but secrets
//	swell:editors:<ns>      everything in one namespace, and to see it, nodes and priority classes; of what bounds
//	                        the namespace itself (resource quotas, limit ranges, budgets) and of its bills, to see it
//	system:nodes            nothing here: nodelets have an endpoint of their own
//
// Everybody who is known may look at discovery and ask what they may do.
package auth

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"swell.dev/swell/controlplane"
	"swell.dev/swell/internal/pki"
)

// Groups with rights.
const (
	GroupAdmins  = "swell:admins"
	GroupViewers = "swell:viewers"
	GroupNodes   = pki.NodeGroup
	editors      = "swell:editors:" // and a namespace

	groupAuthenticated = "system:authenticated"
)

// ErrUnauthenticated says that nobody we know asks.
var ErrUnauthenticated = errors.New("a client certificate or a bearer token is required")

// Authenticator knows users.
type Authenticator struct{ tokens *TokenFile }

// NewAuthenticator answers one that knows the tokens of a file; nil for certificates alone.
func NewAuthenticator(tokens *TokenFile) *Authenticator { return &Authenticator{tokens: tokens} }

// Authenticate answers who sent a request. Certificates have been verified by the TLS layer.
func (a *Authenticator) Authenticate(r *http.Request) (controlplane.User, error) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		cert := r.TLS.VerifiedChains[0][0]
		if cert.Subject.CommonName == "" {
			return controlplane.User{}, errors.New("the client certificate names nobody")
		}
		return controlplane.User{Name: cert.Subject.CommonName, Groups: withAuthenticated(cert.Subject.Organization)}, nil
	}
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "bearer") && a.tokens != nil {
		if user, ok := a.tokens.lookup(strings.TrimSpace(token)); ok {
			return user, nil
		}
		return controlplane.User{}, errors.New("the bearer token isn't known")
	}
	return controlplane.User{}, ErrUnauthenticated
}

func withAuthenticated(groups []string) []string {
	return append(slices.Clone(groups), groupAuthenticated)
}

// Authorize answers whether a user may, and if not, why.
func Authorize(u controlplane.User, a controlplane.Attributes) (bool, string) {
	if slices.Contains(u.Groups, GroupAdmins) {
		return true, ""
	}
	if slices.Contains(u.Groups, GroupNodes) {
		return false, "nodes have no rights on the API"
	}
	if strings.HasPrefix(a.Path, "/debug/") {
		return false, "only administrators look into the process"
	}
	if a.Path == "/metrics" && !slices.Contains(u.Groups, GroupViewers) {
		return false, "only administrators and viewers read metrics, which are of all namespaces"
	}
	if a.Resource == "" || selfReview(a) {
		return true, ""
	}
	reads := slices.Contains([]string{"get", "list", "watch"}, a.Verb)
	for _, g := range u.Groups {
		if g == GroupViewers && reads && a.Resource != "secrets" && !opens(a.Subresource) {
			return true, ""
		}
		ns, ok := strings.CutPrefix(g, editors)
		if !ok || ns == "" {
			continue
		}
		inNamespace := a.Namespace == ns && a.Resource != "namespaces" && (reads || !bounds(a.Resource))
		ownNamespace := a.Resource == "namespaces" && reads && a.Name == ns
		seesNodes := (a.Resource == "nodes" || a.Resource == "priorityclasses") && a.Subresource == "" && reads
		if inNamespace || ownNamespace || seesNodes {
			return true, ""
		}
	}
	return false, "none of the user's groups allows it"
}

// opens reports subresources that reach into a running container, whatever the verb.
func opens(subresource string) bool {
	return subresource == "exec" || subresource == "attach" || subresource == "portforward"
}

// bounds reports what an administrator sets for those who edit a namespace.
func bounds(resource string) bool {
	return resource == "resourcequotas" || resource == "limitranges" || resource == "budgets" || resource == "billing"
}

func selfReview(a controlplane.Attributes) bool {
	return strings.HasPrefix(a.Resource, "selfsubject") && a.Verb == "create"
}
