package nodelet

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Config is everything that a nodelet works with.
type Config struct {
	NodeName string
	HostIP   string
	DataDir  string // records of pods are kept in DataDir/pods.log, their files in DataDir/pods
	LogDir   string // container logs; empty: DataDir/logs

	Runtime Runtime
	Images  Images
	Network Network
	Volumes Volumes
	Cgroups Cgroups
	Journal Journal
	Bursts  Bursts // nil: pods never have more than their size

	Logger         *slog.Logger  // nil: slog.Default
	ClusterDomain  string        // of a pod's fully qualified name; empty: cluster.local
	ClusterDNS     []string      // servers for dnsPolicy ClusterFirst; empty: the host's
	MemoryCapacity int64         // bytes of the host, for oom_score_adj and resourceFieldRef; 0: asked of the kernel
	NoHistory      bool          // gather no histograms of what containers use
	MemoryWindow   time.Duration // in which a container's memory has one peak in its histogram; 0: a day
	CPUCapacity    int64         // milli-CPU of the host, for resourceFieldRef; 0: the number of CPUs
}

// validate fills defaults and names what is missing.
func (c *Config) validate() error {
	var missing []error
	need := func(ok bool, what string) {
		if !ok {
			missing = append(missing, fmt.Errorf("nodelet config: %s is required", what))
		}
	}
	need(c.NodeName != "", "NodeName")
	need(c.HostIP != "", "HostIP")
	need(c.DataDir != "", "DataDir")
	need(c.Runtime != nil, "Runtime")
	need(c.Images != nil, "Images")
	need(c.Network != nil, "Network")
	need(c.Volumes != nil, "Volumes")
	need(c.Cgroups != nil, "Cgroups")
	need(c.Journal != nil, "Journal")
	if err := errors.Join(missing...); err != nil {
		return err
	}
	if c.LogDir == "" {
		c.LogDir = filepath.Join(c.DataDir, "logs")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.ClusterDomain == "" {
		c.ClusterDomain = "cluster.local"
	}
	if c.MemoryWindow <= 0 {
		c.MemoryWindow = defaultMemoryWindow
	}
	if c.CPUCapacity == 0 {
		c.CPUCapacity = int64(runtime.NumCPU()) * 1000
	}
	if c.MemoryCapacity == 0 {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			return fmt.Errorf("nodelet config: memory capacity: %w", err)
		}
		c.MemoryCapacity = int64(info.Totalram) * int64(info.Unit)
	}
	return nil
}
