package volume

import (
	"errors"
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/nodelet"
)

// file is one file of a volume that we write.
type file struct {
	data []byte
	mode int32
}

// files are by their path in the volume.
type files map[string]file

func (f files) add(path string, data []byte, mode int32) error {
	if !filepath.IsLocal(path) {
		return fmt.Errorf("path %q: must stay in the volume", path)
	}
	f[filepath.Clean(path)] = file{data, mode}
	return nil
}

func modeOr(mode *int32, otherwise int32) int32 {
	if mode != nil {
		return *mode
	}
	return otherwise
}

// payload computes the volume's files.
func (m *Manager) payload(a nodelet.Assignment, v *corev1.Volume) (files, error) {
	out := make(files)
	switch {
	case v.ConfigMap != nil:
		s := v.ConfigMap
		return out, out.configMap(a, s.Name, s.Items, modeOr(s.DefaultMode, 0o644), isTrue(s.Optional))
	case v.Secret != nil:
		s := v.Secret
		return out, out.secret(a, s.SecretName, s.Items, modeOr(s.DefaultMode, 0o644), isTrue(s.Optional))
	case v.DownwardAPI != nil:
		return out, m.downward(out, a, v.DownwardAPI.Items, modeOr(v.DownwardAPI.DefaultMode, 0o644))
	case v.Projected != nil:
		mode := modeOr(v.Projected.DefaultMode, 0o644)
		var problems []error
		for i := range v.Projected.Sources {
			var err error
			switch s := &v.Projected.Sources[i]; {
			case s.ConfigMap != nil:
				err = out.configMap(a, s.ConfigMap.Name, s.ConfigMap.Items, mode, isTrue(s.ConfigMap.Optional))
			case s.Secret != nil:
				err = out.secret(a, s.Secret.Name, s.Secret.Items, mode, isTrue(s.Secret.Optional))
			case s.DownwardAPI != nil:
				err = m.downward(out, a, s.DownwardAPI.Items, mode)
			default:
				err = fmt.Errorf("projected source %d: %w", i, nodelet.ErrUnsupported)
			}
			problems = append(problems, err)
		}
		return out, errors.Join(problems...)
	}
	return nil, fmt.Errorf("volume source: %w", nodelet.ErrUnsupported)
}

func (f files) configMap(a nodelet.Assignment, name string, items []corev1.KeyToPath, mode int32, optional bool) error {
	cm := a.ConfigMaps[name]
	if cm == nil {
		if optional {
			return nil
		}
		return fmt.Errorf("configmap %q not found", name)
	}
	data := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for k, v := range cm.Data {
		data[k] = []byte(v)
	}
	for k, v := range cm.BinaryData {
		data[k] = v
	}
	return f.keys(data, items, mode, optional, "configmap references non-existent config key: %s")
}

func (f files) secret(a nodelet.Assignment, name string, items []corev1.KeyToPath, mode int32, optional bool) error {
	secret := a.Secrets[name]
	if secret == nil {
		if optional {
			return nil
		}
		return fmt.Errorf("secret %q not found", name)
	}
	return f.keys(secret.Data, items, mode, optional, "references non-existent secret key: %s")
}

// keys adds all of data, or, where items are named, those under their paths.
func (f files) keys(data map[string][]byte, items []corev1.KeyToPath, mode int32, optional bool, missing string) error {
	if items == nil {
		for k, v := range data {
			if err := f.add(k, v, mode); err != nil {
				return err
			}
		}
		return nil
	}
	for _, item := range items {
		v, ok := data[item.Key]
		if !ok {
			if optional {
				continue
			}
			return fmt.Errorf(missing, item.Key)
		}
		if err := f.add(item.Path, v, modeOr(item.Mode, mode)); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) downward(f files, a nodelet.Assignment, items []corev1.DownwardAPIVolumeFile, mode int32) error {
	for i := range items {
		value, err := m.downwardValue(a, &items[i])
		if err != nil {
			return err
		}
		if err := f.add(items[i].Path, []byte(value), modeOr(items[i].Mode, mode)); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) downwardValue(a nodelet.Assignment, item *corev1.DownwardAPIVolumeFile) (string, error) {
	switch {
	case item.FieldRef != nil:
		return nodelet.PodField(a.Pod, item.FieldRef.FieldPath)
	case item.ResourceFieldRef != nil:
		name := item.ResourceFieldRef.ContainerName
		allocated, err := v1alpha1.Allocated(a.Pod)
		if err != nil {
			return "", err
		}
		if _, ok := allocated[name]; !ok || name == v1alpha1.WholePod {
			return "", fmt.Errorf("container %s not found", name)
		}
		return nodelet.ContainerResource(allocated.Of(name), item.ResourceFieldRef, m.cfg.CPUCapacity, m.cfg.MemoryCapacity)
	}
	return "", fmt.Errorf("downward API file %q: names no field", item.Path)
}

func isTrue(b *bool) bool { return b != nil && *b }
