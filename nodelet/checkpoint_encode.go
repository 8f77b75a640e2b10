package nodelet

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Parts of a checkpoint that are Kubernetes objects stand in its JSON as protobuf in base64: a checkpoint is
// written for each pod that starts, and JSON of quantities and times costs more than all the rest.
type (
	actuatedSizes map[string]corev1.ResourceRequirements // by container
	podConditions []corev1.PodCondition
)

func (a actuatedSizes) MarshalJSON() ([]byte, error) {
	var spec corev1.PodSpec
	for _, name := range slices.Sorted(maps.Keys(a)) {
		spec.Containers = append(spec.Containers, corev1.Container{Name: name, Resources: a[name]})
	}
	return base64JSON(spec.Marshal())
}

func (a *actuatedSizes) UnmarshalJSON(b []byte) error {
	var spec corev1.PodSpec
	if err := fromBase64JSON(b, spec.Unmarshal); err != nil {
		return err
	}
	*a = make(actuatedSizes, len(spec.Containers))
	for i := range spec.Containers {
		(*a)[spec.Containers[i].Name] = spec.Containers[i].Resources
	}
	return nil
}

func (c podConditions) MarshalJSON() ([]byte, error) {
	st := corev1.PodStatus{Conditions: c}
	return base64JSON(st.Marshal())
}

func (c *podConditions) UnmarshalJSON(b []byte) error {
	var st corev1.PodStatus
	if err := fromBase64JSON(b, st.Unmarshal); err != nil {
		return err
	}
	*c = st.Conditions
	return nil
}

func base64JSON(raw []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, base64.StdEncoding.EncodedLen(len(raw))+2)
	out = base64.StdEncoding.AppendEncode(append(out, '"'), raw)
	return append(out, '"'), nil
}

func fromBase64JSON(b []byte, unmarshal func([]byte) error) error {
	var raw []byte
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	return unmarshal(raw)
}
