package admission

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateVolumes(list []corev1.Volume, at *field.Path) (names sets.Set[string], errs field.ErrorList) {
	names = sets.New[string]()
	for i := range list {
		v, at := &list[i], at.Index(i)
		switch {
		case v.Name == "":
			errs = append(errs, field.Required(at.Child("name"), ""))
		case names.Has(v.Name):
			errs = append(errs, field.Duplicate(at.Child("name"), v.Name))
		default:
			errs = append(errs, invalid(at.Child("name"), v.Name, validation.IsDNS1123Label(v.Name))...)
		}
		names.Insert(v.Name)
		errs = append(errs, validateSource(v, at)...)
	}
	return names, errs
}

func validateSource(v *corev1.Volume, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	n := 0
	if s := v.EmptyDir; s != nil {
		n++
		if s.Medium != corev1.StorageMediumDefault && s.Medium != corev1.StorageMediumMemory {
			errs = append(errs, field.NotSupported(at.Child("emptyDir", "medium"), s.Medium, []corev1.StorageMedium{corev1.StorageMediumDefault, corev1.StorageMediumMemory}))
		}
		if s.SizeLimit != nil && s.SizeLimit.Sign() < 0 {
			errs = append(errs, field.Forbidden(at.Child("emptyDir", "sizeLimit"), "SizeLimit field must be a valid resource quantity"))
		}
	}
	if s := v.ConfigMap; s != nil {
		n++
		errs = append(errs, named(s.Name, at.Child("configMap", "name"))...)
		errs = append(errs, validateFiles(s.DefaultMode, s.Items, at.Child("configMap"))...)
	}
	if s := v.Secret; s != nil {
		n++
		errs = append(errs, named(s.SecretName, at.Child("secret", "secretName"))...)
		errs = append(errs, validateFiles(s.DefaultMode, s.Items, at.Child("secret"))...)
	}
	if s := v.DownwardAPI; s != nil {
		n++
		errs = append(errs, mode(s.DefaultMode, at.Child("downwardAPI", "defaultMode"))...)
		errs = append(errs, validateDownward(s.Items, at.Child("downwardAPI", "items"))...)
	}
	if s := v.Projected; s != nil {
		n++
		at := at.Child("projected")
		errs = append(errs, mode(s.DefaultMode, at.Child("defaultMode"))...)
		taken := sets.New[string]()
		once := func(file string) {
			if file = path.Clean(file); taken.Has(file) {
				errs = append(errs, field.Invalid(at, file, "conflicting duplicate paths"))
			}
			taken.Insert(file)
		}
		for i := range s.Sources {
			p, at := &s.Sources[i], at.Child("sources").Index(i)
			kinds := 0
			for _, set := range []bool{p.ConfigMap != nil, p.Secret != nil, p.DownwardAPI != nil,
				p.ServiceAccountToken != nil, p.ClusterTrustBundle != nil, p.PodCertificate != nil} {
				if set {
					kinds++
				}
			}
			switch {
			case kinds == 0:
				errs = append(errs, field.Required(at, "must specify a source"))
			case kinds > 1:
				errs = append(errs, field.Forbidden(at, "may not specify more than 1 source"))
			}
			if p.ConfigMap != nil {
				errs = append(errs, named(p.ConfigMap.Name, at.Child("configMap", "name"))...)
				errs = append(errs, validateFiles(nil, p.ConfigMap.Items, at.Child("configMap"))...)
				for _, item := range p.ConfigMap.Items {
					once(item.Path)
				}
			}
			if p.Secret != nil {
				errs = append(errs, named(p.Secret.Name, at.Child("secret", "name"))...)
				errs = append(errs, validateFiles(nil, p.Secret.Items, at.Child("secret"))...)
				for _, item := range p.Secret.Items {
					once(item.Path)
				}
			}
			if p.DownwardAPI != nil {
				errs = append(errs, validateDownward(p.DownwardAPI.Items, at.Child("downwardAPI", "items"))...)
				for _, item := range p.DownwardAPI.Items {
					once(item.Path)
				}
			}
		}
	}
	if n > 1 {
		errs = append(errs, field.Forbidden(at, "may not specify more than 1 volume type"))
	}
	return errs
}

func named(name string, at *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	return nil
}

// filePath is a file's place in a volume. Names that begin with two dots are the nodelet's own there.
func filePath(p string, at *field.Path) field.ErrorList {
	errs := localPath(p, at)
	if len(errs) == 0 && strings.HasPrefix(p, "..") {
		errs = append(errs, field.Invalid(at, p, "must not start with '..'"))
	}
	return errs
}

func mode(m *int32, at *field.Path) field.ErrorList {
	if m != nil && (*m < 0 || *m > 0o777) {
		return field.ErrorList{field.Invalid(at, *m, "must be a number between 0 and 0777 (octal), both inclusive")}
	}
	return nil
}

func validateFiles(defaultMode *int32, items []corev1.KeyToPath, at *field.Path) field.ErrorList {
	errs := mode(defaultMode, at.Child("defaultMode"))
	for i := range items {
		at := at.Child("items").Index(i)
		errs = append(errs, named(items[i].Key, at.Child("key"))...)
		errs = append(errs, named(items[i].Path, at.Child("path"))...)
		errs = append(errs, filePath(items[i].Path, at.Child("path"))...)
		errs = append(errs, mode(items[i].Mode, at.Child("mode"))...)
	}
	return errs
}

func validateDownward(items []corev1.DownwardAPIVolumeFile, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range items {
		f, at := &items[i], at.Index(i)
		errs = append(errs, named(f.Path, at.Child("path"))...)
		errs = append(errs, filePath(f.Path, at.Child("path"))...)
		errs = append(errs, mode(f.Mode, at.Child("mode"))...)
		switch {
		case f.FieldRef != nil && f.ResourceFieldRef != nil:
			errs = append(errs, field.Invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
		case f.FieldRef != nil:
			errs = append(errs, validateFieldRef(f.FieldRef, volumeFields, at.Child("fieldRef"))...)
		case f.ResourceFieldRef != nil:
			errs = append(errs, validateResourceRef(f.ResourceFieldRef, true, at.Child("resourceFieldRef"))...)
		default:
			errs = append(errs, field.Required(at, "one of fieldRef and resourceFieldRef is required"))
		}
	}
	return errs
}
