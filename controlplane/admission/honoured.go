package admission

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// honoured are the fields of a pod's spec that Swell acts on, or that change nothing here whatever they
// say. "*" is any container, element or key; a path covers everything below it only with "/**".
var honoured = func() map[string]bool {
	paths := []string{
		"restartPolicy", "terminationGracePeriodSeconds", "activeDeadlineSeconds", "dnsPolicy", "dnsConfig/**",
		"nodeSelector/**", "nodeName", "imagePullSecrets/**", "hostname", "subdomain", "setHostnameAsFQDN", "hostAliases/**",
		"securityContext/runAsUser", "securityContext/runAsGroup", "securityContext/runAsNonRoot", "securityContext/supplementalGroups/**",
		"securityContext/fsGroup", "securityContext/fsGroupChangePolicy", "securityContext/sysctls/**", "securityContext/seccompProfile/type",
		"volumes/*/name", "volumes/*/emptyDir/medium", "volumes/*/emptyDir/sizeLimit/**", "volumes/*/configMap/**", "volumes/*/secret/**",
		"volumes/*/downwardAPI/**", "volumes/*/projected/defaultMode", "volumes/*/projected/sources/*/configMap/**",
		"volumes/*/projected/sources/*/secret/**", "volumes/*/projected/sources/*/downwardAPI/**",
		// Without effect here: there is one scheduler, no service account, no taint, and no service to link.
		"schedulerName", "serviceAccountName", "serviceAccount", "automountServiceAccountToken", "enableServiceLinks",
		"preemptionPolicy", "priority", "tolerations/**",
	}
	for _, list := range []string{"containers", "initContainers"} {
		for _, p := range []string{
			"name", "image", "command/**", "args/**", "workingDir", "ports/**", "env/**", "envFrom/**",
			"resources/requests/**", "resources/limits/**", "resizePolicy/**",
			"volumeMounts/*/name", "volumeMounts/*/readOnly", "volumeMounts/*/mountPath", "volumeMounts/*/subPath", "volumeMounts/*/subPathExpr",
			"livenessProbe/**", "readinessProbe/**", "startupProbe/**", "lifecycle/**", "terminationMessagePath", "terminationMessagePolicy",
			"imagePullPolicy", "securityContext/capabilities/**", "securityContext/privileged", "securityContext/runAsUser",
			"securityContext/runAsGroup", "securityContext/runAsNonRoot", "securityContext/readOnlyRootFilesystem",
			"securityContext/allowPrivilegeEscalation", "securityContext/seccompProfile/type", "securityContext/procMount",
		} {
			paths = append(paths, list+"/*/"+p)
		}
	}
	out := make(map[string]bool, len(paths))
	for _, p := range paths {
		out[p] = true
	}
	return out
}()

// refuse names every field that is set and not honoured.
func refuse(spec *corev1.PodSpec) field.ErrorList {
	w := &walker{}
	w.walk(reflect.ValueOf(spec).Elem(), field.NewPath("spec"), nil)
	return w.found
}

type walker struct{ found field.ErrorList }

func (w *walker) walk(v reflect.Value, at *field.Path, path []string) {
	if v.IsZero() || covered(path) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		w.walk(v.Elem(), at, path)
		return
	case reflect.Struct:
		if !leadsOn(path) {
			break
		}
		t := v.Type()
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if name == "" && t.Field(i).Anonymous {
				w.walk(v.Field(i), at, path)
				continue
			}
			w.walk(v.Field(i), at.Child(name), append(slices.Clip(path), name))
		}
		return
	case reflect.Slice:
		if v.Len() == 0 {
			return
		}
		if !leadsOn(append(slices.Clip(path), "*")) {
			break
		}
		for i := range v.Len() {
			w.walk(v.Index(i), at.Index(i), append(slices.Clip(path), "*"))
		}
		return
	case reflect.Map:
		if v.Len() == 0 {
			return
		}
	case reflect.Bool:
		if !v.Bool() {
			return // what is said not to be is what is done
		}
	}
	if honoured[strings.Join(path, "/")] {
		return
	}
	w.found = append(w.found, field.Forbidden(at, fmt.Sprintf("%s is not supported by Swell", path[len(path)-1])))
}

// covered reports a path at or below one that is honoured with all that is in it.
func covered(path []string) bool {
	for i := range path {
		if honoured[strings.Join(path[:i+1], "/")+"/**"] {
			return true
		}
	}
	return false
}

// leadsOn reports a path that has honoured ones below it.
func leadsOn(path []string) bool {
	prefix := strings.Join(path, "/") + "/"
	if len(path) == 0 {
		return true
	}
	for p := range honoured {
		if strings.HasPrefix(p, prefix) {
			return true
		}
	}
	return false
}

// refuseValues names values of honoured fields that mean something that Swell doesn't do.
func refuseValues(spec *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	at := field.NewPath("spec")
	if spec.SchedulerName != "" && spec.SchedulerName != corev1.DefaultSchedulerName {
		errs = append(errs, field.NotSupported(at.Child("schedulerName"), spec.SchedulerName, []string{corev1.DefaultSchedulerName}))
	}
	for _, name := range []struct{ path, value string }{{"serviceAccountName", spec.ServiceAccountName}, {"serviceAccount", spec.DeprecatedServiceAccount}} {
		if name.value != "" && name.value != "default" {
			errs = append(errs, field.NotSupported(at.Child(name.path), name.value, []string{"default"}))
		}
	}
	if spec.Priority != nil && *spec.Priority != 0 {
		errs = append(errs, field.Forbidden(at.Child("priority"), "priorities other than 0 are not supported by Swell"))
	}
	if spec.DNSPolicy == corev1.DNSClusterFirstWithHostNet {
		errs = append(errs, field.NotSupported(at.Child("dnsPolicy"), spec.DNSPolicy, []corev1.DNSPolicy{corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone}))
	}
	return errs
}
