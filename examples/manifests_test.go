// Package examples holds manifests to begin with. This test keeps them valid.
package examples

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

// objects decodes a manifest strictly: no field is unknown or given twice.
func objects(t *testing.T, path string) []runtime.Object {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{Yaml: true, Strict: true})
	var out []runtime.Object
	for documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(data))); ; {
		buffer := make([]byte, len(data)+1)
		n, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		obj, _, err := strict.Decode(buffer[:n], nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out = append(out, obj)
	}
}

func TestManifests(t *testing.T) {
	paths, err := filepath.Glob("*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal("no manifests", err)
	}
	for _, path := range paths {
		t.Run(path, func(t *testing.T) {
			pods := 0
			maps := map[string]bool{}
			for _, obj := range objects(t, path) {
				switch obj := obj.(type) {
				case *corev1.ConfigMap:
					maps[obj.Name] = true
				case *corev1.Pod:
					pods++
					checkPod(t, obj, maps)
				default:
					t.Errorf("%T is not an object for an example", obj)
				}
			}
			if pods != 1 {
				t.Errorf("%d pods, want one", pods)
			}
		})
	}
}

// checkPod holds what the examples promise: a size that can change at once, and no loose ends.
func checkPod(t *testing.T, pod *corev1.Pod, maps map[string]bool) {
	t.Helper()
	volumes := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil && !maps[v.ConfigMap.Name] {
			t.Errorf("volume %s: config map %s is not made before the pod", v.Name, v.ConfigMap.Name)
		}
	}
	for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			request, limit := c.Resources.Requests[name], c.Resources.Limits[name]
			if request.IsZero() || request.Cmp(limit) != 0 {
				t.Errorf("container %s: %s request %s, limit %s: want the same", c.Name, name, &request, &limit)
			}
		}
		for _, p := range c.ResizePolicy {
			if p.RestartPolicy != corev1.NotRequired {
				t.Errorf("container %s: resize of %s restarts it", c.Name, p.ResourceName)
			}
		}
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("container %s: mounts %s, which is no volume", c.Name, m.Name)
			}
		}
	}
}
