package apiserver

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/controlplane"
)

// nodes are made by the nodelets that join. Users label, taint, cordon and delete them.
func (s *Server) nodes() *resource {
	return &resource{
		gvk: core("Node"), plural: "nodes", singular: "node", short: []string{"no"},
		verbs: []string{"delete", "get", "list", "patch", "update", "watch"}, serve: s.serveStored, table: nodeTable,
		subresources: []subresource{{name: "status", gvk: core("Node"), methods: getOnly, verbs: []string{"get"}, serve: s.get}},
		rules: &rules{
			new:     func() controlplane.Object { return &corev1.Node{} },
			newList: func() runtime.Object { return &corev1.NodeList{} },
			fields: func(o controlplane.Object) fields.Set {
				return fields.Set{"spec.unschedulable": strconv.FormatBool(o.(*corev1.Node).Spec.Unschedulable)}
			},
			prepare: func(controlplane.Object) {},
			prepareUpdate: func(next, old controlplane.Object) {
				next.(*corev1.Node).Status = *old.(*corev1.Node).Status.DeepCopy()
			},
			validate: func(o controlplane.Object) field.ErrorList { return validateMeta(o, validation.NameIsDNSSubdomain) },
			validateUpdate: func(nextObj, oldObj controlplane.Object) field.ErrorList {
				next, old := nextObj.(*corev1.Node), oldObj.(*corev1.Node)
				errs := validateMetaUpdate(next, old)
				rest := *next.Spec.DeepCopy()
				rest.Unschedulable, rest.Taints = old.Spec.Unschedulable, old.Spec.Taints
				if !equality.Semantic.DeepEqual(rest, old.Spec) {
					errs = append(errs, field.Forbidden(field.NewPath("spec"), "only spec.unschedulable and spec.taints of a node can be changed"))
				}
				return append(errs, validateTaints(next.Spec.Taints, field.NewPath("spec", "taints"))...)
			},
		},
	}
}

func validateTaints(list []corev1.Taint, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[[2]string]bool{}
	for i, t := range list {
		at := at.Index(i)
		errs = append(errs, metavalidation.ValidateLabelName(t.Key, at.Child("key"))...)
		for _, problem := range utilvalidation.IsValidLabelValue(t.Value) {
			errs = append(errs, field.Invalid(at.Child("value"), t.Value, problem))
		}
		effects := []corev1.TaintEffect{corev1.TaintEffectNoExecute, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule}
		if t.Effect == "" {
			errs = append(errs, field.Required(at.Child("effect"), ""))
		} else if !slices.Contains(effects, t.Effect) {
			errs = append(errs, field.NotSupported(at.Child("effect"), t.Effect, effects))
		}
		if id := [2]string{t.Key, string(t.Effect)}; seen[id] {
			dup := field.Duplicate(at, t)
			dup.Detail = "taints must be unique by key and effect pair"
			errs = append(errs, dup)
		} else {
			seen[id] = true
		}
	}
	return errs
}
