package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Autosize has the containers of its namespace's pods that it selects be as large as what they use asks for. Of
// several that select a pod the first by name holds.
type Autosize struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   AutosizeSpec   `json:"spec,omitempty"`
	Status AutosizeStatus `json:"status,omitzero"`
}

// AutosizeMode says what is done with a recommendation.
type AutosizeMode string

const (
	AutosizeOff     AutosizeMode = "Off"     // nothing: it stands in the status
	AutosizeInitial AutosizeMode = "Initial" // pods get it when they are created
	AutosizeAuto    AutosizeMode = "Auto"    // and are resized while they run
)

// Defaults of a policy. Percentiles and margin are the Vertical Pod Autoscaler's for CPU, and Autopilot's for
// memory, whose every peak counts.
const (
	DefaultCPUPercentile    = 90
	DefaultMemoryPercentile = 98
	DefaultMarginPercent    = 15
	DefaultChangePercent    = 10
	DefaultUpPercent        = 100
	DefaultDownPercent      = 50
	DefaultCooldownSeconds  = 300
	DefaultHistorySeconds   = 600
)

// AutosizeSpec is what is wanted.
type AutosizeSpec struct {
	// Workload selects the pods of one workload, Selector pods by their labels. With neither it is all of the
	// namespace.
	Workload *WorkloadReference    `json:"workload,omitempty"`
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	Mode     AutosizeMode          `json:"mode,omitempty"` // default Auto
	// Containers says what differs for some; name * is for those that aren't named.
	Containers []AutosizeContainer `json:"containers,omitempty"`
	CPU        AutosizeTarget      `json:"cpu,omitzero"`
	Memory     AutosizeTarget      `json:"memory,omitzero"`
	// CooldownSeconds pass between two resizes of a pod, whoever asked for the first. Default 300.
	CooldownSeconds *int32 `json:"cooldownSeconds,omitempty"`
	// HistorySeconds have to be observed before anything is done. Default 600.
	HistorySeconds *int32 `json:"historySeconds,omitempty"`
	// ChangePercent is by how much a recommendation has to differ for a resize. Default 10.
	ChangePercent int32 `json:"changePercent,omitempty"`
	// UpPercent and DownPercent bound one resize. Default +100 and −50.
	UpPercent   int32 `json:"upPercent,omitempty"`
	DownPercent int32 `json:"downPercent,omitempty"`
	// AllowRestart resizes containers, too, that a resize restarts (resizePolicy RestartContainer).
	AllowRestart bool `json:"allowRestart,omitempty"`
}

// WorkloadReference names a workload: the controller of its pods (kind Deployment, StatefulSet …), kind App with
// the value of the label app.kubernetes.io/name, or kind Pod with a pod's name or what generated names begin with.
type WorkloadReference struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// AutosizeContainer is what holds for a container.
type AutosizeContainer struct {
	Name      string                `json:"name"`
	Mode      AutosizeContainerMode `json:"mode,omitempty"`      // default Auto
	Resources []corev1.ResourceName `json:"resources,omitempty"` // cpu, memory; default both
	Min       corev1.ResourceList   `json:"min,omitempty"`
	Max       corev1.ResourceList   `json:"max,omitempty"`
}

// AutosizeContainerMode is Auto, or Off for a container that is left alone.
type AutosizeContainerMode string

const (
	AutosizeContainerAuto AutosizeContainerMode = "Auto"
	AutosizeContainerOff  AutosizeContainerMode = "Off"
)

// AutosizeTarget says how much of what was used a size holds.
type AutosizeTarget struct {
	// Percentile of the time, for CPU, or of the peaks of days, for memory, that the size suffices for; 100 is the
	// highest that is remembered. Default 90 for CPU and 98 for memory.
	Percentile int32 `json:"percentile,omitempty"`
	// MarginPercent is added. Default 15.
	MarginPercent *int32 `json:"marginPercent,omitempty"`
}

// AutosizeStatus is what the policy sees and did. It is kept in memory.
type AutosizeStatus struct {
	Workloads       []WorkloadRecommendation `json:"workloads,omitempty"` // 100 at most
	WorkloadsInAll  int32                    `json:"workloadsInAll"`
	Pods            int32                    `json:"pods"`
	Resizes         int64                    `json:"resizes"` // since the control plane started
	LastResizeTime  metav1.Time              `json:"lastResizeTime,omitzero"`
	LastExplanation string                   `json:"lastExplanation,omitempty"`
	// Message tells why a pod isn't resized that should be; empty otherwise.
	Message string `json:"message,omitempty"`
}

// WorkloadRecommendation is what is recommended for one workload.
type WorkloadRecommendation struct {
	Workload   WorkloadReference         `json:"workload"`
	Containers []ContainerRecommendation `json:"containers,omitempty"`
}

// ContainerRecommendation is how large a container should be. A size is the limit; requests are kept in their
// proportion to it.
type ContainerRecommendation struct {
	Name string `json:"name"`
	// Target is the recommended size. Below LowerBound it is likely too small, above UpperBound wasted; the bounds
	// draw together as history gets longer.
	Target     corev1.ResourceList `json:"target"`
	LowerBound corev1.ResourceList `json:"lowerBound,omitempty"`
	UpperBound corev1.ResourceList `json:"upperBound,omitempty"`
	// Uncapped is the target before min and max.
	Uncapped corev1.ResourceList `json:"uncappedTarget,omitempty"`
	CPU      UsageSummary        `json:"cpuUsage"`
	Memory   UsageSummary        `json:"memoryPeaks"`
	// Since is the beginning of the history, ObservedSeconds how much of all containers' time is in it.
	Since            metav1.Time `json:"since,omitzero"`
	ObservedSeconds  int64       `json:"observedSeconds"`
	Samples          int64       `json:"samples"`
	OOMKills         int64       `json:"oomKills,omitempty"`
	ThrottledPercent int32       `json:"throttledPercent,omitempty"` // of the time, lately
	Explanation      string      `json:"explanation"`
}

// UsageSummary is a histogram at some points. What is older counts less: half after a day.
type UsageSummary struct {
	P50 resource.Quantity `json:"p50"`
	P90 resource.Quantity `json:"p90"`
	P95 resource.Quantity `json:"p95"`
	Max resource.Quantity `json:"max"`
}

// AutosizeList is a list of policies.
type AutosizeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []Autosize `json:"items"`
}

// Recommendation is what is recommended for a workload, with or without a policy. It is worked out when it is
// asked for and served read-only; its name is the workload's kind, in lower case, and name: deployment-web.
type Recommendation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	WorkloadRecommendation `json:",inline"`
	// Autosize is the policy that holds for the workload's pods, its mode in parentheses; empty: none.
	Autosize string `json:"autosize,omitempty"`
	// Pods that there are now, and the size that their containers have in common.
	Pods    int32                  `json:"pods"`
	Current []CurrentContainerSize `json:"current,omitempty"`
}

// CurrentContainerSize is a container's size as it is: the smallest and the largest among the pods.
type CurrentContainerSize struct {
	Name    string              `json:"name"`
	Size    corev1.ResourceList `json:"size"`
	Largest corev1.ResourceList `json:"largest,omitempty"` // where pods differ
}

// RecommendationList is a list of recommendations.
type RecommendationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []Recommendation `json:"items"`
}

// UsageCheckpoint keeps a workload's histograms over a restart of the control plane. It is stored and not served;
// its name is a recommendation's.
type UsageCheckpoint struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Workload   WorkloadReference     `json:"workload"`
	Containers []ContainerCheckpoint `json:"containers"`
}

// ContainerCheckpoint is one container's history.
type ContainerCheckpoint struct {
	Name            string              `json:"name"`
	CPU             HistogramCheckpoint `json:"cpu"`
	Memory          HistogramCheckpoint `json:"memory"`
	Since           metav1.Time         `json:"since"`
	Until           metav1.Time         `json:"until"`
	ObservedMillis  int64               `json:"observedMillis"`
	ThrottledMillis int64               `json:"throttledMillis,omitempty"`
	Samples         int64               `json:"samples"`
	OOMKills        int64               `json:"oomKills,omitempty"`
}

// HistogramCheckpoint is a decaying histogram: weights in millionths of the largest, from bucket Low on.
type HistogramCheckpoint struct {
	Reference metav1.MicroTime `json:"reference,omitzero"`
	Largest   float64          `json:"largest,omitempty"`
	Low       int              `json:"low,omitempty"`
	Weights   []uint32         `json:"weights,omitempty"`
}

// DeepCopy answers an independent copy.
func (p *Autosize) DeepCopy() *Autosize {
	out := *p
	out.ObjectMeta = *p.ObjectMeta.DeepCopy()
	s := &out.Spec
	s.Workload = copied(p.Spec.Workload)
	s.Selector = p.Spec.Selector.DeepCopy()
	s.Containers = append([]AutosizeContainer(nil), p.Spec.Containers...)
	for i := range s.Containers {
		c := &s.Containers[i]
		c.Resources = append([]corev1.ResourceName(nil), c.Resources...)
		c.Min, c.Max = c.Min.DeepCopy(), c.Max.DeepCopy()
	}
	s.CPU.MarginPercent, s.Memory.MarginPercent = copied(p.Spec.CPU.MarginPercent), copied(p.Spec.Memory.MarginPercent)
	s.CooldownSeconds, s.HistorySeconds = copied(p.Spec.CooldownSeconds), copied(p.Spec.HistorySeconds)
	out.Status.LastResizeTime = *p.Status.LastResizeTime.DeepCopy()
	out.Status.Workloads = append([]WorkloadRecommendation(nil), p.Status.Workloads...)
	for i := range out.Status.Workloads {
		out.Status.Workloads[i] = p.Status.Workloads[i].deepCopy()
	}
	return &out
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

func (w WorkloadRecommendation) deepCopy() WorkloadRecommendation {
	containers := w.Containers
	w.Containers = append([]ContainerRecommendation(nil), containers...)
	for i := range w.Containers {
		c := &w.Containers[i]
		c.Target, c.LowerBound, c.UpperBound, c.Uncapped = c.Target.DeepCopy(), c.LowerBound.DeepCopy(), c.UpperBound.DeepCopy(), c.Uncapped.DeepCopy()
		c.CPU, c.Memory = c.CPU.deepCopy(), c.Memory.deepCopy()
		c.Since = *c.Since.DeepCopy()
	}
	return w
}

func (u UsageSummary) deepCopy() UsageSummary {
	return UsageSummary{u.P50.DeepCopy(), u.P90.DeepCopy(), u.P95.DeepCopy(), u.Max.DeepCopy()}
}

// DeepCopyObject implements runtime.Object.
func (p *Autosize) DeepCopyObject() runtime.Object { return p.DeepCopy() }

// DeepCopyObject implements runtime.Object.
func (l *AutosizeList) DeepCopyObject() runtime.Object {
	out := *l
	out.ListMeta = *l.ListMeta.DeepCopy()
	out.Items = make([]Autosize, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopy()
	}
	return &out
}

// DeepCopyObject implements runtime.Object.
func (c *UsageCheckpoint) DeepCopyObject() runtime.Object {
	out := *c
	out.ObjectMeta = *c.ObjectMeta.DeepCopy()
	out.Containers = append([]ContainerCheckpoint(nil), c.Containers...)
	for i := range out.Containers {
		h := &out.Containers[i]
		h.CPU.Weights = append([]uint32(nil), h.CPU.Weights...)
		h.Memory.Weights = append([]uint32(nil), h.Memory.Weights...)
	}
	return &out
}
