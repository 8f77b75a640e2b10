package apiserver

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/controlplane"
)

func (s *Server) configMaps() *resource {
	return &resource{
		gvk: core("ConfigMap"), plural: "configmaps", singular: "configmap", short: []string{"cm"},
		namespaced: true, verbs: allVerbs, serve: s.serveStored, table: configMapTable,
		rules: &rules{
			new:     func() controlplane.Object { return &corev1.ConfigMap{} },
			newList: func() runtime.Object { return &corev1.ConfigMapList{} },
			prepare: func(controlplane.Object) {},
			validate: func(o controlplane.Object) field.ErrorList {
				return append(validateMeta(o, validation.NameIsDNSSubdomain), validateConfigMap(o.(*corev1.ConfigMap))...)
			},
			validateUpdate: validateConfigMapUpdate,
		},
	}
}

func validateMeta(o controlplane.Object, name validation.ValidateNameFunc) field.ErrorList {
	return validation.ValidateObjectMetaAccessor(o, o.GetNamespace() != "", name, field.NewPath("metadata"))
}

func validateConfigMap(cm *corev1.ConfigMap) field.ErrorList {
	var errs field.ErrorList
	size := 0
	check := func(path *field.Path, key string, n int) {
		for _, msg := range utilvalidation.IsConfigMapKey(key) {
			errs = append(errs, field.Invalid(path.Key(key), key, msg))
		}
		size += n
	}
	for k, v := range cm.Data {
		check(field.NewPath("data"), k, len(v))
		if _, twice := cm.BinaryData[k]; twice {
			errs = append(errs, field.Invalid(field.NewPath("data").Key(k), k, "duplicate of key present in binaryData"))
		}
	}
	for k, v := range cm.BinaryData {
		check(field.NewPath("binaryData"), k, len(v))
	}
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(field.NewPath(""), "", corev1.MaxSecretSize))
	}
	return errs
}

func validateConfigMapUpdate(nextObj, oldObj controlplane.Object) field.ErrorList {
	next, old := nextObj.(*corev1.ConfigMap), oldObj.(*corev1.ConfigMap)
	errs := append(validateMetaUpdate(next, old), validateConfigMap(next)...)
	if !isTrue(old.Immutable) {
		return errs
	}
	frozen := func(name string, same bool) {
		if !same {
			errs = append(errs, field.Forbidden(field.NewPath(name), "field is immutable when `immutable` is set"))
		}
	}
	frozen("immutable", isTrue(next.Immutable))
	frozen("data", equality.Semantic.DeepEqual(next.Data, old.Data))
	frozen("binaryData", equality.Semantic.DeepEqual(next.BinaryData, old.BinaryData))
	return errs
}

func isTrue(b *bool) bool { return b != nil && *b }
