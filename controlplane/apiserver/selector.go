package apiserver

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"swell.dev/swell/controlplane"
)

// selector decides which objects a client sees.
type selector struct {
	labels  labels.Selector // nil: every one
	fields  fields.Selector // nil: every one
	fieldOf func(controlplane.Object) fields.Set
}

func (r *resource) selector(opts *internalversion.ListOptions) (selector, error) {
	sel := selector{fieldOf: r.fieldsOf}
	if opts.LabelSelector != nil && !opts.LabelSelector.Empty() {
		sel.labels = opts.LabelSelector
	}
	if opts.FieldSelector == nil || opts.FieldSelector.Empty() {
		return sel, nil
	}
	sel.fields = opts.FieldSelector
	known := r.fieldsOf(r.rules.new())
	for _, req := range sel.fields.Requirements() {
		if !known.Has(req.Field) {
			label := ""
			if sel.labels != nil {
				label = sel.labels.String()
			}
			return selector{}, apierrors.NewBadRequest(fmt.Sprintf("Unable to find %q that match label selector %q, field selector %q: field label not supported: %s",
				r.gvk.GroupVersion().WithResource(r.plural).String(), label, sel.fields.String(), req.Field))
		}
	}
	return sel, nil
}

func (r *resource) fieldsOf(o controlplane.Object) fields.Set {
	var set fields.Set
	if r.rules.fields != nil {
		set = r.rules.fields(o)
	} else {
		set = fields.Set{}
	}
	set["metadata.name"] = o.GetName()
	if r.namespaced {
		set["metadata.namespace"] = o.GetNamespace()
	}
	return set
}

func (s selector) everything() bool { return s.labels == nil && s.fields == nil }

func (s selector) matches(o controlplane.Object) bool {
	if s.labels != nil && !s.labels.Matches(labels.Set(o.GetLabels())) {
		return false
	}
	return s.fields == nil || s.fields.Matches(s.fieldOf(o))
}
