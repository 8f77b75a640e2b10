package admission

import (
	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"swell.dev/swell/api/v1alpha1"
)

// DefaultPod fills in what kube-apiserver does, and the size of containers that leave it open: requests
// and limits from one another, or the default size.
func DefaultPod(pod *corev1.Pod) {
	s := &pod.Spec
	set(&s.RestartPolicy, corev1.RestartPolicyAlways)
	set(&s.DNSPolicy, corev1.DNSClusterFirst)
	set(&s.SchedulerName, corev1.DefaultSchedulerName)
	setPtr(&s.TerminationGracePeriodSeconds, int64(corev1.DefaultTerminationGracePeriodSeconds))
	setPtr(&s.EnableServiceLinks, corev1.DefaultEnableServiceLinks)
	if s.SecurityContext == nil {
		s.SecurityContext = &corev1.PodSecurityContext{}
	}
	for i := range s.InitContainers {
		defaultContainer(&s.InitContainers[i], s.Resources)
	}
	for i := range s.Containers {
		defaultContainer(&s.Containers[i], s.Resources)
	}
	defaultPodResources(s)
	for i := range s.Volumes {
		defaultVolume(&s.Volumes[i])
	}
	if pod.Status.Phase == "" {
		pod.Status.Phase = corev1.PodPending
	}
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func setPtr[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

func defaultContainer(c *corev1.Container, whole *corev1.ResourceRequirements) {
	set(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	set(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	if c.ImagePullPolicy == "" {
		c.ImagePullPolicy = corev1.PullIfNotPresent
		if latest(c.Image) {
			c.ImagePullPolicy = corev1.PullAlways
		}
	}
	for i := range c.Ports {
		set(&c.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for i := range c.Env {
		if f := c.Env[i].ValueFrom; f != nil && f.FieldRef != nil {
			set(&f.FieldRef.APIVersion, "v1")
		}
	}
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		defaultProbe(p)
	}
	if c.Lifecycle != nil {
		for _, h := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h != nil && h.HTTPGet != nil {
				defaultHTTP(h.HTTPGet)
			}
		}
	}
	roundUp(c.Resources.Requests)
	roundUp(c.Resources.Limits)
	defaultResources(&c.Resources, whole)
}

// latest reports an image with the tag latest, or without a tag and without a digest.
func latest(image string) bool {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return false
	}
	if tagged, ok := named.(reference.Tagged); ok {
		return tagged.Tag() == "latest"
	}
	return reference.IsNameOnly(named)
}

// roundUp takes quantities to thousandths, the smallest part that anything counts in.
func roundUp(list corev1.ResourceList) {
	for name, q := range list {
		q.RoundUp(resource.Milli)
		list[name] = q
	}
}

// defaultResources sets requests from limits, limits from requests, and both where neither is given. Of what the pod
// says as a whole a container has as much as there is, unless it says less itself.
func defaultResources(r, whole *corev1.ResourceRequirements) {
	for name, value := range map[corev1.ResourceName]resource.Quantity{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(v1alpha1.DefaultCPUMilli, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(v1alpha1.DefaultMemoryBytes, resource.BinarySI),
	} {
		request, requested := r.Requests[name]
		limit, limited := r.Limits[name]
		switch {
		case requested && !limited:
			value = request
		case limited && !requested:
			value = limit
		case requested && limited:
			continue
		}
		said := says(whole, name)
		if !requested && (limited || !said) {
			put(&r.Requests, name, value)
		}
		if !limited && !said {
			put(&r.Limits, name, value)
		}
	}
}

func put(list *corev1.ResourceList, name corev1.ResourceName, value resource.Quantity) {
	if *list == nil {
		*list = corev1.ResourceList{}
	}
	(*list)[name] = value
}

func defaultProbe(p *corev1.Probe) {
	if p == nil {
		return
	}
	set(&p.TimeoutSeconds, 1)
	set(&p.PeriodSeconds, 10)
	set(&p.SuccessThreshold, 1)
	set(&p.FailureThreshold, 3)
	if p.HTTPGet != nil {
		defaultHTTP(p.HTTPGet)
	}
	if p.GRPC != nil {
		setPtr(&p.GRPC.Service, "")
	}
}

func defaultHTTP(h *corev1.HTTPGetAction) {
	set(&h.Path, "/")
	set(&h.Scheme, corev1.URISchemeHTTP)
	if h.Port.Type == intstr.Int && h.Port.IntVal == 0 && h.Port.StrVal != "" {
		h.Port.Type = intstr.String
	}
}

func defaultVolume(v *corev1.Volume) {
	mode := corev1.ConfigMapVolumeSourceDefaultMode // all kinds have the same one
	refs := func(items []corev1.DownwardAPIVolumeFile) {
		for i := range items {
			if items[i].FieldRef != nil {
				set(&items[i].FieldRef.APIVersion, "v1")
			}
		}
	}
	switch {
	case v.ConfigMap != nil:
		setPtr(&v.ConfigMap.DefaultMode, mode)
	case v.Secret != nil:
		setPtr(&v.Secret.DefaultMode, mode)
	case v.DownwardAPI != nil:
		setPtr(&v.DownwardAPI.DefaultMode, mode)
		refs(v.DownwardAPI.Items)
	case v.Projected != nil:
		setPtr(&v.Projected.DefaultMode, mode)
		for i := range v.Projected.Sources {
			if d := v.Projected.Sources[i].DownwardAPI; d != nil {
				refs(d.Items)
			}
		}
	case sourceless(v):
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
}

func sourceless(v *corev1.Volume) bool { return v.VolumeSource == corev1.VolumeSource{} }
