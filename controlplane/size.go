package controlplane

import (
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// PodDemand is the pod's admitted size.
func PodDemand(pod *corev1.Pod) (Demand, error) {
	cpu, memory, err := v1alpha1.PodSize(pod)
	return Demand{CPUMilli: cpu, MemoryBytes: memory}, err
}

// PodPlacement is what the scheduler is asked for a pod.
func PodPlacement(pod *corev1.Pod) (PlaceRequest, error) {
	d, err := PodDemand(pod)
	if err != nil {
		return PlaceRequest{}, err
	}
	more, err := v1alpha1.BoostOf(pod)
	if err != nil {
		return PlaceRequest{}, err
	}
	required := more > 0 && v1alpha1.BoostsOf(pod).Required()
	if required {
		d.CPUMilli += more
	}
	req := PlaceRequest{
		BoostCPUMilli: more, BoostRequired: required,
		Key: Key{Resource: "pods", Namespace: pod.Namespace, Name: pod.Name}, UID: string(pod.UID), Demand: d,
		NodeName: pod.Spec.NodeName, NodeSelector: pod.Spec.NodeSelector, HostPorts: hostPorts(&pod.Spec), Created: pod.CreationTimestamp.Time,
		Labels: pod.Labels, Class: Class(v1alpha1.ComputeClass(pod)), BestEffort: v1alpha1.QoS(pod) == v1alpha1.QoSBestEffort,
		Leaving: pod.DeletionTimestamp != nil, Rules: PodRules(&pod.Spec),
	}
	if p := pod.Spec.Priority; p != nil {
		req.Priority = *p
	}
	if p := pod.Spec.PreemptionPolicy; p != nil {
		req.NeverPreempt = *p == corev1.PreemptNever
	}
	return req, nil
}

// hostPorts are those that the nodelet forwards: of all containers, for as long as the pod is there.
func hostPorts(spec *corev1.PodSpec) []HostPort {
	var out []HostPort
	add := func(c *corev1.Container) {
		for _, p := range c.Ports {
			if p.HostPort == 0 {
				continue
			}
			h := HostPort{Protocol: string(p.Protocol), IP: p.HostIP, Port: p.HostPort}
			if h.IP == "0.0.0.0" {
				h.IP = ""
			}
			out = append(out, h)
		}
	}
	for i := range spec.InitContainers {
		add(&spec.InitContainers[i])
	}
	for i := range spec.Containers {
		add(&spec.Containers[i])
	}
	return out
}
