package stream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/internal/crilog"
	"swell.dev/swell/nodelet"
)

// logExchange sends a container's log, both of its streams on one channel as Kubernetes does. Following
// ends with the container, whose logger then lets go of the log.
type logExchange struct {
	silent
	d Deps
	r *nodev1.LogRequest
}

func (x *logExchange) run(ctx context.Context, out *sender) (int32, error) {
	c, _, err := x.d.FindContainer(ctx, x.r.PodUid, x.r.Container, x.r.Previous)
	if err != nil {
		return 0, err
	}
	to := channel{out, stdout}
	o := crilog.Options{
		Tail: x.r.TailLines, Follow: x.r.Follow, Timestamps: x.r.Timestamps, LimitBytes: x.r.LimitBytes,
		Stdout: to, Stderr: to,
	}
	if x.r.SinceUnixNano != 0 {
		o.Since = time.Unix(0, x.r.SinceUnixNano)
	}
	err = crilog.Copy(ctx, c.LogPath, o)
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("container %s: log: %w", c.Name, nodelet.ErrNotFound)
	}
	return 0, err
}
