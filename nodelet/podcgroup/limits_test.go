package podcgroup

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/cgroups"
	"swell.dev/swell/nodelet"
)

const mib = 1 << 20

// resources of "request/limit" pairs; empty is not given.
func resources(cpuRequest, cpuLimit, memoryRequest, memoryLimit string) corev1.ResourceRequirements {
	list := func(cpu, memory string) corev1.ResourceList {
		l := corev1.ResourceList{}
		if cpu != "" {
			l[corev1.ResourceCPU] = resource.MustParse(cpu)
		}
		if memory != "" {
			l[corev1.ResourceMemory] = resource.MustParse(memory)
		}
		return l
	}
	return corev1.ResourceRequirements{Requests: list(cpuRequest, memoryRequest), Limits: list(cpuLimit, memoryLimit)}
}

func ptr[T any](v T) *T { return &v }

func TestLimits(t *testing.T) {
	const none = cgroups.Unlimited
	for _, c := range []struct {
		name       string
		containers map[string]corev1.ResourceRequirements
		whole      *corev1.ResourceRequirements
		shared     bool
		a, pod     cgroups.Limits
	}{
		{
			name: "a pod of its own, and a container that has what the pod has", whole: ptr(resources("1", "2", "", "1Gi")), shared: true,
			containers: map[string]corev1.ResourceRequirements{"a": {}, "b": resources("100m", "200m", "", "10Mi")},
			a:          cgroups.Limits{Shares: 2048, Quota: 200_000, Memory: 1024 * mib}, pod: cgroups.Limits{Shares: 1024, Quota: 200_000, Memory: 1024 * mib},
		},
		{
			name: "a container's own within the pod's", whole: ptr(resources("1", "2", "", "1Gi")), shared: true,
			containers: map[string]corev1.ResourceRequirements{"a": resources("100m", "200m", "", "10Mi"), "b": {}},
			a:          cgroups.Limits{Shares: 102, Quota: 20_000, Memory: 10 * mib}, pod: cgroups.Limits{Shares: 1024, Quota: 200_000, Memory: 1024 * mib},
		},
		{
			name: "each resource by itself", whole: ptr(resources("1", "2", "", "1Gi")), shared: true,
			containers: map[string]corev1.ResourceRequirements{"a": resources("100m", "", "", "10Mi")},
			a:          cgroups.Limits{Shares: 102, Quota: 200_000, Memory: 10 * mib}, pod: cgroups.Limits{Shares: 1024, Quota: 200_000, Memory: 1024 * mib},
		},
		{
			name: "what init containers make of a pod isn't theirs to share", whole: ptr(resources("1", "2", "", "1Gi")),
			containers: map[string]corev1.ResourceRequirements{"a": resources("100m", "", "", "")},
			a:          cgroups.Limits{Shares: 102, Quota: none, Memory: none}, pod: cgroups.Limits{Shares: 1024, Quota: 200_000, Memory: 1024 * mib},
		},
		{
			name: "one", containers: map[string]corev1.ResourceRequirements{"a": resources("250m", "500m", "32Mi", "64Mi")},
			a: cgroups.Limits{Shares: 256, Quota: 50_000, Memory: 64 * mib}, pod: cgroups.Limits{Shares: 256, Quota: 50_000, Memory: 64 * mib},
		},
		{
			name: "nothing given", containers: map[string]corev1.ResourceRequirements{"a": {}},
			a: cgroups.Limits{Shares: 2, Quota: none, Memory: none}, pod: cgroups.Limits{Shares: 2, Quota: none, Memory: none},
		},
		{
			name: "the limit counts as the request", containers: map[string]corev1.ResourceRequirements{"a": resources("", "2", "", "")},
			a: cgroups.Limits{Shares: 2048, Quota: 200_000, Memory: none}, pod: cgroups.Limits{Shares: 2048, Quota: 200_000, Memory: none},
		},
		{
			name: "a request of zero is one", containers: map[string]corev1.ResourceRequirements{"a": resources("0", "2", "", "")},
			a: cgroups.Limits{Shares: 2, Quota: 200_000, Memory: none}, pod: cgroups.Limits{Shares: 2, Quota: 200_000, Memory: none},
		},
		{
			name: "a pod is the sum", containers: map[string]corev1.ResourceRequirements{
				"a": resources("100m", "200m", "", "10Mi"), "b": resources("1", "1500m", "", "20Mi"),
			},
			a: cgroups.Limits{Shares: 102, Quota: 20_000, Memory: 10 * mib}, pod: cgroups.Limits{Shares: 1126, Quota: 170_000, Memory: 30 * mib},
		},
		{
			name: "one without limits leaves the pod without", containers: map[string]corev1.ResourceRequirements{
				"a": resources("100m", "200m", "", "10Mi"), "b": resources("100m", "", "", ""),
			},
			a: cgroups.Limits{Shares: 102, Quota: 20_000, Memory: 10 * mib}, pod: cgroups.Limits{Shares: 204, Quota: none, Memory: none},
		},
		{
			name: "limits of zero are none", containers: map[string]corev1.ResourceRequirements{"a": resources("", "0", "", "0")},
			a: cgroups.Limits{Shares: 2, Quota: none, Memory: none}, pod: cgroups.Limits{Shares: 2, Quota: none, Memory: none},
		},
		{
			name: "the kernel's least quota counts for each", containers: map[string]corev1.ResourceRequirements{
				"a": resources("", "1m", "", ""), "b": resources("", "1m", "", ""), "c": resources("", "1m", "", ""),
			},
			a: cgroups.Limits{Shares: 2, Quota: 1000, Memory: none}, pod: cgroups.Limits{Shares: 3, Quota: 3000, Memory: none},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			size := nodelet.PodSize{Pod: c.whole, Shared: c.shared, Containers: c.containers}
			if got := limitsOf(size, "a"); got != c.a {
				t.Errorf("container: %+v, want %+v", got, c.a)
			}
			if got := podLimits(size); got != c.pod {
				t.Errorf("pod: %+v, want %+v", got, c.pod)
			}
		})
	}
}

func TestResourcesOf(t *testing.T) {
	for _, r := range []corev1.ResourceRequirements{
		resources("250m", "500m", "", "64Mi"), resources("1", "", "", ""), resources("1500m", "1500m", "", "1Gi"), resources("0", "10m", "", ""),
	} {
		got := resourcesOf(limits(r))
		for name, want := range map[string][2]*resource.Quantity{
			"request": {r.Requests.Cpu(), got.Requests.Cpu()}, "limit": {r.Limits.Cpu(), got.Limits.Cpu()}, "memory": {r.Limits.Memory(), got.Limits.Memory()},
		} {
			if want[0].Cmp(*want[1]) != 0 {
				t.Errorf("%s: %s came back as %s", name, want[0], want[1])
			}
		}
	}
}
