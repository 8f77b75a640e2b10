package apiserver

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// slotPolicies are stored like Kubernetes' kinds. Their status is observed, and nobody else's to write.
func (s *Server) slotPolicies() *resource {
	return &resource{
		gvk: swellVersion.WithKind("SlotPolicy"), plural: "slotpolicies", singular: "slotpolicy", short: []string{"slp"},
		namespaced: true, verbs: allVerbs, types: textTypes, serve: s.serveStored, table: slotPolicyTable,
		rules: &rules{
			new:     func() controlplane.Object { return &v1alpha1.SlotPolicy{} },
			newList: func() runtime.Object { return &v1alpha1.SlotPolicyList{} },
			prepare: func(o controlplane.Object) {
				p := o.(*v1alpha1.SlotPolicy)
				s.cfg.Admission.DefaultSlotPolicy(p)
				p.Status = v1alpha1.SlotPolicyStatus{}
			},
			prepareUpdate: func(nextObj, oldObj controlplane.Object) {
				next := nextObj.(*v1alpha1.SlotPolicy)
				s.cfg.Admission.DefaultSlotPolicy(next)
				next.Status = oldObj.(*v1alpha1.SlotPolicy).Status
			},
			specChanged: func(next, old controlplane.Object) bool {
				return !equality.Semantic.DeepEqual(next.(*v1alpha1.SlotPolicy).Spec, old.(*v1alpha1.SlotPolicy).Spec)
			},
			validate: func(o controlplane.Object) field.ErrorList {
				return append(validateMeta(o, validation.NameIsDNSSubdomain), s.cfg.Admission.ValidateSlotPolicy(o.(*v1alpha1.SlotPolicy))...)
			},
			validateUpdate: func(next, old controlplane.Object) field.ErrorList {
				return append(validateMetaUpdate(next, old), s.cfg.Admission.ValidateSlotPolicy(next.(*v1alpha1.SlotPolicy))...)
			},
		},
	}
}

var slotPolicyTable = table{
	columns: []metav1.TableColumnDefinition{
		nameColumn(),
		column("Mode", "Automatic, or Off."),
		column("Min", "Slots that are always there."),
		column("Max", "Slots that there are at most."),
		column("Ready", "Slots that have come as far as they should, of all that are wanted."),
		column("Hits", "Pods that took a slot."),
		column("Misses", "Pods that found none."),
		column("Pods/Hour", "What is expected."),
		ageColumn(),
		wide("Depth", "How far slots are made ready."),
		wide("Workloads", "The templates that it holds for."),
		wide("Message", "Why slots don't get ready."),
	},
	row: func(o controlplane.Object) metav1.TableRow {
		p := o.(*v1alpha1.SlotPolicy)
		most := none
		if p.Spec.Max != nil {
			most = fmt.Sprint(*p.Spec.Max)
		}
		st := &p.Status
		ready := st.Slots.Container
		switch p.Spec.Depth {
		case v1alpha1.SlotDepthCapacity:
			ready += st.Slots.Capacity + st.Slots.Sandbox
		case v1alpha1.SlotDepthSandbox:
			ready += st.Slots.Sandbox
		}
		return metav1.TableRow{Cells: []any{
			p.Name, string(p.Spec.Mode), int64(p.Spec.Min), most, fmt.Sprintf("%d/%d", ready, st.Slots.Wanted), st.Hits, st.Misses,
			st.Forecast.PodsPerHour, since(p.CreationTimestamp), string(p.Spec.Depth), int64(st.Workloads), st.Message,
		}}
	},
}
