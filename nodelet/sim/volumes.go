package sim

import (
	"context"
	"maps"
	"slices"
	"sync"

	"swell.dev/swell/nodelet"
)

var _ nodelet.Volumes = (*Volumes)(nil)

// Volumes names a path for each volume and makes nothing. Its zero value is empty.
type Volumes struct {
	Silent bool // no container of the host writes a log

	mu   sync.Mutex // guards pods
	pods map[string]bool
}

// Prepare implements nodelet.Volumes.
func (v *Volumes) Prepare(_ context.Context, a nodelet.Assignment, _ string) (map[string]string, error) {
	spec := &a.Pod.Spec
	out := make(map[string]string, len(spec.Volumes))
	for i := range spec.Volumes {
		out[spec.Volumes[i].Name] = "/sim/volumes/" + string(a.Pod.UID) + "/" + spec.Volumes[i].Name
	}
	if len(out) == 0 {
		return out, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pods == nil {
		v.pods = map[string]bool{}
	}
	v.pods[string(a.Pod.UID)] = true
	return out, nil
}

// WriteFile writes nothing: no container will read it.
func (v *Volumes) WriteFile(string, []byte, uint32) error { return nil }

// Logs tells of containers that may write a log.
func (v *Volumes) Logs() bool { return !v.Silent }

// Usage implements nodelet.Volumes.
func (v *Volumes) Usage(context.Context, string) ([]string, error) { return nil, nil }

// Remove implements nodelet.Volumes.
func (v *Volumes) Remove(_ context.Context, podUID string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.pods, podUID)
	return nil
}

// List implements nodelet.Volumes.
func (v *Volumes) List(context.Context) ([]string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Collect(maps.Keys(v.pods)), nil
}
