package apiserver

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/controlplane"
)

func (s *Server) secrets() *resource {
	return &resource{
		gvk: core("Secret"), plural: "secrets", singular: "secret",
		namespaced: true, verbs: allVerbs, serve: s.serveStored, table: secretTable,
		rules: &rules{
			new:     func() controlplane.Object { return &corev1.Secret{} },
			newList: func() runtime.Object { return &corev1.SecretList{} },
			fields: func(o controlplane.Object) fields.Set {
				return fields.Set{"type": string(o.(*corev1.Secret).Type)}
			},
			prepare:       func(o controlplane.Object) { prepareSecret(o.(*corev1.Secret)) },
			prepareUpdate: func(next, _ controlplane.Object) { prepareSecret(next.(*corev1.Secret)) },
			validate: func(o controlplane.Object) field.ErrorList {
				return append(validateMeta(o, validation.NameIsDNSSubdomain), validateSecret(o.(*corev1.Secret))...)
			},
			validateUpdate: validateSecretUpdate,
		},
	}
}

// prepareSecret writes the text form into the data, where it belongs, and defaults the type.
func prepareSecret(secret *corev1.Secret) {
	if len(secret.StringData) > 0 && secret.Data == nil {
		secret.Data = make(map[string][]byte, len(secret.StringData))
	}
	for k, v := range secret.StringData {
		secret.Data[k] = []byte(v)
	}
	secret.StringData = nil
	if secret.Type == "" {
		secret.Type = corev1.SecretTypeOpaque
	}
}

// secretKeys are the keys that Kubernetes requires of its own types. Of basic-auth one is enough.
var secretKeys = map[corev1.SecretType][]string{
	corev1.SecretTypeDockercfg:        {corev1.DockerConfigKey},
	corev1.SecretTypeDockerConfigJson: {corev1.DockerConfigJsonKey},
	corev1.SecretTypeSSHAuth:          {corev1.SSHAuthPrivateKey},
	corev1.SecretTypeTLS:              {corev1.TLSCertKey, corev1.TLSPrivateKeyKey},
}

func validateSecret(secret *corev1.Secret) field.ErrorList {
	var errs field.ErrorList
	data := field.NewPath("data")
	size := 0
	for k, v := range secret.Data {
		for _, msg := range utilvalidation.IsConfigMapKey(k) {
			errs = append(errs, field.Invalid(data.Key(k), k, msg))
		}
		size += len(v)
	}
	if size > corev1.MaxSecretSize {
		errs = append(errs, field.TooLong(data, "", corev1.MaxSecretSize))
	}
	for _, k := range secretKeys[secret.Type] {
		v, ok := secret.Data[k]
		if !ok {
			errs = append(errs, field.Required(data.Key(k), ""))
			continue
		}
		if (secret.Type == corev1.SecretTypeDockercfg || secret.Type == corev1.SecretTypeDockerConfigJson) && !json.Valid(v) {
			errs = append(errs, field.Invalid(data.Key(k), "<secret contents redacted>", "must be JSON"))
		}
	}
	if secret.Type == corev1.SecretTypeBasicAuth {
		_, user := secret.Data[corev1.BasicAuthUsernameKey]
		_, password := secret.Data[corev1.BasicAuthPasswordKey]
		if !user && !password {
			errs = append(errs, field.Required(data.Key(corev1.BasicAuthUsernameKey), ""), field.Required(data.Key(corev1.BasicAuthPasswordKey), ""))
		}
	}
	return errs
}

func validateSecretUpdate(nextObj, oldObj controlplane.Object) field.ErrorList {
	next, old := nextObj.(*corev1.Secret), oldObj.(*corev1.Secret)
	errs := append(validateMetaUpdate(next, old), validateSecret(next)...)
	errs = append(errs, validation.ValidateImmutableField(next.Type, old.Type, field.NewPath("type"))...)
	if isTrue(old.Immutable) {
		if !isTrue(next.Immutable) {
			errs = append(errs, field.Forbidden(field.NewPath("immutable"), "field is immutable when `immutable` is set"))
		}
		if !equality.Semantic.DeepEqual(next.Data, old.Data) {
			errs = append(errs, field.Forbidden(field.NewPath("data"), "field is immutable when `immutable` is set"))
		}
	}
	return errs
}
