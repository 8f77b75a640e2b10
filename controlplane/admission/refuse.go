package admission

import (
	"fmt"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// paths is a set of field paths.
type paths struct {
	leaves   map[string]bool // with what is below them
	interior map[string]bool // lead to leaves
}

func newPaths(list []string) paths {
	p := paths{leaves: make(map[string]bool, len(list)), interior: map[string]bool{"": true}}
	for _, leaf := range list {
		leaf = strings.TrimSuffix(leaf, "/**")
		p.leaves[leaf] = true
		for i, r := range leaf {
			if r == '/' {
				p.interior[leaf[:i]] = true
			}
		}
	}
	return p
}

// refuse names every field that is set and not honoured, by the shortest path that leads to nothing
// honoured.
func refuse(spec *corev1.PodSpec) field.ErrorList {
	w := &walker{}
	w.walk(reflect.ValueOf(spec), field.NewPath("spec"), "")
	return w.found
}

type walker struct{ found field.ErrorList }

func (w *walker) walk(v reflect.Value, at *field.Path, path string) {
	if !present(v) || honoured.leaves[path] {
		return
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.Struct && honoured.interior[path]:
		t := v.Type()
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if name == "" && t.Field(i).Anonymous { // its fields are the struct's own
				w.walk(v.Field(i), at, path)
				continue
			}
			w.walk(v.Field(i), at.Child(name), join(path, name))
		}
	case v.Kind() == reflect.Slice && honoured.interior[join(path, "*")]:
		for i := range v.Len() {
			w.walk(v.Index(i), at.Index(i), join(path, "*"))
		}
	case emptyIsAbsent[path] && v.IsZero():
	default:
		w.found = append(w.found, field.Forbidden(at, fmt.Sprintf("%s is not supported by Swell", path[strings.LastIndexByte(path, '/')+1:])))
	}
}

// present reports a value that a manifest holds. What is optional is there even if it is zero: false or
// {} may be the very thing that is asked for (hostUsers, or a volume's source).
func present(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return !v.IsNil()
	case reflect.Slice, reflect.Map:
		return v.Len() > 0
	}
	return !v.IsZero()
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

// refuseValues names values of honoured fields that mean something that Swell doesn't do.
func refuseValues(spec *corev1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	at := field.NewPath("spec")
	forbid := func(path, what string) { errs = append(errs, field.Forbidden(at.Child(path), what)) }
	if spec.SchedulerName != "" && spec.SchedulerName != corev1.DefaultSchedulerName {
		errs = append(errs, field.NotSupported(at.Child("schedulerName"), spec.SchedulerName, []string{corev1.DefaultSchedulerName}))
	}
	for _, name := range []struct{ path, value string }{{"serviceAccountName", spec.ServiceAccountName}, {"serviceAccount", spec.DeprecatedServiceAccount}} {
		if name.value != "" && name.value != "default" {
			errs = append(errs, field.NotSupported(at.Child(name.path), name.value, []string{"default"}))
		}
	}
	if isTrue(spec.AutomountServiceAccountToken) {
		forbid("automountServiceAccountToken", "service account tokens are not supported by Swell")
	}
	errs = append(errs, refuseNamespaces(spec.Affinity, at.Child("affinity"))...)
	if p := spec.PreemptionPolicy; p != nil {
		errs = append(errs, supported(at.Child("preemptionPolicy"), *p, corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	if spec.OS != nil {
		errs = append(errs, supported(at.Child("os", "name"), spec.OS.Name, corev1.Linux)...)
	}
	if spec.HostUsers != nil && !*spec.HostUsers {
		forbid("hostUsers", "user namespaces are not supported by Swell")
	}
	if isTrue(spec.ShareProcessNamespace) {
		forbid("shareProcessNamespace", "shareProcessNamespace is not supported by Swell")
	}
	return errs
}

func isTrue(b *bool) bool { return b != nil && *b }
