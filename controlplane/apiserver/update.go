package apiserver

import (
	"errors"
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"

	"swell.dev/swell/controlplane"
)

// update is PUT. What doesn't exist isn't created.
func (s *Server) update(q *request) error {
	return s.updateWith(q, s.modifyCounted, func(next, old controlplane.Object, manager string) (controlplane.Object, error) {
		return s.nextObject(q, next, old, manager)
	})
}

func (s *Server) updateWith(q *request, commit committer, finish finisher) error {
	opts := &metav1.UpdateOptions{}
	if err := q.queryOptions(opts); err != nil {
		return err
	}
	if err := invalidOptions("UpdateOptions", metavalidation.ValidateUpdateOptions(opts)); err != nil {
		return err
	}
	sent := q.res.rules.new()
	if err := s.decodeBody(q, sent, q.res.gvk, opts.FieldValidation); err != nil {
		return err
	}
	manager := s.managerOf(q, opts.FieldManager)
	out, err := commit(q.r.Context(), q.key(), len(opts.DryRun) > 0, func(old controlplane.Object) (controlplane.Object, error) {
		return finish(sent.DeepCopyObject().(controlplane.Object), old, manager)
	})
	if err != nil {
		return err
	}
	s.afterUpdate(q, out)
	return q.respond(s, http.StatusOK, out)
}

// nextObject is the finisher of plain updates: nil where the update was the last thing that a deletion
// waited for, old itself where nothing changes.
func (s *Server) nextObject(q *request, next, old controlplane.Object, manager string) (controlplane.Object, error) {
	if err := sameObject(q, next, old); err != nil {
		return nil, err
	}
	r := q.res.rules
	next.GetObjectKind().SetGroupVersionKind(old.GetObjectKind().GroupVersionKind())
	next.SetSelfLink("")
	next.SetGeneration(old.GetGeneration())
	if r.prepareUpdate != nil {
		r.prepareUpdate(next, old)
	}
	if r.specChanged != nil && r.specChanged(next, old) {
		next.SetGeneration(old.GetGeneration() + 1)
	}
	if errs := r.validateUpdate(next, old); len(errs) > 0 {
		return nil, apierrors.NewInvalid(q.res.gvk.GroupKind(), old.GetName(), errs)
	}
	if r.admitUpdate != nil {
		if err := r.admitUpdate(next, old); err != nil {
			return nil, err
		}
	}
	if manager != "" {
		if err := s.trackUpdate(q, next, old, manager); err != nil {
			return nil, err
		}
	}
	if unchanged(next, old) {
		return old, nil
	}
	if next.GetDeletionTimestamp() != nil && len(next.GetFinalizers()) == 0 && len(old.GetFinalizers()) > 0 && noGrace(next) {
		return nil, nil
	}
	return next, nil
}

// afterUpdate gives back what an update freed that removed the object.
func (s *Server) afterUpdate(q *request, out controlplane.Object) {
	switch q.resource {
	case "priorityclasses":
		s.findDefaultClass()
	case limitRangesResource:
		s.findLimits(q.namespace)
	case resourceQuotasResource:
		s.cfg.Quota.Reload(q.namespace)
	case budgetsResource, accountBudgetsResource:
		s.cfg.Budgets.Reload()
	}
	if q.resource != "pods" || out.GetDeletionTimestamp() == nil {
		return
	}
	if now, ok := s.cfg.Store.Get(q.key()); !ok || now.GetUID() != out.GetUID() {
		s.forget(string(out.GetUID()))
	}
}

func noGrace(o controlplane.Object) bool {
	g := o.GetDeletionGracePeriodSeconds()
	return g == nil || *g == 0
}

// sameObject checks that next is meant for old and for old's version, and fills in what was left out.
func sameObject(q *request, next, old controlplane.Object) error {
	if next.GetName() == "" {
		next.SetName(q.name)
	}
	if next.GetName() != q.name {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", next.GetName(), q.name))
	}
	if next.GetNamespace() == "" {
		next.SetNamespace(q.namespace)
	}
	if next.GetNamespace() != q.namespace {
		return apierrors.NewBadRequest(fmt.Sprintf("the namespace of the object (%s) does not match the namespace on the request (%s)", next.GetNamespace(), q.namespace))
	}
	if uid := next.GetUID(); uid != "" && uid != old.GetUID() {
		return apierrors.NewConflict(q.groupResource(), q.name, fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", uid, old.GetUID()))
	}
	if v := next.GetResourceVersion(); v != "" && v != old.GetResourceVersion() {
		return apierrors.NewConflict(q.groupResource(), q.name, errors.New(optimisticLockMessage))
	}
	next.SetResourceVersion(old.GetResourceVersion())
	next.SetUID(old.GetUID())
	// Creation and deletion times are the server's; validation refuses other ones, empty ones are filled in.
	if created := next.GetCreationTimestamp(); created.IsZero() {
		next.SetCreationTimestamp(old.GetCreationTimestamp())
	}
	if next.GetDeletionTimestamp() == nil {
		next.SetDeletionTimestamp(old.GetDeletionTimestamp())
	}
	if next.GetDeletionGracePeriodSeconds() == nil {
		next.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	}
	return nil
}

// unchanged compares all but the times in managed fields.
func unchanged(next, old controlplane.Object) bool {
	a, b := next.GetManagedFields(), old.GetManagedFields()
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		x.Time, y.Time = nil, nil
		if !equality.Semantic.DeepEqual(x, y) {
			return false
		}
	}
	next.SetManagedFields(b)
	same := equality.Semantic.DeepEqual(next, old)
	next.SetManagedFields(a)
	return same
}
