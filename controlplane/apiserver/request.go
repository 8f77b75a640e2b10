package apiserver

import (
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"swell.dev/swell/controlplane"
)

// target is what a path names.
type target struct {
	group, version, resource, subresource string
	namespace, name                       string
}

// parseTarget reads /api/v1/… and /apis/GROUP/VERSION/…. It reports false for paths that name no resource.
func parseTarget(path string) (target, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	var t target
	switch {
	case len(parts) > 2 && parts[0] == "api":
		t.version, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		t.group, t.version, parts = parts[1], parts[2], parts[3:]
	default:
		return target{}, false
	}
	if parts[0] == "namespaces" && len(parts) > 1 {
		// namespaces/NS/RESOURCE…; namespaces/NS alone and its two subresources are the namespace itself.
		t.namespace = parts[1]
		if len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
			parts = parts[2:]
		}
	}
	t.resource = parts[0]
	if len(parts) > 1 {
		t.name = parts[1]
	}
	if len(parts) > 2 {
		t.subresource = strings.Join(parts[2:], "/")
	}
	return t, true
}

// request is one request on its way through.
type request struct {
	target
	w    http.ResponseWriter
	r    *http.Request
	user controlplane.User
	verb string
	res  *resource
	as   format // negotiated
}

// verbOf is the verb that is authorised.
func verbOf(r *http.Request, t target) string {
	if t.subresource == "exec" || t.subresource == "portforward" || t.subresource == "attach" {
		return "create" // whatever method opens the connection
	}
	switch r.Method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if t.name == "" {
			return "deletecollection"
		}
		return "delete"
	case http.MethodGet, http.MethodHead:
		if watch := r.URL.Query().Get("watch"); watch == "true" || watch == "1" {
			return "watch"
		}
		if t.name == "" {
			return "list"
		}
		return "get"
	}
	return strings.ToLower(r.Method)
}

// attributes are what authorisation sees. A list that a field selector narrows to one name counts as for
// that name.
func (q *request) attributes() controlplane.Attributes {
	a := controlplane.Attributes{
		Verb: q.verb, Group: q.group, Resource: q.resource, Subresource: q.subresource, Namespace: q.namespace, Name: q.name,
	}
	if a.Name == "" && (q.verb == "list" || q.verb == "watch" || q.verb == "deletecollection") {
		if sel, err := fields.ParseSelector(q.r.URL.Query().Get("fieldSelector")); err == nil {
			a.Name, _ = sel.RequiresExactMatch("metadata.name")
		}
	}
	return a
}

func (q *request) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: q.group, Resource: q.resource}
}

func (q *request) key() controlplane.Key {
	return q.res.key(q.namespace, q.name)
}
