package etcd

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	"go.etcd.io/etcd/server/v3/embed"
)

// inner is the configuration in etcd's own terms.
func (c *Config) inner(log *logger) (*embed.Config, error) {
	out := embed.NewConfig()
	out.Name = "swell"
	out.Dir = c.Dir
	out.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log.zap)

	// A single member talks to no peer. It needs a name for itself; nothing listens there.
	self := url.URL{Scheme: "http", Host: "127.0.0.1:2380"}
	out.ListenPeerUrls, out.AdvertisePeerUrls = nil, []url.URL{self}
	out.InitialCluster = out.InitialClusterFromName(out.Name)
	out.ListenClientUrls, out.AdvertiseClientUrls = nil, nil
	if c.Socket != "" {
		if err := os.Remove(c.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a process that was killed
			return nil, fmt.Errorf("socket: %w", err)
		}
		u := url.URL{Scheme: "unix", Path: c.Socket}
		out.ListenClientUrls, out.AdvertiseClientUrls = []url.URL{u}, []url.URL{u}
	}
	out.EnableGRPCGateway = false

	// There is no network between members, so the member may elect itself at once after a start.
	out.TickMs, out.ElectionMs = 20, 100

	// The entries of the raft log are large, since a transaction has many writes, and are in memory as long
	// as a follower may want them; here is none. What came after the last snapshot is read again at a start.
	out.SnapshotCatchUpEntries = 64
	out.SnapshotCount = 500

	out.QuotaBackendBytes = c.QuotaBytes
	out.MaxTxnOps = MaxTxnOps
	out.MaxRequestBytes = MaxRequestBytes
	out.AutoCompactionMode, out.AutoCompactionRetention = c.Compaction, c.Retention
	return out, nil
}
