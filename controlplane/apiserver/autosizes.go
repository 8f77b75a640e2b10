package apiserver

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// autosizes are stored like Kubernetes' kinds. Their status is observed, and nobody else's to write.
func (s *Server) autosizes() *resource {
	return &resource{
		gvk: swellVersion.WithKind("Autosize"), plural: "autosizes", singular: "autosize", short: []string{"asz"},
		namespaced: true, verbs: allVerbs, types: textTypes, serve: s.serveStored, table: autosizeTable,
		rules: &rules{
			new:     func() controlplane.Object { return &v1alpha1.Autosize{} },
			newList: func() runtime.Object { return &v1alpha1.AutosizeList{} },
			prepare: func(o controlplane.Object) {
				p := o.(*v1alpha1.Autosize)
				s.cfg.Admission.DefaultAutosize(p)
				p.Status = v1alpha1.AutosizeStatus{}
			},
			prepareUpdate: func(nextObj, oldObj controlplane.Object) {
				next := nextObj.(*v1alpha1.Autosize)
				s.cfg.Admission.DefaultAutosize(next)
				next.Status = oldObj.(*v1alpha1.Autosize).Status
			},
			specChanged: func(next, old controlplane.Object) bool {
				return !equality.Semantic.DeepEqual(next.(*v1alpha1.Autosize).Spec, old.(*v1alpha1.Autosize).Spec)
			},
			validate: func(o controlplane.Object) field.ErrorList {
				return append(validateMeta(o, validation.NameIsDNSSubdomain), s.cfg.Admission.ValidateAutosize(o.(*v1alpha1.Autosize))...)
			},
			validateUpdate: func(next, old controlplane.Object) field.ErrorList {
				return append(validateMetaUpdate(next, old), s.cfg.Admission.ValidateAutosize(next.(*v1alpha1.Autosize))...)
			},
		},
	}
}

var autosizeTable = table{
	columns: []metav1.TableColumnDefinition{
		nameColumn(),
		column("Mode", "Off, Initial or Auto."),
		column("Selects", "The workload, or the labels, of the pods that it holds for."),
		column("Workloads", "That it holds for now."),
		column("Pods", "That it holds for now."),
		column("Resizes", "Since the control plane started."),
		column("Last", "The last resize."),
		ageColumn(),
		wide("Explanation", "Of the last resize."),
		wide("Message", "Why a pod isn't resized that should be."),
	},
	row: func(o controlplane.Object) metav1.TableRow {
		p := o.(*v1alpha1.Autosize)
		selects := none
		if p.Spec.Workload != nil {
			selects = p.Spec.Workload.Kind + "/" + p.Spec.Workload.Name
		} else if p.Spec.Selector != nil {
			selects = metav1.FormatLabelSelector(p.Spec.Selector)
		}
		last := none
		if !p.Status.LastResizeTime.IsZero() {
			last = since(p.Status.LastResizeTime)
		}
		return metav1.TableRow{Cells: []any{
			p.Name, string(p.Spec.Mode), selects, int64(p.Status.WorkloadsInAll), int64(p.Status.Pods), p.Status.Resizes, last,
			since(p.CreationTimestamp), p.Status.LastExplanation, p.Status.Message,
		}}
	},
}

// recommendations are read-only and worked out from what workloads have used.
func (s *Server) recommendations() *resource {
	gvk := swellVersion.WithKind("Recommendation")
	return &resource{
		gvk: gvk, plural: "recommendations", singular: "recommendation", short: []string{"rec"}, namespaced: true, verbs: []string{"get", "list"}, types: textTypes,
		table: recommendationTable,
		serve: s.serveComputed(func(q *request) ([]controlplane.Object, error) {
			return untypedAll(s.cfg.Recommendations(q.namespace, q.name), gvk)
		}),
		rules: &rules{
			new:     func() controlplane.Object { return &unstructured.Unstructured{Object: map[string]any{}} },
			newList: func() runtime.Object { return untypedList(gvk) },
		},
	}
}

var recommendationTable = table{
	columns: []metav1.TableColumnDefinition{
		nameColumn(),
		column("Pods", "That there are now."),
		column("Containers", "Of which something is known."),
		column("CPU", "Recommended, by container."),
		column("Memory", "Recommended, by container."),
		column("Autosize", "The policy that holds."),
	},
	row: func(o controlplane.Object) metav1.TableRow {
		r := typed[v1alpha1.Recommendation](o)
		var cpu, memory []string
		for i := range r.Containers {
			cpu = append(cpu, r.Containers[i].Target.Cpu().String())
			memory = append(memory, r.Containers[i].Target.Memory().String())
		}
		return metav1.TableRow{Cells: []any{r.Name, int64(r.Pods), int64(len(r.Containers)), strings.Join(cpu, ","), strings.Join(memory, ","), orNone(r.Autosize)}}
	},
}
