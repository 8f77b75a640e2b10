package apiserver

import (
	"context"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/controlplane"
)

const resourceQuotasResource = "resourcequotas"

// resourceQuotas have a status that is observed. What others write into it is put right at once.
func (s *Server) resourceQuotas() *resource {
	res := &resource{
		gvk: core("ResourceQuota"), plural: resourceQuotasResource, singular: "resourcequota", short: []string{"quota"},
		namespaced: true, verbs: allVerbs, serve: s.serveStored, table: resourceQuotaTable,
		subresources: []subresource{{
			name: "status", gvk: core("ResourceQuota"), methods: []string{http.MethodGet, http.MethodHead, http.MethodPatch, http.MethodPut},
			verbs: []string{"get", "patch", "update"}, serve: s.serveQuotaStatus,
		}},
		rules: &rules{
			new:     func() controlplane.Object { return &corev1.ResourceQuota{} },
			newList: func() runtime.Object { return &corev1.ResourceQuotaList{} },
			prepare: func(o controlplane.Object) { o.(*corev1.ResourceQuota).Status = corev1.ResourceQuotaStatus{} },
			prepareUpdate: func(next, old controlplane.Object) {
				next.(*corev1.ResourceQuota).Status = *old.(*corev1.ResourceQuota).Status.DeepCopy()
			},
			validate: func(o controlplane.Object) field.ErrorList {
				return append(validateMeta(o, validation.NameIsDNSSubdomain), s.cfg.Admission.ValidateResourceQuota(o.(*corev1.ResourceQuota), s.countable())...)
			},
			validateUpdate: s.validateQuotaUpdate,
		},
	}
	res.rules.create = func(ctx context.Context, o controlplane.Object) (controlplane.Object, error) {
		defer s.cfg.Quota.Reload(o.GetNamespace())
		return s.insert(ctx, res.key(o.GetNamespace(), o.GetName()), o)
	}
	res.rules.delete = func(ctx context.Context, key controlplane.Key, d deletion) (controlplane.Object, bool, error) {
		defer s.cfg.Quota.Reload(key.Namespace)
		return s.removePlain(ctx, res, key, d)
	}
	return res
}

func (s *Server) validateQuotaUpdate(next, old controlplane.Object) field.ErrorList {
	return append(validateMetaUpdate(next, old),
		s.cfg.Admission.ValidateResourceQuotaUpdate(next.(*corev1.ResourceQuota), old.(*corev1.ResourceQuota), s.countable())...)
}

// countable are the resources whose objects quotas can count, as count/RESOURCE names them: those that are stored in
// namespaces for good.
func (s *Server) countable() []string {
	var out []string
	for _, res := range s.resources.all {
		if res.namespaced && res.rules != nil && res.rules.prepare != nil && res.plural != "events" {
			out = append(out, res.groupResource().String())
		}
	}
	return out
}

func (s *Server) serveQuotaStatus(q *request) error {
	finish := func(next, old controlplane.Object, manager string) (controlplane.Object, error) {
		if err := sameObject(q, next, old); err != nil {
			return nil, err
		}
		out := old.DeepCopyObject().(*corev1.ResourceQuota)
		out.Status = next.(*corev1.ResourceQuota).Status
		if errs := s.validateQuotaUpdate(out, old); len(errs) > 0 {
			return nil, apierrors.NewInvalid(q.res.gvk.GroupKind(), old.GetName(), errs)
		}
		out.ManagedFields = next.GetManagedFields() // which an apply brings
		if manager != "" {
			if err := s.trackUpdate(q, out, old, manager); err != nil {
				return nil, err
			}
		}
		if unchanged(out, old) {
			return old, nil
		}
		return out, nil
	}
	switch q.r.Method {
	case http.MethodPut:
		return s.updateWith(q, s.modify, finish)
	case http.MethodPatch:
		return s.patchWith(q, s.modify, finish)
	}
	return s.get(q)
}

func uncharged(controlplane.Object) {}

// charge counts an object that is about to be stored against its namespace's quotas. Settle is to be told what was
// stored, nil if nothing was.
func (s *Server) charge(res *resource, key controlplane.Key, next controlplane.Object) (settle func(controlplane.Object), err error) {
	if s.cfg.Quota == nil || !res.namespaced {
		return uncharged, nil
	}
	settle, err = s.cfg.Quota.Charge(key, next)
	if err != nil {
		return nil, apierrors.NewForbidden(res.groupResource(), key.Name, err)
	}
	return settle, nil
}

// modifyCounted is modify for changes by which a pod can come under another quota: it gets a deadline.
func (s *Server) modifyCounted(ctx context.Context, key controlplane.Key, dryRun bool, change func(controlplane.Object) (controlplane.Object, error)) (controlplane.Object, error) {
	if s.cfg.Quota == nil || key.Resource != "pods" {
		return s.modify(ctx, key, dryRun, change)
	}
	settle := uncharged
	out, err := s.modify(ctx, key, dryRun, func(old controlplane.Object) (controlplane.Object, error) {
		settle(nil) // of an attempt before
		settle = uncharged
		next, err := change(old)
		if err != nil || next == nil || next == old || (next.(*corev1.Pod).Spec.ActiveDeadlineSeconds == nil) == (old.(*corev1.Pod).Spec.ActiveDeadlineSeconds == nil) {
			return next, err
		}
		charged, err := s.charge(s.resources.find("", "v1", "pods"), key, next)
		if err != nil {
			return nil, err
		}
		settle = charged
		return next, nil
	})
	if err != nil || dryRun {
		settle(nil)
		return out, err
	}
	settle(out)
	return out, nil
}

var resourceQuotaTable = table{
	columns: []metav1.TableColumnDefinition{
		nameColumn(),
		column("Request", "What is used of what there may be."),
		column("Limit", "What is used of limits."),
		ageColumn(),
	},
	row: func(o controlplane.Object) metav1.TableRow {
		q := o.(*corev1.ResourceQuota)
		var requests, limits []string
		names := make([]string, 0, len(q.Status.Hard))
		for name := range q.Status.Hard {
			names = append(names, string(name))
		}
		slices.Sort(names)
		for _, name := range names {
			used, hard := q.Status.Used[corev1.ResourceName(name)], q.Status.Hard[corev1.ResourceName(name)]
			list := &requests
			if strings.HasPrefix(name, "limits.") {
				list = &limits
			}
			*list = append(*list, name+": "+used.String()+"/"+hard.String())
		}
		return metav1.TableRow{Cells: []any{q.Name, strings.Join(requests, ", "), strings.Join(limits, ", "), since(q.CreationTimestamp)}}
	},
}
