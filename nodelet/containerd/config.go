package containerd

import (
	"fmt"
	"log/slog"

	"swell.dev/swell/internal/crilog"
	"swell.dev/swell/nodelet"
)

// Config names a containerd and how containers are run by it.
type Config struct {
	Address     string // containerd's socket
	Namespace   string // containerd namespace of all that is made. Default swell
	Snapshotter string // default overlayfs
	Runc        string // path of runc; empty: what containerd's shim finds in PATH
	RuncRoot    string // where runc keeps its records; empty: runc's default
	FIFODir     string // for the streams of exec; empty: containerd's default
	Logger      string // path of swell-logger
	Holder      string // path of swell-hold; empty: nothing can be held
	GateDir     string // folder for the gates of held containers, on a filesystem that programs can run from; needed with Holder
	LogMaxBytes int64  // size at which a container's log is rotated. Default 10 MiB
	LogMaxFiles int    // files kept of it, the current one included. Default 5
	Log         *slog.Logger
}

func (c *Config) validate() error {
	if c.Address == "" {
		return fmt.Errorf("containerd config: address is missing")
	}
	if c.Logger == "" {
		return fmt.Errorf("containerd config: %w: path of swell-logger is missing", nodelet.ErrUnsupported)
	}
	if c.Namespace == "" {
		c.Namespace = "swell"
	}
	if c.Snapshotter == "" {
		c.Snapshotter = "overlayfs"
	}
	if c.LogMaxBytes == 0 {
		c.LogMaxBytes = crilog.DefaultMaxBytes
	}
	if c.LogMaxFiles == 0 {
		c.LogMaxFiles = crilog.DefaultMaxFiles
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return nil
}
