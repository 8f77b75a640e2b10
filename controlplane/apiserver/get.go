package apiserver

import (
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"swell.dev/swell/controlplane"
)

// get answers one object. The state is always the latest, which satisfies any resourceVersion not above it.
func (s *Server) get(q *request) error {
	asked, err := parseVersion(q.r.URL.Query().Get("resourceVersion"))
	if err != nil {
		return err
	}
	if present := s.cfg.Store.Version(); asked > present {
		return tooNew(asked, present)
	}
	obj, err := s.stored(q)
	if err != nil {
		return err
	}
	return q.respondStored(s, http.StatusOK, obj)
}

func (s *Server) stored(q *request) (controlplane.Object, error) {
	obj, ok := s.cfg.Store.Get(q.key())
	if !ok {
		return nil, apierrors.NewNotFound(q.groupResource(), q.name)
	}
	return obj, nil
}
