package apiserver

import (
	"context"
	"fmt"
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

const (
	// highestUserPriority is the largest value of a user's class; those above are the system's.
	highestUserPriority = 1_000_000_000
	systemClassPrefix   = "system-"
)

// systemClasses exist from the start, with Kubernetes' values.
var systemClasses = []*schedulingv1.PriorityClass{
	{ObjectMeta: metav1.ObjectMeta{Name: "system-cluster-critical"}, Value: 2 * highestUserPriority,
		Description: "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."},
	{ObjectMeta: metav1.ObjectMeta{Name: "system-node-critical"}, Value: 2*highestUserPriority + 1000,
		Description: "Used for system critical pods that must not be moved from their current node."},
}

func systemClass(name string) *schedulingv1.PriorityClass {
	for _, c := range systemClasses {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func (s *Server) priorityClasses() *resource {
	return &resource{
		gvk: schedulingv1.SchemeGroupVersion.WithKind("PriorityClass"), plural: "priorityclasses", singular: "priorityclass", short: []string{"pc"},
		verbs: allVerbs, serve: s.serveStored, table: priorityClassTable,
		rules: &rules{
			new:     func() controlplane.Object { return &schedulingv1.PriorityClass{} },
			newList: func() runtime.Object { return &schedulingv1.PriorityClassList{} },
			prepare: preparePriorityClass,
			admit: func(o controlplane.Object) error {
				pc := o.(*schedulingv1.PriorityClass)
				if other := s.otherDefault(pc); other != "" {
					return apierrors.NewForbidden(schedulingv1.Resource("priorityclasses"), pc.Name, errOtherDefault(other))
				}
				return nil
			},
			prepareUpdate: func(next, _ controlplane.Object) { preparePriorityClass(next) },
			specChanged: func(nextObj, oldObj controlplane.Object) bool {
				next, old := nextObj.(*schedulingv1.PriorityClass), oldObj.(*schedulingv1.PriorityClass)
				return next.Value != old.Value || next.GlobalDefault != old.GlobalDefault || next.Description != old.Description
			},
			validate: func(o controlplane.Object) field.ErrorList {
				return append(validateMeta(o, validation.NameIsDNSSubdomain), validatePriorityClass(o.(*schedulingv1.PriorityClass))...)
			},
			validateUpdate: s.validatePriorityClassUpdate,
			create: func(ctx context.Context, o controlplane.Object) (controlplane.Object, error) {
				defer s.findDefaultClass()
				return s.insert(ctx, priorityClassKey(o.GetName()), o)
			},
			delete: func(ctx context.Context, key controlplane.Key, d deletion) (controlplane.Object, bool, error) {
				res := s.resources.find("scheduling.k8s.io", "v1", "priorityclasses")
				if systemClass(key.Name) != nil {
					return nil, false, apierrors.NewForbidden(res.groupResource(), key.Name, fmt.Errorf("this priority class may not be deleted"))
				}
				defer s.findDefaultClass()
				return s.removePlain(ctx, res, key, d)
			},
		},
	}
}

func priorityClassKey(name string) controlplane.Key {
	return controlplane.Key{Resource: "priorityclasses", Name: name}
}

func preparePriorityClass(o controlplane.Object) {
	if pc := o.(*schedulingv1.PriorityClass); pc.PreemptionPolicy == nil {
		policy := corev1.PreemptLowerPriority
		pc.PreemptionPolicy = &policy
	}
}

func validatePriorityClass(pc *schedulingv1.PriorityClass) field.ErrorList {
	var errs field.ErrorList
	if strings.HasPrefix(pc.Name, systemClassPrefix) {
		if known := systemClass(pc.Name); known == nil || known.Value != pc.Value || pc.GlobalDefault {
			errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"), "priority class names with '"+systemClassPrefix+"' prefix are reserved for system use only"))
		}
	} else if pc.Value > highestUserPriority {
		errs = append(errs, field.Forbidden(field.NewPath("value"), fmt.Sprintf("maximum allowed value of a user defined priority is %d", highestUserPriority)))
	}
	if p := *pc.PreemptionPolicy; p != corev1.PreemptLowerPriority && p != corev1.PreemptNever {
		errs = append(errs, field.NotSupported(field.NewPath("preemptionPolicy"), p, []corev1.PreemptionPolicy{corev1.PreemptLowerPriority, corev1.PreemptNever}))
	}
	return errs
}

func (s *Server) validatePriorityClassUpdate(nextObj, oldObj controlplane.Object) field.ErrorList {
	next, old := nextObj.(*schedulingv1.PriorityClass), oldObj.(*schedulingv1.PriorityClass)
	errs := validateMetaUpdate(next, old)
	if next.Value != old.Value {
		errs = append(errs, field.Forbidden(field.NewPath("value"), "may not be changed in an update."))
	}
	if *next.PreemptionPolicy != *old.PreemptionPolicy {
		errs = append(errs, field.Invalid(field.NewPath("preemptionPolicy"), *next.PreemptionPolicy, "field is immutable"))
	}
	if other := s.otherDefault(next); other != "" {
		errs = append(errs, field.Forbidden(field.NewPath("globalDefault"), errOtherDefault(other).Error()))
	}
	return errs
}

// otherDefault answers the class that is the default already, empty if this one may be.
func (s *Server) otherDefault(pc *schedulingv1.PriorityClass) string {
	if d := s.defaultClass.Load(); pc.GlobalDefault && d != nil && d.Name != pc.Name {
		return d.Name
	}
	return ""
}

func errOtherDefault(other string) error {
	return fmt.Errorf("PriorityClass %s is already marked as default. Only one default can exist", other)
}

// findDefaultClass looks for the class of pods that name none. It is called after each change of a class, so
// that creates needn't look. Of two, which a race can make, the one with the lower value counts, as in
// Kubernetes.
func (s *Server) findDefaultClass() {
	list, _ := s.cfg.Store.List("priorityclasses", "")
	var found *schedulingv1.PriorityClass
	lowest := int32(math.MaxInt32)
	for _, o := range list {
		if pc := o.(*schedulingv1.PriorityClass); pc.GlobalDefault && pc.Value <= lowest {
			found, lowest = pc, pc.Value
		}
	}
	s.defaultClass.Store(found)
}

func (s *Server) makePriorityClasses(ctx context.Context) error {
	res := s.resources.find("scheduling.k8s.io", "v1", "priorityclasses")
	for _, pc := range systemClasses {
		if _, err := s.createObject(ctx, res, "", pc.DeepCopy(), false); err != nil {
			if st := statusOf(err, res.groupResource(), pc.Name); st.Reason != metav1.StatusReasonAlreadyExists {
				return fmt.Errorf("priority class %s: %w", pc.Name, err)
			}
		}
	}
	return nil
}

// What most pods have, shared by them: nobody changes a stored pod.
var (
	noPriority = new(int32)
	preempts   = func() *corev1.PreemptionPolicy { p := corev1.PreemptLowerPriority; return &p }()
)

// admitPod gives a new pod the priority of its class, as Kubernetes' admission plugin does, and the boost that a
// policy has for it.
func (s *Server) admitPod(o controlplane.Object) error {
	pod := o.(*corev1.Pod)
	delete(pod.Annotations, v1alpha1.AnnotationAutosized)
	if err := s.sizePod(pod); err != nil { // before anybody counts its size
		return err
	}
	spec := &pod.Spec
	forbidden := func(format string, args ...any) error {
		return apierrors.NewForbidden(corev1.Resource("pods"), pod.Name, fmt.Errorf(format, args...))
	}
	priority, policy := noPriority, preempts
	class := s.defaultClass.Load()
	if spec.PriorityClassName != "" {
		o, ok := s.cfg.Store.Get(priorityClassKey(spec.PriorityClassName))
		if !ok {
			return forbidden("no PriorityClass with name %s was found", spec.PriorityClassName)
		}
		class = o.(*schedulingv1.PriorityClass)
	}
	if class != nil {
		spec.PriorityClassName = class.Name
		priority, policy = &class.Value, class.PreemptionPolicy
	}
	if p := spec.Priority; p != nil && *p != *priority {
		return forbidden("the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", *p, *priority)
	}
	if p := spec.PreemptionPolicy; p != nil && *p != *policy {
		return forbidden("the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", *p, *policy)
	}
	spec.Priority, spec.PreemptionPolicy = priority, policy
	return s.boostPod(pod)
}

var priorityClassTable = table{
	columns: []metav1.TableColumnDefinition{
		nameColumn(),
		{Name: "Value", Type: "integer", Description: schedulingv1.PriorityClass{}.SwaggerDoc()["value"]},
		{Name: "Global-Default", Type: "boolean", Description: schedulingv1.PriorityClass{}.SwaggerDoc()["globalDefault"]},
		ageColumn(),
		column("PreemptionPolicy", schedulingv1.PriorityClass{}.SwaggerDoc()["preemptionPolicy"]),
	},
	row: func(o controlplane.Object) metav1.TableRow {
		pc := o.(*schedulingv1.PriorityClass)
		policy := corev1.PreemptLowerPriority
		if pc.PreemptionPolicy != nil {
			policy = *pc.PreemptionPolicy
		}
		return metav1.TableRow{Cells: []any{pc.Name, int64(pc.Value), pc.GlobalDefault, since(pc.CreationTimestamp), string(policy)}}
	},
}
