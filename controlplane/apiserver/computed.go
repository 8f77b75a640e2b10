package apiserver

import (
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
)

// serveComputed serves get and list of objects that are worked out when they are asked for.
func (s *Server) serveComputed(objects func(q *request) ([]controlplane.Object, error)) func(*request) error {
	return func(q *request) error {
		items, err := objects(q)
		if err != nil {
			return err
		}
		if q.verb == "get" {
			if len(items) == 0 {
				return apierrors.NewNotFound(q.groupResource(), q.name)
			}
			return q.respond(s, http.StatusOK, items[len(items)-1])
		}
		opts, err := q.listOptions()
		if err != nil {
			return err
		}
		items, err = q.res.selected(items, opts)
		if err != nil {
			return err
		}
		return q.respondList(s, controlplane.ItemsOf(q.resource, items), metav1.ListMeta{})
	}
}

func (r *resource) selected(items []controlplane.Object, opts *internalversion.ListOptions) ([]controlplane.Object, error) {
	sel, err := r.selector(opts)
	if err != nil {
		return nil, err
	}
	out := make([]controlplane.Object, 0, len(items))
	for _, o := range items {
		if sel.matches(o) {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b controlplane.Object) int {
		if d := strings.Compare(a.GetNamespace(), b.GetNamespace()); d != 0 {
			return d
		}
		return strings.Compare(a.GetName(), b.GetName())
	})
	return out, nil
}
