package apiserver

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
	"swell.dev/swell/internal/fixed"
)

var swellVersion = schema.GroupVersion{Group: v1alpha1.Group, Version: v1alpha1.Version}

// textTypes are the forms of kinds that have no protobuf one.
var textTypes = []string{mediaJSON, mediaYAML}

// bills are read-only and worked out from the ledger. Several pods that had the same name have a bill each;
// get answers the last.
func (s *Server) bills() *resource {
	gvk := swellVersion.WithKind("Bill")
	return &resource{
		gvk: gvk, plural: "bills", singular: "bill", namespaced: true, verbs: []string{"get", "list"}, types: textTypes, table: billTable,
		serve: s.serveComputed(func(q *request) ([]controlplane.Object, error) {
			bills, err := s.cfg.Bills(q.r.Context(), q.namespace, q.name)
			if err != nil {
				return nil, fmt.Errorf("bills: %w", err)
			}
			return untypedAll(bills, gvk)
		}),
		rules: &rules{
			new:     func() controlplane.Object { return &unstructured.Unstructured{Object: map[string]any{}} },
			newList: func() runtime.Object { return untypedList(gvk) },
		},
	}
}

// untyped carries a kind of our own, which has plain Go structs, through the same code as Kubernetes' kinds.
func untyped(v any, gvk schema.GroupVersionKind) (controlplane.Object, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", gvk.Kind, err)
	}
	u := &unstructured.Unstructured{Object: m}
	u.SetGroupVersionKind(gvk)
	return u, nil
}

func untypedAll[T any](list []T, gvk schema.GroupVersionKind) ([]controlplane.Object, error) {
	out := make([]controlplane.Object, 0, len(list))
	for i := range list {
		o, err := untyped(&list[i], gvk)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// typed undoes untyped.
func typed[T any](o controlplane.Object) *T {
	var v T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.(*unstructured.Unstructured).Object, &v); err != nil {
		panic(fmt.Sprintf("a %T made by untyped: %v", v, err))
	}
	return &v
}

func untypedList(gvk schema.GroupVersionKind) runtime.Object {
	list := &unstructured.UnstructuredList{Object: map[string]any{}}
	list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	return list
}

var billTable = table{
	columns: []metav1.TableColumnDefinition{
		nameColumn(),
		column("Segments", "The intervals between changes of size."),
		column("Seconds", "How long the pod has run."),
		column("vCPU-Seconds", "vCPU × seconds."),
		column("GiB-Seconds", "GiB of memory × seconds."),
		column("Cost", "What it costs so far."),
		column("Currency", "The currency of the cost."),
		wide("UID", "The pod's UID."),
	},
	row: func(o controlplane.Object) metav1.TableRow {
		bill := typed[v1alpha1.Bill](o)
		return metav1.TableRow{Cells: []any{
			bill.Name, int64(len(bill.Lines)), fixed.Thousandths(bill.Total.Milliseconds), fixed.Thousandths(bill.Total.VCPUMilliseconds),
			fixed.Thousandths(bill.Total.GiBMilliseconds), fixed.Round(bill.Total.Cost, 6), bill.Currency, string(bill.UID),
		}}
	},
}
