package apiserver

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/controlplane"
)

// nodes are made by the nodelets that join. Users label, cordon and delete them.
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
				rest.Unschedulable = old.Spec.Unschedulable
				if !equality.Semantic.DeepEqual(rest, old.Spec) {
					errs = append(errs, field.Forbidden(field.NewPath("spec"), "only spec.unschedulable of a node can be changed"))
				}
				return errs
			},
		},
	}
}
