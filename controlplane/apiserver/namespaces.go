package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// permanentNamespaces are made at the start and can't be deleted.
var permanentNamespaces = []string{metav1.NamespaceDefault, metav1.NamespaceSystem}

func (s *Server) namespaces() *resource {
	return &resource{
		gvk: core("Namespace"), plural: "namespaces", singular: "namespace", short: []string{"ns"},
		verbs: []string{"create", "delete", "get", "list", "patch", "update", "watch"}, serve: s.serveStored, table: namespaceTable,
		subresources: []subresource{{name: "status", gvk: core("Namespace"), methods: getOnly, verbs: []string{"get"}, serve: s.get}},
		rules: &rules{
			new:     func() controlplane.Object { return &corev1.Namespace{} },
			newList: func() runtime.Object { return &corev1.NamespaceList{} },
			fields: func(o controlplane.Object) fields.Set {
				return fields.Set{"status.phase": string(o.(*corev1.Namespace).Status.Phase)}
			},
			prepare: prepareNamespace,
			admit:   func(o controlplane.Object) error { return s.mayMove(o) },
			admitUpdate: func(next, _ controlplane.Object) error {
				return s.mayMove(next)
			},
			prepareUpdate: func(nextObj, oldObj controlplane.Object) {
				next, old := nextObj.(*corev1.Namespace), oldObj.(*corev1.Namespace)
				next.Spec, next.Status = *old.Spec.DeepCopy(), *old.Status.DeepCopy()
				labelNamespace(next)
			},
			validate:       func(o controlplane.Object) field.ErrorList { return validateMeta(o, validation.NameIsDNSLabel) },
			validateUpdate: validateMetaUpdate,
			delete:         s.deleteNamespace,
		},
	}
}

func prepareNamespace(o controlplane.Object) {
	ns := o.(*corev1.Namespace)
	ns.Spec = corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{corev1.FinalizerKubernetes}}
	ns.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
	labelNamespace(ns)
}

// mayMove refuses to make a namespace another account's where that would change what was invoiced.
func (s *Server) mayMove(ns controlplane.Object) error {
	if s.cfg.MayMove == nil {
		return nil
	}
	if err := s.cfg.MayMove(context.Background(), ns.GetName(), v1alpha1.AccountOf(ns.GetLabels())); err != nil {
		return apierrors.NewForbidden(corev1.Resource("namespaces"), ns.GetName(), err)
	}
	return nil
}

func labelNamespace(ns *corev1.Namespace) {
	if ns.Labels == nil {
		ns.Labels = map[string]string{}
	}
	ns.Labels[corev1.LabelMetadataName] = ns.Name
}

// namespaceOpen checks that a new object's namespace exists and isn't being deleted.
func (s *Server) namespaceOpen(res *resource, obj controlplane.Object) error {
	o, ok := s.cfg.Store.Get(controlplane.Key{Resource: "namespaces", Name: obj.GetNamespace()})
	if !ok {
		return apierrors.NewNotFound(corev1.Resource("namespaces"), obj.GetNamespace())
	}
	if o.GetDeletionTimestamp() == nil {
		return nil
	}
	err := apierrors.NewForbidden(res.groupResource(), obj.GetName(),
		fmt.Errorf("unable to create new content in namespace %s because it is being terminated", obj.GetNamespace()))
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{
		Type: corev1.NamespaceTerminatingCause, Field: "metadata.namespace",
		Message: fmt.Sprintf("namespace %s is being terminated", obj.GetNamespace()),
	})
	return err
}

// deleteNamespace marks a namespace. Run empties it and then removes it.
func (s *Server) deleteNamespace(ctx context.Context, key controlplane.Key, d deletion) (obj controlplane.Object, gone bool, err error) {
	res := s.resources.find("", "v1", "namespaces")
	if slices.Contains(permanentNamespaces, key.Name) {
		return nil, false, apierrors.NewForbidden(res.groupResource(), key.Name, errors.New("this namespace may not be deleted"))
	}
	obj, err = s.modify(ctx, key, d.dryRun, func(current controlplane.Object) (controlplane.Object, error) {
		if err := d.check(res, current); err != nil {
			return nil, err
		}
		if current.GetDeletionTimestamp() != nil {
			return current, nil
		}
		next := current.(*corev1.Namespace).DeepCopy()
		now := metav1.Now().Rfc3339Copy()
		next.DeletionTimestamp = &now
		next.Status.Phase = corev1.NamespaceTerminating
		return next, nil
	})
	return obj, false, err
}
