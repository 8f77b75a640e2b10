package role

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// down removes what a nodelet made on this host. Segments that are open end here.
func down(ctx context.Context, dir *dataDir, cfg *nodeletConfig, log *slog.Logger) error {
	if _, err := os.Stat(dir.join("nodelet")); errors.Is(err, os.ErrNotExist) {
		return nil // no nodelet has run on it
	}
	if err := cfg.complete(); err != nil {
		return err
	}
	h, err := openHost(ctx, dir, cfg, log)
	if err != nil {
		return fmt.Errorf("down: %w", err)
	}
	var errs []error
	containers, err := h.runtime.List(ctx)
	errs = append(errs, err)
	for _, c := range containers {
		errs = append(errs, h.runtime.Remove(ctx, c.ID))
	}
	for _, s := range h.journal.Open() {
		errs = append(errs, h.journal.Stop(s.PodUID, time.Time{}))
	}
	volumes, err := h.volumes.List(ctx)
	errs = append(errs, err)
	for _, uid := range volumes {
		errs = append(errs, h.volumes.Remove(ctx, uid))
	}
	errs = append(errs, h.network.RemoveAll(ctx), h.cgroups.RemoveAll())
	if h.child != nil {
		errs = append(errs, h.child.Stop(ctx))
		h.child = nil
	}
	errs = append(errs, h.close(), os.RemoveAll(dir.join("nodelet", "pods")), os.RemoveAll(runDir(dir)))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("down: %w; what couldn't be removed is tried again by the next `swell down --data-dir %s`", err, filepath.Clean(dir.path))
	}
	return nil
}
