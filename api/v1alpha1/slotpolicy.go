package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// SlotPolicy says how slots are kept ready ahead of the pods of its namespace that it selects. Pods of one
// template are a workload; what the policy says holds for each workload. Of several policies that select a
// pod the first by name holds.
type SlotPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   SlotPolicySpec   `json:"spec,omitempty"`
	Status SlotPolicyStatus `json:"status,omitzero"`
}

// SlotMode says who decides how many slots there are.
type SlotMode string

// SlotDepth says how far a slot is made ready. Each includes those before it.
type SlotDepth string

const (
	SlotModeAutomatic SlotMode = "Automatic" // as many as the forecast asks for, between min and max
	SlotModeOff       SlotMode = "Off"       // none

	SlotDepthCapacity  SlotDepth = "Capacity"  // room is held
	SlotDepthSandbox   SlotDepth = "Sandbox"   // image, network and cgroup are there
	SlotDepthContainer SlotDepth = "Container" // the first container is created and waits at its start
)

// Defaults of a policy, and what holds where there is none.
const (
	DefaultIdleCost      = 1
	DefaultColdStartCost = 20
)

// SlotPolicySpec is what is wanted.
type SlotPolicySpec struct {
	// Selector selects pods by their labels. Empty: all of the namespace.
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	Mode     SlotMode              `json:"mode,omitempty"`  // default Automatic
	Depth    SlotDepth             `json:"depth,omitempty"` // default Container
	// Min slots are there whatever the forecast; in Schedule more.
	Min int32 `json:"min,omitempty"`
	// Max bounds them; absent: the control plane's own bound.
	Max *int32 `json:"max,omitempty"`
	// IdleCost of a slot that waits and ColdStartCost of a pod that finds none, in any unit: their relation
	// counts. Default 1 and 20.
	IdleCost      int32        `json:"idleCost,omitempty"`
	ColdStartCost int32        `json:"coldStartCost,omitempty"`
	Schedule      []SlotWindow `json:"schedule,omitempty"`
	// Template has slots made before the first pod that is made of it. Absent: pods are learned from.
	Template *corev1.PodTemplateSpec `json:"template,omitempty"`
}

// SlotWindow is a time of the week in which more slots are there.
type SlotWindow struct {
	Days     []string `json:"days,omitempty"`     // Monday … Sunday; empty: every day
	From     string   `json:"from"`               // 15:04
	To       string   `json:"to"`                 // 15:04; at or before From: of the next day
	TimeZone string   `json:"timeZone,omitempty"` // of the IANA database; default UTC
	Min      int32    `json:"min"`
}

// SlotPolicyStatus is what there is. It is kept in memory, and counts from the start of the control plane.
type SlotPolicyStatus struct {
	Workloads int32        `json:"workloads"` // that the policy holds for now
	Slots     SlotCounts   `json:"slots"`
	Hits      int64        `json:"hits"`   // pods that took a slot
	Misses    int64        `json:"misses"` // pods that found none
	Forecast  SlotForecast `json:"forecast"`
	// Message tells why slots don't get ready; empty while they do.
	Message string `json:"message,omitempty"`
}

// SlotCounts counts slots by the depth that they have reached.
type SlotCounts struct {
	Wanted    int32 `json:"wanted"`
	Capacity  int32 `json:"capacity"`
	Sandbox   int32 `json:"sandbox"`
	Container int32 `json:"container"`
}

// SlotForecast is what is expected, of all workloads together.
type SlotForecast struct {
	PodsPerHour  int64 `json:"podsPerHour"`
	ErrorPercent int32 `json:"errorPercent"` // mean error over mean arrivals, within the time that a slot takes to be ready
}

// SlotPolicyList is a list of policies.
type SlotPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []SlotPolicy `json:"items"`
}

// DeepCopy answers an independent copy.
func (p *SlotPolicy) DeepCopy() *SlotPolicy {
	out := *p
	out.ObjectMeta = *p.ObjectMeta.DeepCopy()
	out.Spec.Selector = p.Spec.Selector.DeepCopy()
	if p.Spec.Max != nil {
		most := *p.Spec.Max
		out.Spec.Max = &most
	}
	out.Spec.Template = p.Spec.Template.DeepCopy()
	out.Spec.Schedule = append([]SlotWindow(nil), p.Spec.Schedule...)
	for i := range out.Spec.Schedule {
		out.Spec.Schedule[i].Days = append([]string(nil), out.Spec.Schedule[i].Days...)
	}
	return &out
}

// DeepCopyObject implements runtime.Object.
func (p *SlotPolicy) DeepCopyObject() runtime.Object { return p.DeepCopy() }

// DeepCopyObject implements runtime.Object.
func (l *SlotPolicyList) DeepCopyObject() runtime.Object {
	out := *l
	out.ListMeta = *l.ListMeta.DeepCopy()
	out.Items = make([]SlotPolicy, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopy()
	}
	return &out
}
