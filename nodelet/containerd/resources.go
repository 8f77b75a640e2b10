package containerd

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"
)

// Kubernetes' figures for a container's cgroup (kubelet, cm/helpers_linux.go).
const (
	minShares = 2
	maxShares = 262144
	period    = 100_000 // µs
	minQuota  = 1_000   // µs
)

// limits writes the cgroup values that resources stand for. The CPU limit counts as the request where
// that is not given. Where the host counts swap, a container with a memory limit gets none, as with a
// kubelet.
func limits(r corev1.ResourceRequirements, swapCounted bool) (*specs.LinuxCPU, *specs.LinuxMemory) {
	request, ok := r.Requests[corev1.ResourceCPU]
	limit, limited := r.Limits[corev1.ResourceCPU]
	if !ok {
		request = limit
	}
	shares := uint64(min(max(request.MilliValue()*1024/1000, minShares), maxShares))
	cpu := &specs.LinuxCPU{Shares: &shares}
	if limited && limit.MilliValue() > 0 {
		quota, p := max(limit.MilliValue()*period/1000, minQuota), uint64(period)
		cpu.Quota, cpu.Period = &quota, &p
	}
	var memory *specs.LinuxMemory
	if m, ok := r.Limits[corev1.ResourceMemory]; ok && m.Value() > 0 {
		bytes := m.Value()
		memory = &specs.LinuxMemory{Limit: &bytes}
		if swapCounted {
			memory.Swap = &bytes // memory and swap together
		}
	}
	return cpu, memory
}
