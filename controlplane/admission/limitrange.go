package admission

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// DefaultLimitRange fills in what kube-apiserver does: a container's default limit is the maximum, and its default
// request the default limit, or else the minimum.
func DefaultLimitRange(lr *corev1.LimitRange) {
	for i := range lr.Spec.Limits {
		l := &lr.Spec.Limits[i]
		if l.Type != corev1.LimitTypeContainer {
			continue
		}
		l.Default = filled(l.Default, l.Max)
		l.DefaultRequest = filled(filled(l.DefaultRequest, l.Default), l.Min)
	}
}

// filled adds to list what it lacks of more.
func filled(list, more corev1.ResourceList) corev1.ResourceList {
	for name, q := range more {
		if _, ok := list[name]; ok {
			continue
		}
		if list == nil {
			list = corev1.ResourceList{}
		}
		list[name] = q.DeepCopy()
	}
	return list
}

// ValidateLimitRange answers what is wrong with a limit range. Of the types of Kubernetes those of pods are there.
func ValidateLimitRange(lr *corev1.LimitRange) field.ErrorList {
	var errs field.ErrorList
	seen := map[corev1.LimitType]bool{}
	for i := range lr.Spec.Limits {
		l, at := &lr.Spec.Limits[i], field.NewPath("spec", "limits").Index(i)
		if kinds := []corev1.LimitType{corev1.LimitTypeContainer, corev1.LimitTypePod}; !slices.Contains(kinds, l.Type) {
			errs = append(errs, field.NotSupported(at.Child("type"), l.Type, kinds))
			continue
		}
		if seen[l.Type] {
			errs = append(errs, field.Duplicate(at.Child("type"), l.Type))
		}
		seen[l.Type] = true
		errs = append(errs, validateLimitItem(l, at)...)
	}
	return errs
}

func validateLimitItem(l *corev1.LimitRangeItem, at *field.Path) field.ErrorList {
	errs := validateBounds(l.Min, at.Child("min"))
	errs = append(errs, validateQuantities(l.Max, at.Child("max"))...)
	errs = append(errs, validateBounds(l.MaxLimitRequestRatio, at.Child("maxLimitRequestRatio"))...)
	if l.Type == corev1.LimitTypeContainer {
		errs = append(errs, validateQuantities(l.Default, at.Child("default"))...)
		errs = append(errs, validateQuantities(l.DefaultRequest, at.Child("defaultRequest"))...)
	} else {
		for _, list := range []struct {
			name string
			of   corev1.ResourceList
		}{{"default", l.Default}, {"defaultRequest", l.DefaultRequest}} {
			if len(list.of) > 0 {
				errs = append(errs, field.Forbidden(at.Child(list.name), "may not be specified when `type` is 'Pod'"))
			}
		}
	}
	if len(errs) > 0 {
		return errs
	}
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		errs = append(errs, validateOrder(l, name, at)...)
	}
	return errs
}

// validateBounds checks quantities that may be zero, of which no container is made.
func validateBounds(list corev1.ResourceList, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(list)) {
		q, p := list[name], at.Key(string(name))
		switch {
		case name != corev1.ResourceCPU && name != corev1.ResourceMemory:
			errs = append(errs, field.NotSupported(p, name, []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}))
		case q.Sign() < 0:
			errs = append(errs, field.Invalid(p, q.String(), "must be greater than or equal to 0"))
		}
	}
	return errs
}

// validateOrder holds min ≤ default request ≤ default ≤ max, and a ratio that something between min and max can have.
func validateOrder(l *corev1.LimitRangeItem, name corev1.ResourceName, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	bounds := []struct {
		field, called string
		list          corev1.ResourceList
	}{
		{"min", "min", l.Min}, {"defaultRequest", "default request", l.DefaultRequest}, {"default", "default", l.Default}, {"max", "max", l.Max},
	}
	for i, low := range bounds {
		a, ok := low.list[name]
		if !ok {
			continue
		}
		for _, high := range bounds[i+1:] {
			b, ok := high.list[name]
			if !ok || a.Cmp(b) <= 0 {
				continue
			}
			wrong, value := high, b // a default that is below the minimum
			if low.field != "min" || high.field == "max" {
				wrong, value = low, a
			}
			errs = append(errs, field.Invalid(at.Child(wrong.field).Key(string(name)), value.String(),
				fmt.Sprintf("%s value %s is greater than %s value %s", low.called, a.String(), high.called, b.String())))
		}
	}
	ratio, ok := l.MaxLimitRequestRatio[name]
	if !ok {
		return errs
	}
	p := at.Child("maxLimitRequestRatio").Key(string(name))
	if ratio.Cmp(*resource.NewQuantity(1, resource.DecimalSI)) < 0 {
		errs = append(errs, field.Invalid(p, ratio.String(), fmt.Sprintf("ratio %s is less than 1", ratio.String())))
	}
	least, hasMin := l.Min[name]
	most, hasMax := l.Max[name]
	if hasMin && hasMax && least.Sign() > 0 {
		if widest := most.AsApproximateFloat64() / least.AsApproximateFloat64(); ratio.AsApproximateFloat64() > widest {
			errs = append(errs, field.Invalid(p, ratio.String(), fmt.Sprintf("ratio %s is greater than max/min = %f", ratio.String(), widest)))
		}
	}
	return errs
}
