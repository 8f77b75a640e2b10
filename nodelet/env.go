package nodelet

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"swell.dev/swell/api/v1alpha1"
)

// environment is what a container's variables are resolved from.
type environment struct {
	a                           Assignment
	resources                   corev1.ResourceRequirements // of the container itself
	allocated                   v1alpha1.Sizes
	hostIP, podIP               string
	cpuCapacity, memoryCapacity int64
}

// vars is an ordered set of variables.
type vars struct {
	names  []string
	values map[string]string
}

func (v *vars) set(name, value string) {
	if _, ok := v.values[name]; !ok {
		v.names = append(v.names, name)
	}
	v.values[name] = value
}

func (v *vars) lookup(name string) (string, bool) {
	value, ok := v.values[name]
	return value, ok
}

func (v *vars) list() []string {
	out := make([]string, 0, len(v.names))
	for _, name := range v.names {
		out = append(out, name+"="+v.values[name])
	}
	return out
}

// resolve computes the container's variables. Its errors read as a kubelet's.
func (e *environment) resolve(c *corev1.Container) (*vars, error) {
	out := &vars{values: make(map[string]string)}
	for i := range c.EnvFrom {
		data, err := e.source(&c.EnvFrom[i])
		if err != nil {
			return nil, err
		}
		for _, key := range slices.Sorted(maps.Keys(data)) {
			if name := c.EnvFrom[i].Prefix + key; len(validation.IsRelaxedEnvVarName(name)) == 0 {
				out.set(name, data[key])
			}
		}
	}
	for i := range c.Env {
		v := &c.Env[i]
		if v.ValueFrom == nil {
			out.set(v.Name, Expand(v.Value, out.lookup))
			continue
		}
		value, ok, err := e.valueFrom(v.ValueFrom)
		if err != nil {
			return nil, err
		}
		if ok {
			out.set(v.Name, value)
		}
	}
	return out, nil
}

func (e *environment) source(from *corev1.EnvFromSource) (map[string]string, error) {
	switch {
	case from.ConfigMapRef != nil:
		cm := e.a.ConfigMaps[from.ConfigMapRef.Name]
		if cm == nil {
			if isTrue(from.ConfigMapRef.Optional) {
				return nil, nil
			}
			return nil, fmt.Errorf("configmap %q not found", from.ConfigMapRef.Name)
		}
		return cm.Data, nil
	case from.SecretRef != nil:
		secret := e.a.Secrets[from.SecretRef.Name]
		if secret == nil {
			if isTrue(from.SecretRef.Optional) {
				return nil, nil
			}
			return nil, fmt.Errorf("secret %q not found", from.SecretRef.Name)
		}
		data := make(map[string]string, len(secret.Data))
		for k, v := range secret.Data {
			data[k] = string(v)
		}
		return data, nil
	}
	return nil, nil
}

func (e *environment) valueFrom(from *corev1.EnvVarSource) (value string, ok bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = e.field(from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		res := e.resources
		if name := from.ResourceFieldRef.ContainerName; name != "" {
			if _, ok = e.allocated[name]; !ok {
				return "", false, fmt.Errorf("container %s not found", name)
			}
			res = e.allocated.Of(name)
		}
		value, err = ContainerResource(res, from.ResourceFieldRef, e.cpuCapacity, e.memoryCapacity)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		cm := e.a.ConfigMaps[ref.Name]
		if cm == nil {
			if isTrue(ref.Optional) {
				return "", false, nil
			}
			return "", false, fmt.Errorf("configmap %q not found", ref.Name)
		}
		if value, ok = cm.Data[ref.Key]; !ok && !isTrue(ref.Optional) {
			return "", false, fmt.Errorf("couldn't find key %v in ConfigMap %v/%v", ref.Key, e.a.Pod.Namespace, ref.Name)
		}
		return value, ok, nil
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		secret := e.a.Secrets[ref.Name]
		if secret == nil {
			if isTrue(ref.Optional) {
				return "", false, nil
			}
			return "", false, fmt.Errorf("secret %q not found", ref.Name)
		}
		raw, ok := secret.Data[ref.Key]
		if !ok && !isTrue(ref.Optional) {
			return "", false, fmt.Errorf("couldn't find key %v in Secret %v/%v", ref.Key, e.a.Pod.Namespace, ref.Name)
		}
		return string(raw), ok, nil
	}
	return "", false, fmt.Errorf("environment variable: source is not supported")
}

// field resolves what depends on the host and the pod's network on top of PodField.
func (e *environment) field(path string) (string, error) {
	switch path {
	case "status.hostIP", "status.hostIPs":
		return e.hostIP, nil
	case "status.podIP", "status.podIPs":
		return e.podIP, nil
	}
	return PodField(e.a.Pod, path)
}

func isTrue(b *bool) bool { return b != nil && *b }
