package admission

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Fields that the downward API offers.
var (
	envFields = sets.New("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
		"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs")
	volumeFields = sets.New("metadata.name", "metadata.namespace", "metadata.labels", "metadata.annotations", "metadata.uid")
	resources    = sets.New("limits.cpu", "limits.memory", "requests.cpu", "requests.memory")

	cpuDivisors    = sets.New("1m", "1")
	memoryDivisors = sets.New("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
)

func validateFieldRef(ref *corev1.ObjectFieldSelector, known sets.Set[string], at *field.Path) field.ErrorList {
	if ref.FieldPath == "" {
		return field.ErrorList{field.Required(at.Child("fieldPath"), "")}
	}
	if ref.APIVersion != "v1" {
		return field.ErrorList{field.NotSupported(at.Child("apiVersion"), ref.APIVersion, []string{"v1"})}
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
	divisors := memoryDivisors
	if strings.HasSuffix(ref.Resource, ".cpu") {
		divisors = cpuDivisors
	}
	if d := ref.Divisor; !d.IsZero() && !divisors.Has(d.String()) {
		return field.ErrorList{field.NotSupported(at.Child("divisor"), d.String(), sets.List(divisors))}
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
			sources++ // refused by name
		}
		if sources == 0 {
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
		case e.ConfigMapRef != nil:
			errs = append(errs, validateRefName(e.ConfigMapRef.Name, at.Child("configMapRef", "name"))...)
		case e.SecretRef != nil:
			errs = append(errs, validateRefName(e.SecretRef.Name, at.Child("secretRef", "name"))...)
		default:
			errs = append(errs, field.Invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"))
		}
	}
	return errs
}

// validateRefName checks the name of a config map or a secret.
func validateRefName(name string, at *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	return invalid(at, name, validation.IsDNS1123Subdomain(name))
}

func validateKeyRef(name, key string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, validateRefName(name, at.Child("name"))...)
	if key == "" {
		return append(errs, field.Required(at.Child("key"), ""))
	}
	return append(errs, invalid(at.Child("key"), key, validation.IsConfigMapKey(key))...)
}
