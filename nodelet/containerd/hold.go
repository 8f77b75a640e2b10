package containerd

import (
	"context"
	"fmt"
	"time"

	"swell.dev/swell/nodelet"
)

// Hold implements nodelet.Runtime.
func (r *Runtime) Hold(_ context.Context, c nodelet.Container) error {
	return fmt.Errorf("container %s: hold: %w", c.ID, nodelet.ErrUnsupported)
}

// Release implements nodelet.Runtime.
func (r *Runtime) Release(_ context.Context, c nodelet.Container) (int, time.Time, error) {
	return 0, time.Time{}, fmt.Errorf("container %s: %w", c.ID, nodelet.ErrNotFound)
}
