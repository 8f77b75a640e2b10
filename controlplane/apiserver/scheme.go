package apiserver

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1beta1 "k8s.io/apimachinery/pkg/apis/meta/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"swell.dev/swell/api/v1alpha1"
)

// newScheme knows the kinds that are served and the envelopes they travel in.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientscheme.AddToScheme, metricsv1beta1.AddToScheme, metav1.AddMetaToScheme, metav1beta1.AddMetaToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("apiserver scheme: %w", err)
		}
	}
	scheme.AddKnownTypes(swellVersion, &v1alpha1.SlotPolicy{}, &v1alpha1.SlotPolicyList{})
	scheme.AddKnownTypes(swellVersion, &v1alpha1.StartupBoost{}, &v1alpha1.StartupBoostList{})
	scheme.AddKnownTypes(swellVersion, &v1alpha1.Autosize{}, &v1alpha1.AutosizeList{})
	scheme.AddKnownTypes(swellVersion, &v1alpha1.Budget{}, &v1alpha1.BudgetList{}, &v1alpha1.AccountBudget{}, &v1alpha1.AccountBudgetList{})
	scheme.AddKnownTypes(swellVersion, &v1alpha1.SavingsPlan{}, &v1alpha1.SavingsPlanList{})
	// Clients name the options' group as meta.k8s.io where they don't name the object's.
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	return scheme, nil
}
