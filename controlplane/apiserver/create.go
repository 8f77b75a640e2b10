package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/controlplane"
)

// nameAttempts is how often a generated name is drawn again when it is taken.
const nameAttempts = 8

func (s *Server) create(q *request) error {
	opts := &metav1.CreateOptions{}
	if err := q.queryOptions(opts); err != nil {
		return err
	}
	if err := invalidOptions("CreateOptions", metavalidation.ValidateCreateOptions(opts)); err != nil {
		return err
	}
	if q.name != "" {
		return apierrors.NewMethodNotSupported(q.groupResource(), q.verb)
	}
	obj, steps, err := s.decodeNew(q, opts.FieldValidation)
	if err != nil {
		return err
	}
	obj.SetManagedFields(nil) // tracked from the first apply on
	out, err := s.createWith(q.r.Context(), q.res, steps, q.namespace, obj, len(opts.DryRun) > 0)
	if err != nil {
		return err
	}
	q.warnOf(out)
	if len(opts.DryRun) > 0 {
		return q.respond(s, http.StatusCreated, out)
	}
	return q.respondStored(s, http.StatusCreated, out)
}

// warnOf tells whoever made an object what they should know of it.
func (q *request) warnOf(made controlplane.Object) {
	if w := q.res.rules.warn; w != nil {
		warn(q.w, w(made))
	}
}

// steps are what becomes of a new object between decoding and the store.
type steps struct {
	prepare  func(controlplane.Object)
	validate func(controlplane.Object) field.ErrorList
	create   func(context.Context, controlplane.Object) (controlplane.Object, error) // nil: the plain commit
	preview  func(context.Context, controlplane.Object) controlplane.Object          // nil: a dry run answers the object
}

// createObject is a create after decoding.
func (s *Server) createObject(ctx context.Context, res *resource, namespace string, obj controlplane.Object, dryRun bool) (controlplane.Object, error) {
	return s.createWith(ctx, res, res.rules.steps(), namespace, obj, dryRun)
}

func (s *Server) createWith(ctx context.Context, res *resource, do steps, namespace string, obj controlplane.Object, dryRun bool) (controlplane.Object, error) {
	if err := s.prepareMeta(res, namespace, obj); err != nil {
		return nil, err
	}
	generated := obj.GetName() == "" && obj.GetGenerateName() != ""
	for attempt := 1; ; attempt++ {
		if generated {
			obj.SetName(generateName(obj.GetGenerateName()))
		}
		if attempt == 1 {
			do.prepare(obj)
			if errs := do.validate(obj); len(errs) > 0 {
				return nil, apierrors.NewInvalid(res.gvk.GroupKind(), obj.GetName(), errs)
			}
			if admit := res.rules.admit; admit != nil {
				if err := admit(obj); err != nil {
					return nil, err
				}
			}
		}
		out, err := s.createPrepared(ctx, res, do, obj, dryRun)
		if errors.Is(err, controlplane.ErrExists) {
			if generated && attempt < nameAttempts {
				continue
			}
			if generated {
				return nil, apierrors.NewGenerateNameConflict(res.groupResource(), obj.GetName(), retryAfterSeconds)
			}
			return nil, apierrors.NewAlreadyExists(res.groupResource(), obj.GetName())
		}
		return out, err
	}
}

// prepareMeta fills in what the server says of a new object.
func (s *Server) prepareMeta(res *resource, namespace string, obj controlplane.Object) error {
	if obj.GetResourceVersion() != "" {
		return apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	if res.namespaced {
		if obj.GetNamespace() == "" {
			obj.SetNamespace(namespace)
		}
		if obj.GetNamespace() != namespace {
			return apierrors.NewBadRequest(fmt.Sprintf("the namespace of the provided object does not match the namespace sent on the request (%s != %s)", obj.GetNamespace(), namespace))
		}
		if err := s.namespaceOpen(res, obj); err != nil {
			return err
		}
	} else if obj.GetNamespace() != "" {
		return apierrors.NewBadRequest("namespace may not be set on objects of this kind")
	}
	obj.SetUID(types.UID(uuid.NewUUID()))
	obj.SetCreationTimestamp(metav1.Now().Rfc3339Copy())
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	obj.SetSelfLink("")
	obj.SetGeneration(0)
	if res.rules.specChanged != nil {
		obj.SetGeneration(1)
	}
	return nil
}

func (s *Server) createPrepared(ctx context.Context, res *resource, do steps, obj controlplane.Object, dryRun bool) (controlplane.Object, error) {
	key := res.key(obj.GetNamespace(), obj.GetName())
	if _, taken := s.cfg.Store.Get(key); taken {
		return nil, fmt.Errorf("%s: %w", key, controlplane.ErrExists)
	}
	if pod, ok := obj.(*corev1.Pod); ok {
		if err := s.affordable(pod, nil); err != nil {
			return nil, err
		}
	}
	settle, err := s.charge(res, key, obj)
	if err != nil {
		return nil, err
	}
	if dryRun {
		settle(nil)
		if do.preview != nil {
			return do.preview(ctx, obj), nil
		}
		if pod, ok := obj.(*corev1.Pod); ok {
			return s.quoted(pod), nil
		}
		return obj, nil
	}
	create := do.create
	if create == nil {
		create = func(ctx context.Context, obj controlplane.Object) (controlplane.Object, error) {
			return s.insert(ctx, key, obj)
		}
	}
	out, err := create(ctx, obj)
	if err != nil {
		settle(nil)
		return nil, err
	}
	settle(out)
	return out, nil
}

// insert commits a new object.
func (s *Server) insert(ctx context.Context, key controlplane.Key, obj controlplane.Object) (controlplane.Object, error) {
	return s.cfg.Store.Commit(ctx, controlplane.Mutation{Key: key, Change: func(current controlplane.Object) (controlplane.Object, error) {
		if current != nil {
			return nil, fmt.Errorf("%s: %w", key, controlplane.ErrExists)
		}
		return obj, nil
	}})
}

// generateName appends five characters. Like Kubernetes it shortens the prefix so that the name stays a label.
func generateName(prefix string) string {
	const suffix, longest = 5, 63
	if len(prefix) > longest-suffix {
		prefix = prefix[:longest-suffix]
	}
	return prefix + utilrand.String(suffix)
}
