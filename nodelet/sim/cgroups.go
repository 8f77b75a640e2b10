package sim

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/nodelet"
)

var _ nodelet.Cgroups = (*Cgroups)(nil)

// Cgroups holds the limits that it is told, as a kernel would. Its zero value is empty.
type Cgroups struct {
	mu   sync.Mutex // guards pods
	pods map[string]map[string]corev1.ResourceRequirements
}

// EnsurePod implements nodelet.Cgroups.
func (c *Cgroups) EnsurePod(podUID string, size nodelet.PodSize) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pods == nil {
		c.pods = map[string]map[string]corev1.ResourceRequirements{}
	}
	held := maps.Clone(size.Containers)
	if size.Shared {
		held[v1alpha1.WholePod] = *size.Pod
	}
	c.pods[podUID] = held
	return nil
}

// ContainerPath implements nodelet.Cgroups.
func (c *Cgroups) ContainerPath(podUID, container string) string {
	return "/sim/pod" + podUID + "/" + container
}

// Unified implements nodelet.Cgroups.
func (c *Cgroups) Unified(nodelet.PodSize, string) map[string]string {
	return nil
}

// Resize implements nodelet.Cgroups.
func (c *Cgroups) Resize(_ context.Context, podUID string, size nodelet.PodSize) (nodelet.Actual, error) {
	if err := c.EnsurePod(podUID, size); err != nil {
		return nil, err
	}
	return c.Read(podUID, slices.Collect(maps.Keys(size.Containers)))
}

// Read implements nodelet.Cgroups.
func (c *Cgroups) Read(podUID string, containers []string) (nodelet.Actual, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(nodelet.Actual, len(containers))
	for _, name := range slices.Concat(containers, []string{v1alpha1.WholePod}) {
		if res, ok := c.pods[podUID][name]; ok {
			out[name] = res
		}
	}
	return out, nil
}

// Usage implements nodelet.Cgroups: a simulated process uses nothing.
func (c *Cgroups) Usage(podUID string, containers []string) (map[string]nodelet.Usage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]nodelet.Usage{}
	for _, name := range containers {
		if _, ok := c.pods[podUID][name]; ok {
			out[name] = nodelet.Usage{MeasuredAt: time.Now()}
		}
	}
	return out, nil
}

// RemovePod implements nodelet.Cgroups.
func (c *Cgroups) RemovePod(podUID string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pods, podUID)
	return nil
}

// List implements nodelet.Cgroups.
func (c *Cgroups) List() ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.pods)), nil
}
