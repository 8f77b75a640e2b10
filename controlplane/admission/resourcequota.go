package admission

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// podAmounts are the amounts of pods that quotas bound.
var podAmounts = []corev1.ResourceName{
	corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory,
	corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory,
}

// plainCounts are the counts that Kubernetes also knows without count/ before them.
var plainCounts = []corev1.ResourceName{corev1.ResourceConfigMaps, corev1.ResourceSecrets, corev1.ResourceQuotas}

const countPods = corev1.ResourceName("count/pods")

// ValidateResourceQuota answers what is wrong with a quota. Counted are the resources, as in count/RESOURCE, whose
// objects can be counted.
func ValidateResourceQuota(q *corev1.ResourceQuota, counted []string) field.ErrorList {
	names := slices.Concat(podAmounts, plainCounts)
	for _, res := range counted {
		names = append(names, corev1.ResourceName("count/"+res))
	}
	at := field.NewPath("spec")
	errs := validateAmounts(q.Spec.Hard, names, at.Child("hard"))
	errs = append(errs, validateScopes(&q.Spec, at)...)
	errs = append(errs, validateAmounts(q.Status.Hard, names, field.NewPath("status", "hard"))...)
	return append(errs, validateAmounts(q.Status.Used, names, field.NewPath("status", "used"))...)
}

// ValidateResourceQuotaUpdate answers what is wrong with a change of a quota.
func ValidateResourceQuotaUpdate(next, old *corev1.ResourceQuota, counted []string) field.ErrorList {
	errs := ValidateResourceQuota(next, counted)
	set := func(q *corev1.ResourceQuota) []corev1.ResourceQuotaScope {
		return slices.Compact(slices.Sorted(slices.Values(q.Spec.Scopes)))
	}
	if !slices.Equal(set(next), set(old)) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "scopes"), next.Spec.Scopes, "field is immutable"))
	}
	return errs
}

func validateAmounts(list corev1.ResourceList, names []corev1.ResourceName, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(list)) {
		q, p := list[name], at.Key(string(name))
		switch {
		case !slices.Contains(names, name):
			errs = append(errs, field.NotSupported(p, name, names))
		case q.Sign() < 0:
			errs = append(errs, field.Invalid(p, q.String(), "must be greater than or equal to 0"))
		case (name == corev1.ResourcePods || !slices.Contains(podAmounts, name)) && q.MilliValue()%1000 != 0:
			errs = append(errs, field.Invalid(p, q.String(), "must be an integer"))
		}
	}
	return errs
}

// scopes are those that something here is in. A pod's affinity doesn't reach into other namespaces, and there are no
// volume claims.
var scopes = []corev1.ResourceQuotaScope{
	corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeBestEffort,
	corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopePriorityClass,
}

func validateScopes(spec *corev1.ResourceQuotaSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[corev1.ResourceQuotaScope]bool{}
	for i, s := range spec.Scopes {
		errs = append(errs, supported(at.Child("scopes").Index(i), s, scopes...)...)
		seen[s] = true
	}
	if spec.ScopeSelector != nil {
		for i := range spec.ScopeSelector.MatchExpressions {
			s := &spec.ScopeSelector.MatchExpressions[i]
			errs = append(errs, validateScopeRequirement(s, at.Child("scopeSelector", "matchExpressions").Index(i))...)
			seen[s.ScopeName] = true
		}
	}
	for _, pair := range [][2]corev1.ResourceQuotaScope{
		{corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating}, {corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort},
	} {
		if seen[pair[0]] && seen[pair[1]] {
			errs = append(errs, field.Invalid(at.Child("scopes"), spec.Scopes, fmt.Sprintf("conflicting scopes: no pod is %s and %s", pair[0], pair[1])))
		}
	}
	if len(seen) == 0 {
		return errs
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Hard)) {
		if !slices.Contains(podAmounts, name) && name != countPods && (strings.HasPrefix(string(name), "count/") || slices.Contains(plainCounts, name)) {
			errs = append(errs, field.Invalid(at.Child("hard").Key(string(name)), string(name), "is nothing of pods, and scopes are of pods: it has to be in a quota without scopes"))
		}
	}
	return errs
}

func validateScopeRequirement(s *corev1.ScopedResourceSelectorRequirement, at *field.Path) field.ErrorList {
	errs := supported(at.Child("scopeName"), s.ScopeName, scopes...)
	operators := []corev1.ScopeSelectorOperator{corev1.ScopeSelectorOpExists}
	if s.ScopeName == corev1.ResourceQuotaScopePriorityClass {
		operators = append(operators, corev1.ScopeSelectorOpDoesNotExist, corev1.ScopeSelectorOpIn, corev1.ScopeSelectorOpNotIn)
	}
	errs = append(errs, supported(at.Child("operator"), s.Operator, operators...)...)
	switch s.Operator {
	case corev1.ScopeSelectorOpIn, corev1.ScopeSelectorOpNotIn:
		if len(s.Values) == 0 {
			errs = append(errs, field.Required(at.Child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"))
		}
	default:
		if len(s.Values) > 0 {
			errs = append(errs, field.Invalid(at.Child("values"), s.Values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"))
		}
	}
	return errs
}
