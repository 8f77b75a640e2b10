package apiserver

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/controlplane"
)

func (s *Server) events() *resource {
	return &resource{
		gvk: core("Event"), plural: "events", singular: "event", short: []string{"ev"},
		namespaced: true, verbs: allVerbs, serve: s.serveStored, table: eventTable,
		rules: &rules{
			new:      func() controlplane.Object { return &corev1.Event{} },
			newList:  func() runtime.Object { return &corev1.EventList{} },
			fields:   eventFields,
			prepare:  func(controlplane.Object) {},
			validate: validateEvent,
			validateUpdate: func(next, old controlplane.Object) field.ErrorList {
				return append(validateMetaUpdate(next, old), validateEvent(next)...)
			},
		},
	}
}

func eventFields(o controlplane.Object) fields.Set {
	e := o.(*corev1.Event)
	source := e.Source.Component
	if source == "" {
		source = e.ReportingController
	}
	return fields.Set{
		"involvedObject.kind":            e.InvolvedObject.Kind,
		"involvedObject.namespace":       e.InvolvedObject.Namespace,
		"involvedObject.name":            e.InvolvedObject.Name,
		"involvedObject.uid":             string(e.InvolvedObject.UID),
		"involvedObject.apiVersion":      e.InvolvedObject.APIVersion,
		"involvedObject.resourceVersion": e.InvolvedObject.ResourceVersion,
		"involvedObject.fieldPath":       e.InvolvedObject.FieldPath,
		"reason":                         e.Reason,
		"reportingComponent":             e.ReportingController,
		"source":                         source,
		"type":                           e.Type,
	}
}

func validateEvent(o controlplane.Object) field.ErrorList {
	e := o.(*corev1.Event)
	errs := validateMeta(o, validation.NameIsDNSSubdomain)
	// Events about cluster-scoped objects live in the default namespace.
	if ns := e.InvolvedObject.Namespace; ns != e.Namespace && !(ns == "" && e.Namespace == corev1.NamespaceDefault) {
		errs = append(errs, field.Invalid(field.NewPath("involvedObject", "namespace"), ns, "does not match event.namespace"))
	}
	return errs
}
