package controlplane

import (
	"strings"

	"swell.dev/swell/api/v1alpha1"
)

// Classes is a set of compute classes: the one a pod asks for, those a node offers.
type Classes uint8

// The compute classes.
const (
	GeneralPurpose Classes = 1 << iota
	Performance
	GPU
)

// ordinary is what a node offers that doesn't say.
const ordinary = GeneralPurpose | Performance

// Class answers a compute class by its name; one that isn't known is offered by no node.
func Class(name string) Classes {
	switch name {
	case v1alpha1.ClassGeneralPurpose, "":
		return GeneralPurpose
	case v1alpha1.ClassPerformance:
		return Performance
	case v1alpha1.ClassGPU:
		return GPU
	}
	return 0
}

func (c Classes) String() string {
	var names []string
	for _, name := range []string{v1alpha1.ClassGeneralPurpose, v1alpha1.ClassPerformance, v1alpha1.ClassGPU} {
		if c&Class(name) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ".")
}

// NodeClasses are the classes that a node with these labels offers: those in its label, separated by dots,
// or the ordinary ones.
func NodeClasses(labels map[string]string) Classes {
	value, ok := labels[v1alpha1.LabelComputeClass]
	if !ok || value == "" {
		return ordinary
	}
	var out Classes
	for name := range strings.SplitSeq(value, ".") {
		if name != "" {
			out |= Class(name)
		}
	}
	return out
}
