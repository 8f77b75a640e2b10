package admission

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"swell.dev/swell/controlplane"
)

// LimitPod gives the containers of a new pod the default sizes of limit ranges, where they name none, and answers what
// it set in Kubernetes' words. It comes before DefaultPod; of several limit ranges the first that has a default holds.
func LimitPod(pod *corev1.Pod, ranges []*corev1.LimitRange) (note string) {
	var given corev1.ResourceRequirements
	for _, lr := range ranges {
		for i := range lr.Spec.Limits {
			if l := &lr.Spec.Limits[i]; l.Type == corev1.LimitTypeContainer {
				given.Limits, given.Requests = filled(given.Limits, l.Default), filled(given.Requests, l.DefaultRequest)
			}
		}
	}
	var notes []string
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		notes = append(notes, limitContainer(&c.Resources, &given, "container "+c.Name)...)
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		notes = append(notes, limitContainer(&c.Resources, &given, "init container "+c.Name)...)
	}
	if len(notes) == 0 {
		return ""
	}
	return "LimitRanger plugin set: " + strings.Join(notes, "; ")
}

func limitContainer(r, given *corev1.ResourceRequirements, of string) []string {
	r.Requests = filled(r.Requests, r.Limits) // as kube-apiserver has done before its plugins see a pod
	var notes []string
	for _, list := range []struct {
		what string
		of   *corev1.ResourceList
		from corev1.ResourceList
	}{{"request", &r.Requests, given.Requests}, {"limit", &r.Limits, given.Limits}} {
		var names []string
		for _, name := range slices.Sorted(maps.Keys(list.from)) {
			if _, ok := (*list.of)[name]; !ok {
				names = append(names, string(name))
			}
		}
		if len(names) > 0 {
			*list.of = filled(*list.of, list.from)
			notes = append(notes, strings.Join(names, ", ")+" "+list.what+" for "+of)
		}
	}
	return notes
}

// CheckLimits answers how a pod's sizes are outside of limit ranges, in the words of Kubernetes' plugin.
func CheckLimits(pod *corev1.Pod, ranges []*corev1.LimitRange) error {
	for _, lr := range ranges {
		var errs []error
		for i := range lr.Spec.Limits {
			l := &lr.Spec.Limits[i]
			if l.Type == corev1.LimitTypePod {
				errs = append(errs, outside(l, wholePod(pod))...)
				continue
			}
			for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
				for j := range list {
					errs = append(errs, outside(l, list[j].Resources)...)
				}
			}
		}
		if len(errs) > 0 {
			return utilerrors.NewAggregate(errs)
		}
	}
	return nil
}

func wholePod(pod *corev1.Pod) corev1.ResourceRequirements {
	sums := controlplane.SpecSums(pod)
	list := func(d controlplane.Demand) corev1.ResourceList {
		out := corev1.ResourceList{}
		if d.CPUMilli > 0 {
			out[corev1.ResourceCPU] = *resource.NewMilliQuantity(d.CPUMilli, resource.DecimalSI)
		}
		if d.MemoryBytes > 0 {
			out[corev1.ResourceMemory] = *resource.NewQuantity(d.MemoryBytes, resource.BinarySI)
		}
		return out
	}
	return corev1.ResourceRequirements{Requests: list(sums.Requests), Limits: list(sums.Limits)}
}

// outside names each bound of an item that the sizes of a container, or of a pod, break.
func outside(l *corev1.LimitRangeItem, r corev1.ResourceRequirements) []error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, name := range slices.Sorted(maps.Keys(l.Min)) {
		least := l.Min[name]
		request, limit := quantityIn(r.Requests, name), quantityIn(r.Limits, name)
		switch {
		case request == nil:
			refuse("minimum %s usage per %s is %s.  No request is specified", name, l.Type, least.String())
		case request.Cmp(least) < 0:
			refuse("minimum %s usage per %s is %s, but request is %s", name, l.Type, least.String(), request.String())
		case limit != nil && limit.Cmp(least) < 0:
			refuse("minimum %s usage per %s is %s, but limit is %s", name, l.Type, least.String(), limit.String())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Max)) {
		most := l.Max[name]
		request, limit := quantityIn(r.Requests, name), quantityIn(r.Limits, name)
		switch {
		case limit == nil:
			refuse("maximum %s usage per %s is %s.  No limit is specified", name, l.Type, most.String())
		case limit.Cmp(most) > 0:
			refuse("maximum %s usage per %s is %s, but limit is %s", name, l.Type, most.String(), limit.String())
		case request != nil && request.Cmp(most) > 0:
			refuse("maximum %s usage per %s is %s, but request is %s", name, l.Type, most.String(), request.String())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.MaxLimitRequestRatio)) {
		most := l.MaxLimitRequestRatio[name]
		request, limit := quantityIn(r.Requests, name), quantityIn(r.Limits, name)
		switch {
		case request == nil || request.IsZero():
			refuse("%s max limit to request ratio per %s is %s, but no request is specified or request is 0", name, l.Type, most.String())
		case limit == nil || limit.IsZero():
			refuse("%s max limit to request ratio per %s is %s, but no limit is specified or limit is 0", name, l.Type, most.String())
		default:
			ratio := float64(limit.MilliValue()) / float64(request.MilliValue())
			if ratio*1000 > float64(most.MilliValue()) {
				refuse("%s max limit to request ratio per %s is %s, but provided ratio is %f", name, l.Type, most.String(), ratio)
			}
		}
	}
	return errs
}

// quantityIn answers a quantity that is in the list, else nil.
func quantityIn(list corev1.ResourceList, name corev1.ResourceName) *resource.Quantity {
	if q, ok := list[name]; ok {
		return &q
	}
	return nil
}
