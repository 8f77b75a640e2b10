package v1alpha1

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// StartupBoost gives the pods of its namespace that it selects more CPU while they start. It is applied when a
// pod is created: what the pod gets stands on it as the annotation swell.dev/startup-boost, and a pod that is
// created with the annotation keeps its own. Of several that select a pod the first by name holds.
type StartupBoost struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec StartupBoostSpec `json:"spec,omitempty"`
}

// StartupBoostSpec is what is wanted. CPU or Containers, or both, are required.
type StartupBoostSpec struct {
	// Selector selects pods by their labels. Empty: all of the namespace.
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
	// CPU that each container has while it starts: a quantity such as 2 or 1500m, or a multiple of its size
	// such as 3x. A container that isn't smaller gets nothing.
	CPU BoostCPU `json:"cpu,omitempty"`
	// For is how long at most, such as 90s. Of a container without readiness and startup probe it is how long.
	// Default: 5m, and 30s without such probes.
	For string `json:"for,omitempty"`
	// Required keeps pods from a node, and containers from their start, where there is no room for their boosts.
	Required bool `json:"required,omitempty"`
	// Containers that have a boost of their own.
	Containers []ContainerBoost `json:"containers,omitempty"`
}

// ContainerBoost is the boost of one container; a pod without it ignores it.
type ContainerBoost struct {
	Name string   `json:"name"`
	CPU  BoostCPU `json:"cpu"`
	For  string   `json:"for,omitempty"`
}

// BoostCPU is a quantity such as 2 or 1500m, or a multiple such as 3x. A number may stand for its text.
type BoostCPU string

// UnmarshalJSON implements json.Unmarshaler.
func (c *BoostCPU) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err == nil {
		*c = BoostCPU(text)
		return nil
	}
	var number json.Number
	if err := json.Unmarshal(b, &number); err != nil {
		return fmt.Errorf("%s: must be a quantity such as 2 or 1500m, or a multiple such as 3x", b)
	}
	*c = BoostCPU(number)
	return nil
}

// OpenAPISchemaType, OpenAPISchemaFormat and OpenAPIV3OneOfTypes are what clients know it by.
func (BoostCPU) OpenAPISchemaType() []string   { return []string{"string"} }
func (BoostCPU) OpenAPISchemaFormat() string   { return "" }
func (BoostCPU) OpenAPIV3OneOfTypes() []string { return []string{"string", "number"} }

// StartupBoostList is a list of policies.
type StartupBoostList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []StartupBoost `json:"items"`
}

// Annotation answers the policy for a pod: its clauses, without those of containers that the pod lacks. Empty:
// there is nothing for it.
func (s *StartupBoostSpec) Annotation(pod *corev1.Pod) string {
	var b Boosts
	if s.CPU != "" {
		b = append(b, clause("", s.CPU, s.For))
	}
	for _, c := range s.Containers {
		if boostable(pod, c.Name) {
			b = append(b, clause(c.Name, c.CPU, c.For))
		}
	}
	if s.Required && len(b) > 0 {
		b[0].Required = true // for all of them
	}
	return b.String()
}

// clause is of a spec that was found valid.
func clause(container string, cpu BoostCPU, limit string) Boost {
	out := Boost{Container: container}
	_ = out.setCPU(string(cpu))
	if limit != "" {
		_ = out.setFor(limit)
	}
	return out
}

// DeepCopy answers an independent copy.
func (p *StartupBoost) DeepCopy() *StartupBoost {
	out := *p
	out.ObjectMeta = *p.ObjectMeta.DeepCopy()
	out.Spec.Selector = p.Spec.Selector.DeepCopy()
	out.Spec.Containers = append([]ContainerBoost(nil), p.Spec.Containers...)
	return &out
}

// DeepCopyObject implements runtime.Object.
func (p *StartupBoost) DeepCopyObject() runtime.Object { return p.DeepCopy() }

// DeepCopyObject implements runtime.Object.
func (l *StartupBoostList) DeepCopyObject() runtime.Object {
	out := *l
	out.ListMeta = *l.ListMeta.DeepCopy()
	out.Items = make([]StartupBoost, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopy()
	}
	return &out
}
