package nodelet

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// PodField answers a field of the downward API that is known from the pod alone: metadata.name,
// metadata.namespace, metadata.uid, metadata.labels, metadata.annotations, one of the latter two by key,
// spec.nodeName and spec.serviceAccountName.
func PodField(pod *corev1.Pod, path string) (string, error) {
	if base, key, ok := subscript(path); ok {
		switch base {
		case "metadata.labels":
			return pod.Labels[key], nil
		case "metadata.annotations":
			return pod.Annotations[key], nil
		}
		return "", fmt.Errorf("field path %q: does not support subscript", path)
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "metadata.labels":
		return formatMap(pod.Labels), nil
	case "metadata.annotations":
		return formatMap(pod.Annotations), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return cmp.Or(pod.Spec.ServiceAccountName, "default"), nil // as Kubernetes' admission has it
	}
	return "", fmt.Errorf("field path %q: unsupported fieldPath", path)
}

// subscript splits metadata.labels['key'].
func subscript(path string) (base, key string, ok bool) {
	base, rest, found := strings.Cut(path, "['")
	if !found {
		return "", "", false
	}
	key, found = strings.CutSuffix(rest, "']")
	return base, key, found
}

// formatMap writes key="value" lines, sorted, as the downward API does.
func formatMap(m map[string]string) string {
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, fmt.Sprintf("%s=%q", k, m[k]))
	}
	return strings.Join(lines, "\n")
}

// ContainerResource answers a resourceFieldRef: a request or limit in whole divisors, rounded up. A limit
// that isn't set is the host's capacity.
func ContainerResource(res corev1.ResourceRequirements, ref *corev1.ResourceFieldSelector, cpuCapacityMilli, memoryCapacity int64) (string, error) {
	kind, name, ok := strings.Cut(ref.Resource, ".")
	if !ok {
		return "", fmt.Errorf("resource %q: unsupported container resource", ref.Resource)
	}
	var list corev1.ResourceList
	switch kind {
	case "limits":
		list = res.Limits
	case "requests":
		list = res.Requests
	default:
		return "", fmt.Errorf("resource %q: unsupported container resource", ref.Resource)
	}
	quantity := list[corev1.ResourceName(name)]
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	switch corev1.ResourceName(name) {
	case corev1.ResourceCPU:
		milli := quantity.MilliValue()
		if milli == 0 && kind == "limits" {
			milli = cpuCapacityMilli
		}
		return strconv.FormatInt(ceilDiv(milli, divisor.MilliValue()), 10), nil
	case corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		value := quantity.Value()
		if value == 0 && kind == "limits" && name == string(corev1.ResourceMemory) {
			value = memoryCapacity
		}
		return strconv.FormatInt(ceilDiv(value, divisor.Value()), 10), nil
	}
	return "", fmt.Errorf("resource %q: unsupported container resource", ref.Resource)
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// Expand replaces $(NAME) by what lookup answers; $$ stands for $, and a name that is not found stays as
// it is written.
func Expand(s string, lookup func(name string) (string, bool)) string {
	if !strings.Contains(s, "$") {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		switch s[i+1] {
		case '$':
			out.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(s[i+2:], ')')
			if end < 0 {
				out.WriteString(s[i : i+2])
				i++
				continue
			}
			name := s[i+2 : i+2+end]
			if v, ok := lookup(name); ok {
				out.WriteString(v)
			} else {
				out.WriteString(s[i : i+3+end])
			}
			i += 2 + end
		default:
			out.WriteByte('$')
		}
	}
	return out.String()
}

// configVersion changes when whatever the files in the pod's volumes are made from does. It is empty for
// a pod without such volumes.
func (m *machine) configVersion() string {
	if !hasConfigVolume(m.a.Pod) {
		return ""
	}
	return configHash(m.a)
}

// configHash stands for the pod's config maps, secrets, labels, annotations and sizes.
func configHash(a Assignment) string {
	b := make([]byte, 0, 256)
	for _, name := range sortedKeys(a.ConfigMaps) {
		b = strconv.AppendQuote(strconv.AppendQuote(append(b, 'c'), name), a.ConfigMaps[name].ResourceVersion)
	}
	for _, name := range sortedKeys(a.Secrets) {
		b = strconv.AppendQuote(strconv.AppendQuote(append(b, 's'), name), a.Secrets[name].ResourceVersion)
	}
	for _, m := range [...]map[string]string{a.Pod.Labels, a.Pod.Annotations} {
		for _, key := range sortedKeys(m) {
			b = strconv.AppendQuote(strconv.AppendQuote(b, key), m[key])
		}
		b = append(b, '.')
	}
	h := fnv.New64a()
	h.Write(strconv.AppendInt(b, a.Pod.Generation, 10))
	return strconv.FormatUint(h.Sum64(), 16)
}

// sortedKeys is for maps that are mostly empty, and asked for at each step of a pod.
func sortedKeys[V any](m map[string]V) []string {
	if len(m) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(m))
}

func hasConfigVolume(pod *corev1.Pod) bool {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.ConfigMap != nil || v.Secret != nil || v.Projected != nil || v.DownwardAPI != nil {
			return true
		}
	}
	return false
}
