package apiserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
)

// namespaceRetry is how long a namespace waits that couldn't be emptied.
const namespaceRetry = 5 * time.Second

// Run makes the permanent namespaces and empties those that are being deleted, until ctx ends. Then it
// ends the watches, so that an HTTP server can shut down. It is called once.
func (s *Server) Run(ctx context.Context) error {
	defer close(s.closing)
	if err := s.makeNamespaces(ctx); err != nil {
		return err
	}
	if err := s.makePriorityClasses(ctx); err != nil {
		return err
	}
	for {
		err := s.followNamespaces(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, controlplane.ErrExpired) {
			return fmt.Errorf("apiserver: namespaces: %w", err)
		}
	}
}

func (s *Server) makeNamespaces(ctx context.Context) error {
	res := s.resources.find("", "v1", "namespaces")
	for _, name := range permanentNamespaces {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := s.createObject(ctx, res, "", ns, false); err != nil {
			if st := statusOf(err, res.groupResource(), name); st.Reason != metav1.StatusReasonAlreadyExists {
				return fmt.Errorf("namespace %s: %w", name, err)
			}
		}
	}
	return nil
}

// followNamespaces looks at every terminating namespace when it, or a pod in it, changes.
func (s *Server) followNamespaces(ctx context.Context) error {
	pods, err := s.cfg.Store.Watch("pods", "", s.cfg.Store.Version())
	if err != nil {
		return err
	}
	defer pods.Stop()
	version := s.cfg.Store.Version()
	changes, err := s.cfg.Store.Watch("namespaces", "", version)
	if err != nil {
		return err
	}
	defer changes.Stop()
	// What can't be deleted now is tried again.
	retry := time.NewTimer(0)
	defer retry.Stop()
	look := func(name string) {
		if err := s.terminate(ctx, name); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("namespace not emptied", "namespace", name, "error", err)
			retry.Reset(namespaceRetry)
		}
	}
	for {
		select {
		case <-retry.C:
			list, _ := s.cfg.Store.List("namespaces", "")
			for _, o := range list {
				look(o.GetName())
			}
		case <-ctx.Done():
			return ctx.Err()
		case ev, ok := <-changes.Events:
			if !ok {
				return ended(changes)
			}
			if ev.Type != controlplane.Deleted {
				look(ev.Key.Name)
			}
		case ev, ok := <-pods.Events:
			if !ok {
				return ended(pods)
			}
			if ev.Type == controlplane.Deleted {
				look(ev.Key.Namespace)
			}
		}
	}
}

func ended(sub *controlplane.Subscription) error {
	if err := sub.Err(); err != nil {
		return err
	}
	return controlplane.ErrExpired // stopped by nobody we know: begin again
}

// terminate deletes what a terminating namespace holds, and the namespace once it holds nothing. Where pods
// are still ending it is called again for each that is gone.
func (s *Server) terminate(ctx context.Context, name string) error {
	key := controlplane.Key{Resource: "namespaces", Name: name}
	ns, ok := s.cfg.Store.Get(key)
	if !ok || ns.GetDeletionTimestamp() == nil {
		return nil
	}
	left, err := s.emptyNamespace(ctx, name)
	if err == nil && left == 0 && len(ns.GetFinalizers()) == 0 {
		_, err = s.cfg.Store.Commit(ctx, controlplane.Mutation{Key: key, Change: func(current controlplane.Object) (controlplane.Object, error) {
			if current == nil || current.GetUID() != ns.GetUID() {
				return current, nil
			}
			return nil, nil
		}})
	}
	return err
}

// emptyNamespace deletes everything and answers how much is left. It goes over the namespace until it finds
// nothing new, so that a create which began before the deletion is caught.
func (s *Server) emptyNamespace(ctx context.Context, name string) (left int, err error) {
	for {
		left = 0
		deleted := 0
		for _, res := range s.resources.all {
			if !res.namespaced || res.rules == nil || res.rules.prepare == nil {
				continue
			}
			items, _ := s.cfg.Store.Items(res.plural, name)
			for i := range items.Len() {
				o := items.Object(i)
				if o.GetDeletionTimestamp() != nil {
					left++
					continue
				}
				_, gone, err := s.remove(ctx, res, res.key(name, o.GetName()), deletion{})
				if errors.Is(err, controlplane.ErrNotFound) {
					continue
				}
				if err != nil {
					return left, fmt.Errorf("%s %s/%s: %w", res.plural, name, o.GetName(), err)
				}
				deleted++
				if !gone {
					left++
				}
			}
		}
		if deleted == 0 {
			return left, nil
		}
	}
}
