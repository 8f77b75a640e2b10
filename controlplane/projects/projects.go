// Package projects knows whose projects are. A project is a namespace, and its account is what the namespace's label
// swell.dev/account says, or said last: what a namespace has used is billed after it is gone, so its account is stored
// beside it, as an object of the store's resource projects with the namespace's name.
package projects

import (
	"context"
	"errors"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

const (
	projectsResource   = "projects"
	namespacesResource = "namespaces"
)

type store interface {
	Get(controlplane.Key) (controlplane.Object, bool)
	List(resource, namespace string) ([]controlplane.Object, uint64)
	Watch(resource, namespace string, after uint64) (*controlplane.Subscription, error)
	Commit(context.Context, controlplane.Mutation) (controlplane.Object, error)
}

// Accounts answers whose projects are.
type Accounts struct {
	store store

	mu   sync.RWMutex      // guards last
	last map[string]string // account by project: what is stored
}

// New knows what was stored before. Run keeps it up to date.
func New(s store) *Accounts {
	a := &Accounts{store: s, last: map[string]string{}}
	list, _ := s.List(projectsResource, "")
	for _, o := range list {
		a.last[o.GetName()] = o.(*v1alpha1.Project).Account
	}
	return a
}

// Of answers a project's account. A namespace that is there says itself.
func (a *Accounts) Of(project string) string {
	if ns, ok := a.store.Get(controlplane.Key{Resource: namespacesResource, Name: project}); ok {
		return v1alpha1.AccountOf(ns.GetLabels())
	}
	return a.stored(project)
}

func (a *Accounts) stored(project string) string {
	if account, known := a.Known(project); known {
		return account
	}
	return v1alpha1.DefaultAccount
}

// Known answers the account that is stored of a project, of which there may be no namespace any more; false if there
// never was one.
func (a *Accounts) Known(project string) (account string, known bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	account, known = a.last[project]
	return account, known
}

// Run notes the accounts that namespaces name until ctx ends. It is called once.
func (a *Accounts) Run(ctx context.Context) error {
	for {
		err := a.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, controlplane.ErrExpired) {
			return fmt.Errorf("projects: %w", err)
		}
	}
}

func (a *Accounts) follow(ctx context.Context) error {
	list, version := a.store.List(namespacesResource, "")
	sub, err := a.store.Watch(namespacesResource, "", version)
	if err != nil {
		return err
	}
	defer sub.Stop()
	for _, ns := range list {
		if err := a.note(ctx, ns); err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ev, ok := <-sub.Events:
			if !ok {
				if err := sub.Err(); err != nil {
					return err
				}
				return controlplane.ErrExpired
			}
			if err := a.note(ctx, ev.Object); err != nil { // of one that is gone, the last state
				return err
			}
		}
	}
}

// note stores a namespace's account where that isn't what is known.
func (a *Accounts) note(ctx context.Context, ns controlplane.Object) error {
	name, account := ns.GetName(), v1alpha1.AccountOf(ns.GetLabels())
	if was, known := a.Known(name); known && account == was {
		return nil
	}
	key := controlplane.Key{Resource: projectsResource, Name: name}
	_, err := a.store.Commit(ctx, controlplane.Mutation{Key: key, Change: func(controlplane.Object) (controlplane.Object, error) {
		return &v1alpha1.Project{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.Group + "/" + v1alpha1.Version, Kind: "Project"},
			ObjectMeta: metav1.ObjectMeta{Name: name}, Account: account,
		}, nil
	}})
	switch {
	case errors.Is(err, controlplane.ErrOverloaded), errors.Is(err, controlplane.ErrUnavailable):
		return controlplane.ErrExpired // look again at all
	case err != nil:
		return fmt.Errorf("account of namespace %s: %w", name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last[name] = account
	return nil
}
