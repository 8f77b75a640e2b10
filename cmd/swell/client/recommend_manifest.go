package client

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/spf13/cobra"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"swell.dev/swell/api/v1alpha1"
)

// controllers are the kinds that an autoscaler may be for, with their API version.
var controllers = map[string]string{
	"Deployment": "apps/v1", "StatefulSet": "apps/v1", "ReplicaSet": "apps/v1", "DaemonSet": "apps/v1",
	"Job": "batch/v1", "CronJob": "batch/v1", "ReplicationController": "v1",
}

// scalable are those of them that have a number of replicas.
var scalable = []string{"Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"}

// NotScalableError is a workload that an autoscaler can't be for.
type NotScalableError struct{ Workload, Kind string }

func (e *NotScalableError) Error() string {
	if e.Kind == formatHPA {
		return fmt.Sprintf("%s: a HorizontalPodAutoscaler is for a Deployment, StatefulSet, ReplicaSet or ReplicationController", e.Workload)
	}
	return fmt.Sprintf("%s: a VerticalPodAutoscaler is for pods that a controller makes (Deployment, StatefulSet, DaemonSet …)", e.Workload)
}

// printManifests writes an autoscaler for each workload that may have one. If one was named it has to.
func printManifests(cmd *cobra.Command, kind string, list []v1alpha1.Recommendation, named bool) error {
	w := cmd.OutOrStdout()
	written := 0
	var refused error
	for i := range list {
		r := &list[i]
		make := vpaOf
		if kind == formatHPA {
			make = hpaOf
		}
		manifest, err := make(r)
		if err != nil {
			refused = err
			if !named {
				fmt.Fprintln(cmd.ErrOrStderr(), "left out:", err)
			}
			continue
		}
		if written > 0 {
			fmt.Fprintln(w, "---")
		}
		if err := writeManifest(w, r, manifest); err != nil {
			return err
		}
		written++
	}
	if written == 0 {
		return refused
	}
	return nil
}

// writeManifest prints an object as it is applied: without status, and with what it rests on as a comment.
func writeManifest(w io.Writer, r *v1alpha1.Recommendation, manifest any) error {
	for _, c := range r.Containers {
		fmt.Fprintf(w, "# %s: %s\n", c.Name, c.Explanation)
	}
	raw, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	delete(fields, "status")
	if meta, ok := fields["metadata"].(map[string]any); ok {
		delete(meta, "creationTimestamp")
	}
	text, err := yaml.Marshal(fields)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// verticalPodAutoscaler is the part of autoscaling.k8s.io/v1 VerticalPodAutoscaler that is written. Its module isn't
// imported for these few fields.
type verticalPodAutoscaler struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              vpaSpec `json:"spec"`
}

type vpaSpec struct {
	TargetRef    autoscalingv1.CrossVersionObjectReference `json:"targetRef"`
	UpdatePolicy struct {
		UpdateMode string `json:"updateMode"`
	} `json:"updatePolicy"`
	ResourcePolicy struct {
		ContainerPolicies []vpaContainer `json:"containerPolicies"`
	} `json:"resourcePolicy"`
}

type vpaContainer struct {
	ContainerName       string                `json:"containerName"`
	ControlledResources []corev1.ResourceName `json:"controlledResources"`
	ControlledValues    string                `json:"controlledValues"`
	MinAllowed          corev1.ResourceList   `json:"minAllowed"`
	MaxAllowed          corev1.ResourceList   `json:"maxAllowed"`
}

// vpaOf is a VerticalPodAutoscaler with the recommendation's bounds, which resizes in place where it can.
func vpaOf(r *v1alpha1.Recommendation) (any, error) {
	version, ok := controllers[r.Workload.Kind]
	if !ok {
		return nil, &NotScalableError{workloadName(r), formatVPA}
	}
	out := &verticalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling.k8s.io/v1", Kind: "VerticalPodAutoscaler"},
		ObjectMeta: metav1.ObjectMeta{Name: r.Workload.Name, Namespace: r.Namespace},
	}
	out.Spec.TargetRef = autoscalingv1.CrossVersionObjectReference{APIVersion: version, Kind: r.Workload.Kind, Name: r.Workload.Name}
	out.Spec.UpdatePolicy.UpdateMode = "InPlaceOrRecreate"
	for _, c := range r.Containers {
		out.Spec.ResourcePolicy.ContainerPolicies = append(out.Spec.ResourcePolicy.ContainerPolicies, vpaContainer{
			ContainerName: c.Name, ControlledResources: []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory},
			ControlledValues: "RequestsAndLimits", MinAllowed: c.LowerBound, MaxAllowed: c.UpperBound,
		})
	}
	return out, nil
}

// Bounds of a target utilisation, in percent: below, pods would mostly idle; above, nothing is left for the time
// that a new replica takes.
const leastUtilization, mostUtilization = 20, 90

// hpaOf is a HorizontalPodAutoscaler on CPU. Its target utilisation is the median of a pod's CPU in proportion to
// the 95th percentile: a pod whose usual load is at the target then has its peaks within its size. There are at
// least as many replicas as the median load needs at that target, at most as many as the highest load of all pods
// at once does.
func hpaOf(r *v1alpha1.Recommendation) (any, error) {
	if !slices.Contains(scalable, r.Workload.Kind) {
		return nil, &NotScalableError{workloadName(r), formatHPA}
	}
	out := &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: autoscalingv2.SchemeGroupVersion.String(), Kind: "HorizontalPodAutoscaler"},
		ObjectMeta: metav1.ObjectMeta{Name: r.Workload.Name, Namespace: r.Namespace},
	}
	out.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: controllers[r.Workload.Kind], Kind: r.Workload.Kind, Name: r.Workload.Name}
	least, most := int32(1), int32(1)
	for i := range r.Containers {
		c := &r.Containers[i]
		percent := int32(math.Round(100 * float64(c.CPU.P50.MilliValue()) / float64(max(c.CPU.P95.MilliValue(), 1))))
		percent = min(max(percent, leastUtilization), mostUtilization)
		target := autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent}
		metric := autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceCPU, Target: target}}
		if len(r.Containers) > 1 { // each by itself: the highest demand for replicas holds
			metric = autoscalingv2.MetricSpec{Type: autoscalingv2.ContainerResourceMetricSourceType,
				ContainerResource: &autoscalingv2.ContainerResourceMetricSource{Name: corev1.ResourceCPU, Container: c.Name, Target: target}}
		}
		out.Spec.Metrics = append(out.Spec.Metrics, metric)
		size := c.Target
		if now := sizeNow(r, c.Name); now != nil {
			size = now.Size
		}
		replicas := func(each int64) int32 {
			n := float64(max(r.Pods, 1)) * float64(each) / (float64(percent) / 100 * float64(max(size.Cpu().MilliValue(), 1)))
			return int32(min(math.Ceil(n), 10_000))
		}
		least = max(least, min(replicas(c.CPU.P50.MilliValue()), max(r.Pods, 1)))
		most = max(most, replicas(c.CPU.Max.MilliValue()))
	}
	out.Spec.MinReplicas, out.Spec.MaxReplicas = &least, cmp.Or(max(most, r.Pods), 1)
	slices.SortStableFunc(out.Spec.Metrics, func(a, b autoscalingv2.MetricSpec) int { return cmp.Compare(containerIn(a), containerIn(b)) })
	return out, nil
}

func containerIn(m autoscalingv2.MetricSpec) string {
	if m.ContainerResource == nil {
		return ""
	}
	return m.ContainerResource.Container
}
