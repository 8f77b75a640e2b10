package apiserver

import (
	"context"
	"errors"
	"fmt"

	"swell.dev/swell/controlplane"
)

// errMoved abandons a commit that was computed from a state which is no longer the present one.
var errMoved = errors.New("the object moved on")

// optimisticAttempts is how often a change is computed outside the store before it is computed inside,
// where nobody can come between but everybody waits.
const optimisticAttempts = 4

// committer commits a change to an existing object: modify, or modifySize for resizes.
type committer func(ctx context.Context, key controlplane.Key, dryRun bool, change func(controlplane.Object) (controlplane.Object, error)) (controlplane.Object, error)

// modify changes an existing object. Change gets the present state and answers the next one, as in a
// Mutation; it may run several times.
func (s *Server) modify(ctx context.Context, key controlplane.Key, dryRun bool, change func(controlplane.Object) (controlplane.Object, error)) (controlplane.Object, error) {
	for range optimisticAttempts {
		base, ok := s.cfg.Store.Get(key)
		if !ok {
			return nil, fmt.Errorf("%s: %w", key, controlplane.ErrNotFound)
		}
		next, err := change(base)
		if err != nil {
			return nil, err
		}
		if next == base || dryRun {
			if next == nil {
				next = base
			}
			return next, nil
		}
		out, err := s.cfg.Store.Commit(ctx, controlplane.Mutation{Key: key, Change: func(current controlplane.Object) (controlplane.Object, error) {
			if current == nil {
				return nil, fmt.Errorf("%s: %w", key, controlplane.ErrNotFound)
			}
			if current.GetUID() != base.GetUID() || current.GetResourceVersion() != base.GetResourceVersion() {
				return nil, errMoved
			}
			return next, nil
		}})
		if !errors.Is(err, errMoved) {
			return out, err
		}
	}
	return s.cfg.Store.Commit(ctx, controlplane.Mutation{Key: key, Change: func(current controlplane.Object) (controlplane.Object, error) {
		if current == nil {
			return nil, fmt.Errorf("%s: %w", key, controlplane.ErrNotFound)
		}
		return change(current)
	}})
}
