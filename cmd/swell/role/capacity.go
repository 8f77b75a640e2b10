package role

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// defaultMaxPods is the kubelet's.
const defaultMaxPods = 110

// hostCapacity is what the host has: its CPUs, its memory, room for pods.
func hostCapacity() (corev1.ResourceList, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return nil, fmt.Errorf("host memory: %w", err)
	}
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(int64(runtime.NumCPU()), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(int64(info.Totalram)*int64(info.Unit), resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(defaultMaxPods, resource.DecimalSI),
	}, nil
}

// parseCapacity reads cpu=8,memory=16Gi,pods=200 over the host's own capacity.
func parseCapacity(flag string, host corev1.ResourceList) (corev1.ResourceList, error) {
	out := host.DeepCopy()
	known := []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourcePods}
	for part := range strings.SplitSeq(flag, ",") {
		if part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if !ok || !slices.Contains(known, corev1.ResourceName(name)) {
			return nil, fmt.Errorf("--capacity: %q: want cpu=N, memory=SIZE or pods=N, for example cpu=8,memory=16Gi", part)
		}
		q, err := resource.ParseQuantity(value)
		if err != nil || q.Sign() <= 0 {
			return nil, fmt.Errorf("--capacity: %s: %q is not a positive quantity, such as 8, 500m or 16Gi", name, value)
		}
		out[corev1.ResourceName(name)] = q
	}
	return out, nil
}
