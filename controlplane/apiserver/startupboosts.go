package apiserver

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

const startupBoostsResource = "startupboosts"

func (s *Server) startupBoosts() *resource {
	valid := func(o controlplane.Object) field.ErrorList {
		return s.cfg.Admission.ValidateStartupBoost(o.(*v1alpha1.StartupBoost))
	}
	return &resource{
		gvk: swellVersion.WithKind("StartupBoost"), plural: startupBoostsResource, singular: "startupboost", short: []string{"sb"},
		namespaced: true, verbs: allVerbs, types: textTypes, serve: s.serveStored, table: startupBoostTable,
		rules: &rules{
			new:           func() controlplane.Object { return &v1alpha1.StartupBoost{} },
			newList:       func() runtime.Object { return &v1alpha1.StartupBoostList{} },
			prepare:       func(controlplane.Object) {},
			prepareUpdate: func(controlplane.Object, controlplane.Object) {},
			specChanged: func(next, old controlplane.Object) bool {
				return !equality.Semantic.DeepEqual(next.(*v1alpha1.StartupBoost).Spec, old.(*v1alpha1.StartupBoost).Spec)
			},
			validate: func(o controlplane.Object) field.ErrorList {
				return append(validateMeta(o, validation.NameIsDNSSubdomain), valid(o)...)
			},
			validateUpdate: func(next, old controlplane.Object) field.ErrorList {
				return append(validateMetaUpdate(next, old), valid(next)...)
			},
		},
	}
}

// boostPod writes the boost of the first policy that selects a new pod into its annotation. A pod that has its
// own keeps it.
func (s *Server) boostPod(pod *corev1.Pod) error {
	if _, own := pod.Annotations[v1alpha1.AnnotationStartupBoost]; own || s.cfg.Admission.ValidateStartupBoost == nil {
		return nil
	}
	policies, _ := s.cfg.Store.Items(startupBoostsResource, pod.Namespace)
	for i := range policies.Len() {
		p := policies.Object(i).(*v1alpha1.StartupBoost)
		selector := labels.Everything()
		if p.Spec.Selector != nil {
			var err error
			if selector, err = metav1.LabelSelectorAsSelector(p.Spec.Selector); err != nil {
				return fmt.Errorf("StartupBoost %s/%s: spec.selector: %w", p.Namespace, p.Name, err)
			}
		}
		if !selector.Matches(labels.Set(pod.Labels)) {
			continue
		}
		if text := p.Spec.Annotation(pod); text != "" {
			if pod.Annotations == nil {
				pod.Annotations = map[string]string{}
			}
			pod.Annotations[v1alpha1.AnnotationStartupBoost] = text
		}
		return nil
	}
	return nil
}

var startupBoostTable = table{
	columns: []metav1.TableColumnDefinition{
		nameColumn(),
		column("CPU", "What each container has while it starts."),
		column("For", "How long at most."),
		column("Containers", "Those with a boost of their own."),
		ageColumn(),
		wide("Selector", "The labels of the pods."),
	},
	row: func(o controlplane.Object) metav1.TableRow {
		p := o.(*v1alpha1.StartupBoost)
		or := func(s, otherwise string) string {
			if s == "" {
				return otherwise
			}
			return s
		}
		own := make([]string, len(p.Spec.Containers))
		for i, c := range p.Spec.Containers {
			own[i] = c.Name + "=" + string(c.CPU)
		}
		return metav1.TableRow{Cells: []any{
			p.Name, or(string(p.Spec.CPU), none), or(p.Spec.For, "Ready"), or(strings.Join(own, ","), none), since(p.CreationTimestamp),
			or(metav1.FormatLabelSelector(p.Spec.Selector), none),
		}}
	},
}
