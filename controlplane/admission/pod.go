package admission

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
)

// ValidatePod answers what is wrong with a defaulted pod, as kube-apiserver would, and what of it Swell
// can't honour.
func ValidatePod(pod *corev1.Pod) field.ErrorList {
	errs := ValidateMeta(pod)
	errs = append(errs, refuse(&pod.Spec)...)
	errs = append(errs, refuseValues(&pod.Spec)...)
	return append(errs, validateSpec(&pod.Spec)...)
}

// ValidateMeta is ValidatePod without what concerns the spec alone.
func ValidateMeta(pod *corev1.Pod) field.ErrorList {
	at := field.NewPath("metadata")
	errs := apivalidation.ValidateObjectMeta(&pod.ObjectMeta, true, apivalidation.NameIsDNSSubdomain, at)
	annotations := at.Child("annotations")
	oneOf := func(key string, values ...string) {
		if v, ok := pod.Annotations[key]; ok && !sets.New(values...).Has(v) {
			errs = append(errs, field.NotSupported(annotations.Key(key), v, values))
		}
	}
	oneOf(v1alpha1.AnnotationComputeClass, v1alpha1.ClassGeneralPurpose, v1alpha1.ClassPerformance, v1alpha1.ClassGPU)
	oneOf(v1alpha1.AnnotationQoS, v1alpha1.QoSDefault, v1alpha1.QoSBestEffort)
	oneOf(v1alpha1.AnnotationResizePolicy, v1alpha1.ResizePreempt, v1alpha1.ResizeWait)
	oneOf(v1alpha1.AnnotationLatency, v1alpha1.LatencyDefault, v1alpha1.LatencyCritical)
	if v, ok := pod.Annotations[v1alpha1.AnnotationBurst]; ok {
		b, err := v1alpha1.ParseBurst(v)
		if err == nil && pod.ResourceVersion == "" { // later a resize may have grown it beyond that
			err = burstAboveSize(b, &pod.Spec)
		}
		if err != nil {
			errs = append(errs, field.Invalid(annotations.Key(v1alpha1.AnnotationBurst), v, err.Error()))
		}
	}
	if _, ok := pod.Annotations[v1alpha1.AnnotationAllocated]; ok && pod.ResourceVersion == "" {
		errs = append(errs, field.Forbidden(annotations.Key(v1alpha1.AnnotationAllocated), "only the control plane sets it"))
	}
	return append(errs, validateBoostOf(pod, annotations)...)
}

// burstAboveSize refuses bounds below what the pod has anyway.
func burstAboveSize(b v1alpha1.Burst, spec *corev1.PodSpec) error {
	for _, r := range []struct {
		name  corev1.ResourceName
		bound int64
		value func(*resource.Quantity) int64
	}{
		{corev1.ResourceCPU, b.CPUMilli, (*resource.Quantity).MilliValue},
		{corev1.ResourceMemory, b.MemoryBytes, (*resource.Quantity).Value},
	} {
		var size resource.Quantity
		whose := "its containers' limits"
		for _, c := range spec.Containers {
			size.Add(c.Resources.Limits[r.name])
		}
		if says(spec.Resources, r.name) {
			size, whose = spec.Resources.Limits[r.name], "its own limits"
		}
		if r.bound > 0 && r.bound < r.value(&size) {
			return fmt.Errorf("%s: must be at least the pod's size, which %s make %s", r.name, whose, size.String())
		}
	}
	return nil
}

func validateSpec(spec *corev1.PodSpec) field.ErrorList {
	at := field.NewPath("spec")
	volumes, errs := validateVolumes(spec.Volumes, at.Child("volumes"))
	if len(spec.Containers) == 0 {
		errs = append(errs, field.Required(at.Child("containers"), ""))
	}
	in := &surroundings{spec: spec, volumes: volumes, names: sets.New[string](), hostPorts: sets.New[string]()}
	for i := range spec.InitContainers {
		p := at.Child("initContainers").Index(i)
		errs = append(errs, validateContainer(&spec.InitContainers[i], in, p)...)
		errs = append(errs, onlyMain(&spec.InitContainers[i], p)...)
	}
	for i := range spec.Containers {
		errs = append(errs, validateContainer(&spec.Containers[i], in, at.Child("containers").Index(i))...)
	}
	errs = append(errs, supported(at.Child("restartPolicy"), spec.RestartPolicy, corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)...)
	errs = append(errs, supported(at.Child("dnsPolicy"), spec.DNSPolicy, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)...)
	if g := spec.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		errs = append(errs, field.Invalid(at.Child("terminationGracePeriodSeconds"), *g, "must be greater than or equal to 0"))
	}
	if d := spec.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > 1<<31-1) {
		errs = append(errs, field.Invalid(at.Child("activeDeadlineSeconds"), *d, validation.InclusiveRangeError(1, 1<<31-1)))
	}
	errs = append(errs, metavalidation.ValidateLabels(spec.NodeSelector, at.Child("nodeSelector"))...)
	if spec.NodeName != "" {
		errs = append(errs, invalid(at.Child("nodeName"), spec.NodeName, validation.IsDNS1123Subdomain(spec.NodeName))...)
	}
	for _, n := range []struct{ path, value string }{{"hostname", spec.Hostname}, {"subdomain", spec.Subdomain}} {
		if n.value != "" {
			errs = append(errs, invalid(at.Child(n.path), n.value, validation.IsDNS1123Label(n.value))...)
		}
	}
	for i, s := range spec.ImagePullSecrets {
		if s.Name == "" {
			errs = append(errs, field.Required(at.Child("imagePullSecrets").Index(i).Child("name"), ""))
		}
	}
	for i, a := range spec.HostAliases {
		p := at.Child("hostAliases").Index(i)
		if !isIP(a.IP) {
			errs = append(errs, field.Invalid(p.Child("ip"), a.IP, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"))
		}
		for j, h := range a.Hostnames {
			errs = append(errs, invalid(p.Child("hostnames").Index(j), h, validation.IsDNS1123Subdomain(h))...)
		}
	}
	errs = append(errs, validateAffinity(spec.Affinity, at.Child("affinity"))...)
	errs = append(errs, validateSpread(spec.TopologySpreadConstraints, at.Child("topologySpreadConstraints"))...)
	if spec.PriorityClassName != "" {
		errs = append(errs, invalid(at.Child("priorityClassName"), spec.PriorityClassName, validation.IsDNS1123Subdomain(spec.PriorityClassName))...)
	}
	errs = append(errs, validateTolerations(spec.Tolerations, at.Child("tolerations"))...)
	errs = append(errs, validateTotal(spec, at)...)
	errs = append(errs, validatePodResources(spec, at)...)
	errs = append(errs, validateDNS(spec, at.Child("dnsConfig"))...)
	return append(errs, validatePodSecurity(spec.SecurityContext, at.Child("securityContext"))...)
}

// supported is an enumeration's check.
func supported[T ~string](at *field.Path, value T, values ...T) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	if !sets.New(values...).Has(value) {
		return field.ErrorList{field.NotSupported(at, value, values)}
	}
	return nil
}

// isIP takes no zone: it names an interface of somebody's.
func isIP(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Zone() == ""
}

func invalid(at *field.Path, value any, problems []string) field.ErrorList {
	var errs field.ErrorList
	for _, p := range problems {
		errs = append(errs, field.Invalid(at, value, p))
	}
	return errs
}

// Limits of a pod's resolver, as in Kubernetes.
const (
	maxNameservers = 3
	maxSearchPaths = 32
	maxSearchChars = 2048
)

func validateDNS(spec *corev1.PodSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	c := spec.DNSConfig
	if spec.DNSPolicy == corev1.DNSNone && c == nil {
		errs = append(errs, field.Required(at, fmt.Sprintf("must provide `dnsConfig` when `dnsPolicy` is %s", corev1.DNSNone)))
	} else if spec.DNSPolicy == corev1.DNSNone && len(c.Nameservers) == 0 {
		errs = append(errs, field.Required(at.Child("nameservers"), fmt.Sprintf("must provide at least one DNS nameserver when `dnsPolicy` is %s", corev1.DNSNone)))
	}
	if c == nil {
		return errs
	}
	if len(c.Nameservers) > maxNameservers {
		errs = append(errs, field.Invalid(at.Child("nameservers"), c.Nameservers, fmt.Sprintf("must not have more than %v nameservers", maxNameservers)))
	}
	for i, ns := range c.Nameservers {
		if !isIP(ns) {
			errs = append(errs, field.Invalid(at.Child("nameservers").Index(i), ns, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"))
		}
	}
	if len(c.Searches) > maxSearchPaths || len(strings.Join(c.Searches, " ")) > maxSearchChars {
		errs = append(errs, field.Invalid(at.Child("searches"), c.Searches, fmt.Sprintf("must not have more than %d search paths of together %d characters", maxSearchPaths, maxSearchChars)))
	}
	for i, s := range c.Searches {
		if s != "." {
			errs = append(errs, invalid(at.Child("searches").Index(i), s, validation.IsDNS1123SubdomainWithUnderscore(strings.TrimSuffix(s, ".")))...)
		}
	}
	for i, o := range c.Options {
		if o.Name == "" {
			errs = append(errs, field.Required(at.Child("options").Index(i), "must not be empty"))
		}
	}
	return errs
}
