package etcd

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// What one transaction and one request may hold. They are far above etcd's defaults (128 operations,
// 1.5 MiB), so that a batch needs not be cut small; see MaxTxnOps in etcd's configuration.
const (
	MaxTxnOps       = 1024
	MaxRequestBytes = 8 << 20
)

// How etcd drops old revisions.
const (
	CompactPeriodic = "periodic" // Retention is a duration: 5m
	CompactRevision = "revision" // Retention is a number of revisions: 10000
)

// Config says how the embedded etcd runs. Zero values are filled.
type Config struct {
	Dir     string // where the data is; made if need be, for this user alone
	LogFile string // etcd's own log, rotated; default Dir/etcd.log
	Socket  string // a unix socket for etcdctl; empty: none. Its directory must be closed to others

	QuotaBytes   int64  // the database grows no further; default 8 GiB
	Compaction   string // CompactPeriodic (default) or CompactRevision
	Retention    string // default 5m, or 10000 revisions
	MinFreeBytes uint64 // of the disk; below it Writable refuses; default 256 MiB

	StartTimeout time.Duration // default 1 min
}

// maxSocketPath is sizeof(sockaddr_un.sun_path) less its NUL.
const maxSocketPath = 107

func (c *Config) validate() error {
	if c.Dir == "" {
		return errors.New("etcd: Dir is required")
	}
	if len(c.Socket) > maxSocketPath {
		return fmt.Errorf("etcd: socket %s: the path is longer than %d bytes: choose a shorter data directory", c.Socket, maxSocketPath)
	}
	if c.Compaction == "" {
		c.Compaction = CompactPeriodic
	}
	switch c.Compaction {
	case CompactPeriodic:
		if c.Retention == "" {
			c.Retention = "5m"
		}
		if _, err := time.ParseDuration(c.Retention); err != nil {
			return fmt.Errorf("etcd: retention %q: %w", c.Retention, err)
		}
	case CompactRevision:
		if c.Retention == "" {
			c.Retention = "10000"
		}
	default:
		return fmt.Errorf("etcd: compaction %q: want %s or %s", c.Compaction, CompactPeriodic, CompactRevision)
	}
	if c.LogFile == "" {
		c.LogFile = filepath.Join(c.Dir, "etcd.log")
	}
	if c.QuotaBytes == 0 {
		c.QuotaBytes = 8 << 30
	}
	if c.MinFreeBytes == 0 {
		c.MinFreeBytes = 256 << 20
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = time.Minute
	}
	return nil
}
