package apiserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/controlplane"
)

// deletion is what a delete asks for. Propagation makes no difference: nothing here owns anything.
type deletion struct {
	uid     *types.UID
	version *string
	grace   *int64 // seconds
	dryRun  bool
}

func (d deletion) check(res *resource, o controlplane.Object) error {
	if d.uid != nil && *d.uid != o.GetUID() {
		return apierrors.NewConflict(res.groupResource(), o.GetName(), fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", *d.uid, o.GetUID()))
	}
	if d.version != nil && *d.version != o.GetResourceVersion() {
		return apierrors.NewConflict(res.groupResource(), o.GetName(), fmt.Errorf("Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", *d.version, o.GetResourceVersion()))
	}
	return nil
}

// readDeletion reads the options from the body, or where there is none from the query.
func (s *Server) readDeletion(q *request) (deletion, error) {
	opts := &metav1.DeleteOptions{}
	data, err := q.body()
	if err != nil {
		return deletion{}, err
	}
	if len(bytes.TrimSpace(data)) > 0 {
		media, err := q.mediaType(s.codecs.types)
		if err != nil {
			return deletion{}, err
		}
		gvk := metaKind("v1", "DeleteOptions")
		_, actual, err := s.codecs.info[media].Serializer.Decode(data, &gvk, opts)
		if err != nil {
			return deletion{}, undecodable(err, actual, gvk, data)
		}
		if actual.Kind != gvk.Kind {
			return deletion{}, apierrors.NewBadRequest(fmt.Sprintf("decoded object cannot be converted to DeleteOptions: %s", actual.Kind))
		}
	} else if err := q.queryOptions(opts); err != nil {
		return deletion{}, err
	}
	if err := invalidOptions("DeleteOptions", metavalidation.ValidateDeleteOptions(opts)); err != nil {
		return deletion{}, err
	}
	d := deletion{grace: opts.GracePeriodSeconds, dryRun: len(opts.DryRun) > 0}
	if p := opts.Preconditions; p != nil {
		d.uid, d.version = p.UID, p.ResourceVersion
	}
	if d.grace != nil && *d.grace < 0 {
		one := int64(1) // as Kubernetes does
		d.grace = &one
	}
	return d, nil
}

func (s *Server) deleteOne(q *request) error {
	d, err := s.readDeletion(q)
	if err != nil {
		return err
	}
	obj, gone, err := s.remove(q.r.Context(), q.res, q.key(), d)
	if err != nil {
		return err
	}
	if gone && q.resource != "pods" {
		st := &metav1.Status{Status: metav1.StatusSuccess, Details: &metav1.StatusDetails{
			Name: q.name, Group: q.group, Kind: q.resource, UID: obj.GetUID(),
		}}
		form, err := negotiate(q.r, s.codecs.types, false)
		if err != nil {
			form = format{media: mediaJSON}
		}
		s.write(q.w, q.r, http.StatusOK, form, st, statusKind)
		return nil
	}
	return q.respond(s, http.StatusOK, obj)
}

func (s *Server) deleteMany(q *request) error {
	d, err := s.readDeletion(q)
	if err != nil {
		return err
	}
	opts, err := q.listOptions()
	if err != nil {
		return err
	}
	items, lm, err := s.page(q.res, q.namespace, opts)
	if err != nil {
		return err
	}
	deleted := make([]controlplane.Object, 0, items.Len())
	for i := range items.Len() {
		o := items.Object(i)
		uid := o.GetUID()
		each := d
		each.uid = &uid // not what took its name meanwhile
		obj, _, err := s.remove(q.r.Context(), q.res, q.res.key(o.GetNamespace(), o.GetName()), each)
		if errors.Is(err, controlplane.ErrNotFound) || apierrors.IsNotFound(err) || apierrors.IsConflict(err) && d.version == nil {
			continue
		}
		if err != nil {
			return err
		}
		deleted = append(deleted, obj)
	}
	return q.respondList(s, controlplane.ItemsOf(q.resource, deleted), metav1.ListMeta{ResourceVersion: lm.ResourceVersion})
}

// remove deletes an object, or marks it where something has to happen first.
func (s *Server) remove(ctx context.Context, res *resource, key controlplane.Key, d deletion) (obj controlplane.Object, gone bool, err error) {
	if res.rules.delete != nil {
		obj, gone, err = res.rules.delete(ctx, key, d)
	} else {
		obj, gone, err = s.removePlain(ctx, res, key, d)
	}
	if err == nil && gone && !d.dryRun && s.cfg.Quota != nil && res.namespaced {
		s.cfg.Quota.Removed(key, obj)
	}
	return obj, gone, err
}

func (s *Server) removePlain(ctx context.Context, res *resource, key controlplane.Key, d deletion) (obj controlplane.Object, gone bool, err error) {
	obj, err = s.modify(ctx, key, d.dryRun, func(current controlplane.Object) (controlplane.Object, error) {
		gone = false
		if err := d.check(res, current); err != nil {
			return nil, err
		}
		if len(current.GetFinalizers()) == 0 {
			gone = true
			return nil, nil
		}
		if current.GetDeletionTimestamp() != nil {
			return current, nil
		}
		next := current.DeepCopyObject().(controlplane.Object)
		markDeleted(next, 0)
		return next, nil
	})
	return obj, gone, err
}

// markDeleted sets when an object is to be gone: graceSeconds from now.
func markDeleted(o controlplane.Object, graceSeconds int64) {
	now := metav1.Now().Rfc3339Copy()
	at := metav1.NewTime(now.Add(secondsOf(graceSeconds)))
	o.SetDeletionTimestamp(&at)
	o.SetDeletionGracePeriodSeconds(&graceSeconds)
	if o.GetGeneration() > 0 {
		o.SetGeneration(o.GetGeneration() + 1)
	}
}
