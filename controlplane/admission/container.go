package admission

import (
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateContainer(c *corev1.Container, volumes, names, hostPorts sets.Set[string], at *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case c.Name == "":
		errs = append(errs, field.Required(at.Child("name"), ""))
	case names.Has(c.Name):
		errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
	default:
		errs = append(errs, invalid(at.Child("name"), c.Name, validation.IsDNS1123Label(c.Name))...)
	}
	names.Insert(c.Name)
	if c.Image == "" {
		errs = append(errs, field.Required(at.Child("image"), ""))
	} else if strings.TrimSpace(c.Image) != c.Image {
		errs = append(errs, field.Invalid(at.Child("image"), c.Image, "must not have leading or trailing whitespace"))
	}
	errs = append(errs, supported(at.Child("imagePullPolicy"), c.ImagePullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	errs = append(errs, supported(at.Child("terminationMessagePolicy"), c.TerminationMessagePolicy, corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)...)
	errs = append(errs, validatePorts(c.Ports, hostPorts, at.Child("ports"))...)
	errs = append(errs, validateEnv(c, at)...)
	errs = append(errs, validateMounts(c.VolumeMounts, volumes, at.Child("volumeMounts"))...)
	errs = append(errs, validateProbe(c.LivenessProbe, true, at.Child("livenessProbe"))...)
	errs = append(errs, validateProbe(c.StartupProbe, true, at.Child("startupProbe"))...)
	errs = append(errs, validateProbe(c.ReadinessProbe, false, at.Child("readinessProbe"))...)
	if c.Lifecycle != nil {
		errs = append(errs, validateHook(c.Lifecycle.PostStart, at.Child("lifecycle", "postStart"))...)
		errs = append(errs, validateHook(c.Lifecycle.PreStop, at.Child("lifecycle", "preStop"))...)
		if c.Lifecycle.StopSignal != nil {
			errs = append(errs, field.Forbidden(at.Child("lifecycle", "stopSignal"), "stopSignal is not supported by Swell"))
		}
	}
	errs = append(errs, validateResources(&c.Resources, at.Child("resources"))...)
	errs = append(errs, validateResizePolicy(c.ResizePolicy, at.Child("resizePolicy"))...)
	return append(errs, validateSecurity(c.SecurityContext, at.Child("securityContext"))...)
}

// onlyMain are fields that init containers don't have.
func onlyMain(c *corev1.Container, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for name, set := range map[string]bool{
		"lifecycle": c.Lifecycle != nil, "livenessProbe": c.LivenessProbe != nil,
		"readinessProbe": c.ReadinessProbe != nil, "startupProbe": c.StartupProbe != nil,
	} {
		if set {
			errs = append(errs, field.Forbidden(at.Child(name), "may not be set for init containers without restartPolicy=Always"))
		}
	}
	return errs
}

func validatePorts(list []corev1.ContainerPort, hostPorts sets.Set[string], at *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i := range list {
		p, at := &list[i], at.Index(i)
		if p.Name != "" {
			errs = append(errs, invalid(at.Child("name"), p.Name, validation.IsValidPortName(p.Name))...)
			if names.Has(p.Name) {
				errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
			}
			names.Insert(p.Name)
		}
		if p.ContainerPort == 0 {
			errs = append(errs, field.Required(at.Child("containerPort"), ""))
		} else {
			errs = append(errs, invalid(at.Child("containerPort"), p.ContainerPort, validation.IsValidPortNum(int(p.ContainerPort)))...)
		}
		if p.HostPort != 0 {
			errs = append(errs, invalid(at.Child("hostPort"), p.HostPort, validation.IsValidPortNum(int(p.HostPort)))...)
			key := fmt.Sprintf("%s/%s/%d", p.Protocol, p.HostIP, p.HostPort)
			if hostPorts.Has(key) {
				errs = append(errs, field.Duplicate(at.Child("hostPort"), p.HostPort))
			}
			hostPorts.Insert(key)
		}
		errs = append(errs, supported(at.Child("protocol"), p.Protocol, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)...)
	}
	return errs
}

// Fields that the downward API offers.
var (
	envFields = sets.New("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs")
	volumeFields = sets.New("metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid")
	resources    = sets.New("limits.cpu", "limits.memory", "limits.ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage")
)

func validateFieldRef(ref *corev1.ObjectFieldSelector, known sets.Set[string], at *field.Path) field.ErrorList {
	if ref.FieldPath == "" {
		return field.ErrorList{field.Required(at.Child("fieldPath"), "")}
	}
	name, key, subscript := strings.Cut(strings.TrimSuffix(ref.FieldPath, "']"), "['")
	if subscript && (name == "metadata.labels" || name == "metadata.annotations") && strings.HasSuffix(ref.FieldPath, "']") {
		return invalid(at.Child("fieldPath"), ref.FieldPath, validation.IsQualifiedName(strings.ToLower(key)))
	}
	if !known.Has(ref.FieldPath) {
		return field.ErrorList{field.NotSupported(at.Child("fieldPath"), ref.FieldPath, sets.List(known))}
	}
	return nil
}

func validateResourceRef(ref *corev1.ResourceFieldSelector, inVolume bool, at *field.Path) field.ErrorList {
	switch {
	case inVolume && ref.ContainerName == "":
		return field.ErrorList{field.Required(at.Child("containerName"), "")}
	case ref.Resource == "":
		return field.ErrorList{field.Required(at.Child("resource"), "")}
	case !resources.Has(ref.Resource):
		return field.ErrorList{field.NotSupported(at.Child("resource"), ref.Resource, sets.List(resources))}
	}
	return nil
}

func validateEnv(c *corev1.Container, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range c.Env {
		e, at := &c.Env[i], at.Child("env").Index(i)
		if e.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		} else {
			errs = append(errs, invalid(at.Child("name"), e.Name, validation.IsRelaxedEnvVarName(e.Name))...)
		}
		f := e.ValueFrom
		if f == nil {
			continue
		}
		at = at.Child("valueFrom")
		sources := 0
		if f.FieldRef != nil {
			sources++
			errs = append(errs, validateFieldRef(f.FieldRef, envFields, at.Child("fieldRef"))...)
		}
		if f.ResourceFieldRef != nil {
			sources++
			errs = append(errs, validateResourceRef(f.ResourceFieldRef, false, at.Child("resourceFieldRef"))...)
		}
		if r := f.ConfigMapKeyRef; r != nil {
			sources++
			errs = append(errs, validateKeyRef(r.Name, r.Key, at.Child("configMapKeyRef"))...)
		}
		if r := f.SecretKeyRef; r != nil {
			sources++
			errs = append(errs, validateKeyRef(r.Name, r.Key, at.Child("secretKeyRef"))...)
		}
		if f.FileKeyRef != nil {
			errs = append(errs, field.Forbidden(at.Child("fileKeyRef"), "fileKeyRef is not supported by Swell"))
		} else if sources == 0 {
			errs = append(errs, field.Invalid(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"))
		}
		if e.Value != "" {
			errs = append(errs, field.Invalid(at, "", "may not be specified when `value` is not empty"))
		} else if sources > 1 {
			errs = append(errs, field.Invalid(at, "", "may not have more than one field specified at a time"))
		}
	}
	for i := range c.EnvFrom {
		e, at := &c.EnvFrom[i], at.Child("envFrom").Index(i)
		if e.Prefix != "" {
			errs = append(errs, invalid(at.Child("prefix"), e.Prefix, validation.IsRelaxedEnvVarName(e.Prefix))...)
		}
		switch {
		case e.ConfigMapRef != nil && e.SecretRef != nil:
			errs = append(errs, field.Invalid(at, "", "may not have more than one field specified at a time"))
		case e.ConfigMapRef != nil && e.ConfigMapRef.Name == "":
			errs = append(errs, field.Required(at.Child("configMapRef", "name"), ""))
		case e.SecretRef != nil && e.SecretRef.Name == "":
			errs = append(errs, field.Required(at.Child("secretRef", "name"), ""))
		case e.ConfigMapRef == nil && e.SecretRef == nil:
			errs = append(errs, field.Invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"))
		}
	}
	return errs
}

func validateKeyRef(name, key string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if name == "" {
		errs = append(errs, field.Required(at.Child("name"), ""))
	}
	if key == "" {
		return append(errs, field.Required(at.Child("key"), ""))
	}
	return append(errs, invalid(at.Child("key"), key, validation.IsConfigMapKey(key))...)
}

func validateMounts(list []corev1.VolumeMount, volumes sets.Set[string], at *field.Path) field.ErrorList {
	var errs field.ErrorList
	paths := sets.New[string]()
	for i := range list {
		m, at := &list[i], at.Index(i)
		if m.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		} else if !volumes.Has(m.Name) {
			errs = append(errs, field.NotFound(at.Child("name"), m.Name))
		}
		switch {
		case m.MountPath == "":
			errs = append(errs, field.Required(at.Child("mountPath"), ""))
		case paths.Has(m.MountPath):
			errs = append(errs, field.Invalid(at.Child("mountPath"), m.MountPath, "must be unique"))
		case !path.IsAbs(m.MountPath), strings.Contains(m.MountPath, ":"):
			errs = append(errs, field.Invalid(at.Child("mountPath"), m.MountPath, "must be an absolute path without ':'"))
		}
		paths.Insert(m.MountPath)
		if m.SubPath != "" && m.SubPathExpr != "" {
			errs = append(errs, field.Invalid(at.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive"))
		}
		errs = append(errs, localPath(m.SubPath, at.Child("subPath"))...)
		errs = append(errs, localPath(m.SubPathExpr, at.Child("subPathExpr"))...)
	}
	return errs
}

// localPath is a relative path that doesn't lead out.
func localPath(p string, at *field.Path) field.ErrorList {
	if path.IsAbs(p) {
		return field.ErrorList{field.Invalid(at, p, "must be a relative path")}
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return field.ErrorList{field.Invalid(at, p, "must not contain '..'")}
		}
	}
	return nil
}

func validateProbe(p *corev1.Probe, once bool, at *field.Path) field.ErrorList {
	if p == nil {
		return nil
	}
	errs := validateHandler(handler{p.Exec, p.HTTPGet, p.TCPSocket, nil, p.GRPC}, at)
	for _, n := range []struct {
		name  string
		value int32
	}{
		{"initialDelaySeconds", p.InitialDelaySeconds}, {"timeoutSeconds", p.TimeoutSeconds}, {"periodSeconds", p.PeriodSeconds},
		{"successThreshold", p.SuccessThreshold}, {"failureThreshold", p.FailureThreshold},
	} {
		if n.value < 0 {
			errs = append(errs, field.Invalid(at.Child(n.name), n.value, "must be greater than or equal to 0"))
		}
	}
	if once && p.SuccessThreshold != 1 {
		errs = append(errs, field.Invalid(at.Child("successThreshold"), p.SuccessThreshold, "must be 1"))
	}
	if g := p.TerminationGracePeriodSeconds; g != nil && !once {
		errs = append(errs, field.Invalid(at.Child("terminationGracePeriodSeconds"), *g, "must not be set for readinessProbes"))
	} else if g != nil && *g <= 0 {
		errs = append(errs, field.Invalid(at.Child("terminationGracePeriodSeconds"), *g, "must be greater than 0"))
	}
	return errs
}

type handler struct {
	exec  *corev1.ExecAction
	http  *corev1.HTTPGetAction
	tcp   *corev1.TCPSocketAction
	sleep *corev1.SleepAction
	grpc  *corev1.GRPCAction
}

func validateHook(h *corev1.LifecycleHandler, at *field.Path) field.ErrorList {
	if h == nil {
		return nil
	}
	return validateHandler(handler{h.Exec, h.HTTPGet, h.TCPSocket, h.Sleep, nil}, at)
}

func validateHandler(h handler, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	n := 0
	if h.exec != nil {
		if n++; len(h.exec.Command) == 0 {
			errs = append(errs, field.Required(at.Child("exec", "command"), ""))
		}
	}
	if h.http != nil {
		n++
		p := at.Child("httpGet")
		if h.http.Path == "" {
			errs = append(errs, field.Required(p.Child("path"), ""))
		}
		errs = append(errs, validatePort(h.http.Port, p.Child("port"))...)
		errs = append(errs, supported(p.Child("scheme"), h.http.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)...)
		for i, header := range h.http.HTTPHeaders {
			errs = append(errs, invalid(p.Child("httpHeaders").Index(i).Child("name"), header.Name, validation.IsHTTPHeaderName(header.Name))...)
		}
	}
	if h.tcp != nil {
		n++
		errs = append(errs, validatePort(h.tcp.Port, at.Child("tcpSocket", "port"))...)
	}
	if h.grpc != nil {
		n++
		errs = append(errs, validatePort(intstr.FromInt32(h.grpc.Port), at.Child("grpc", "port"))...)
	}
	if h.sleep != nil {
		if n++; h.sleep.Seconds < 0 {
			errs = append(errs, field.Invalid(at.Child("sleep", "seconds"), h.sleep.Seconds, "must be greater than or equal to 0"))
		}
	}
	switch {
	case n == 0:
		errs = append(errs, field.Required(at, "must specify a handler type"))
	case n > 1:
		errs = append(errs, field.Forbidden(at, "may not specify more than 1 handler type"))
	}
	return errs
}

func validatePort(p intstr.IntOrString, at *field.Path) field.ErrorList {
	if p.Type == intstr.Int {
		return invalid(at, p.IntValue(), validation.IsValidPortNum(p.IntValue()))
	}
	return invalid(at, p.StrVal, validation.IsValidPortName(p.StrVal))
}

// Sizes beyond these are typing errors, and beyond what can be counted in an int64.
var (
	maxCPU    = resource.MustParse("1000000")
	maxMemory = resource.MustParse("1Pi")
)

func validateResources(r *corev1.ResourceRequirements, at *field.Path) field.ErrorList {
	errs := validateQuantities(r.Limits, at.Child("limits"))
	errs = append(errs, validateQuantities(r.Requests, at.Child("requests"))...)
	for name, request := range r.Requests {
		if limit, ok := r.Limits[name]; ok && request.Cmp(limit) > 0 {
			errs = append(errs, field.Invalid(at.Child("requests"), request.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String())))
		}
	}
	return errs
}

func validateQuantities(list corev1.ResourceList, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for name, q := range list {
		p := at.Key(string(name))
		largest := maxCPU
		switch name {
		case corev1.ResourceCPU:
		case corev1.ResourceMemory:
			largest = maxMemory
		default:
			errs = append(errs, field.NotSupported(p, name, []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory}))
			continue
		}
		switch {
		case q.Sign() < 0:
			errs = append(errs, field.Invalid(p, q.String(), "must be greater than or equal to 0"))
		case q.Sign() == 0:
			errs = append(errs, field.Invalid(p, q.String(), "must be greater than 0: a container without nodes has exactly the size that it asks for"))
		case q.Cmp(largest) > 0:
			errs = append(errs, field.Invalid(p, q.String(), fmt.Sprintf("must be less than or equal to %s", largest.String())))
		case name == corev1.ResourceMemory && q.MilliValue()%1000 != 0:
			errs = append(errs, field.Invalid(p, q.String(), "must be an integer"))
		}
	}
	return errs
}

func validateResizePolicy(list []corev1.ContainerResizePolicy, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[corev1.ResourceName]()
	for i, p := range list {
		at := at.Index(i)
		if seen.Has(p.ResourceName) {
			errs = append(errs, field.Duplicate(at, p.ResourceName))
		}
		seen.Insert(p.ResourceName)
		errs = append(errs, supported(at.Child("resourceName"), p.ResourceName, corev1.ResourceCPU, corev1.ResourceMemory)...)
		errs = append(errs, supported(at.Child("restartPolicy"), p.RestartPolicy, corev1.NotRequired, corev1.RestartContainer)...)
	}
	return errs
}

func validateSecurity(sc *corev1.SecurityContext, at *field.Path) field.ErrorList {
	if sc == nil {
		return nil
	}
	errs := ids(at, map[string]*int64{"runAsUser": sc.RunAsUser, "runAsGroup": sc.RunAsGroup})
	errs = append(errs, seccomp(sc.SeccompProfile, at)...)
	if p := sc.ProcMount; p != nil && *p != corev1.DefaultProcMount {
		errs = append(errs, field.NotSupported(at.Child("procMount"), *p, []corev1.ProcMountType{corev1.DefaultProcMount}))
	}
	if sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation {
		if sc.Privileged != nil && *sc.Privileged {
			errs = append(errs, field.Invalid(at, sc, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
		}
		if sc.Capabilities != nil && sets.New(sc.Capabilities.Add...).Has("CAP_SYS_ADMIN") {
			errs = append(errs, field.Invalid(at, sc, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
		}
	}
	return errs
}
