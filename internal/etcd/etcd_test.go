package etcd_test

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"swell.dev/swell/internal/etcd"
)

func start(t *testing.T, cfg etcd.Config) *etcd.Server {
	t.Helper()
	s, err := etcd.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestRestartKeepsData(t *testing.T) {
	dir := t.TempDir()
	s := start(t, etcd.Config{Dir: dir})
	if _, err := s.Client().Put(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.Close() // idempotent
	began := time.Now()
	s = start(t, etcd.Config{Dir: dir})
	t.Logf("start on old data: %v", time.Since(began))
	got, err := s.Client().Get(t.Context(), "k")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "v" {
		t.Fatalf("after a restart: %v, %v", got, err)
	}
}

func TestLeaseIsKeptAlive(t *testing.T) {
	c := start(t, etcd.Config{Dir: t.TempDir()}).Client()
	lease, err := c.Grant(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	alive, err := c.KeepAlive(t.Context(), lease.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := <-alive; !ok {
		t.Fatal("the lease wasn't kept alive")
	}
	if _, err := c.Revoke(t.Context(), lease.ID); err != nil {
		t.Fatal(err)
	}
	for range alive { //nolint:revive // until it is closed
	}
}

func TestSecondServerOnOneDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	start(t, etcd.Config{Dir: dir})
	_, err := etcd.Start(t.Context(), etcd.Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Fatalf("got %v", err)
	}
}

func TestFullDiskIsRefused(t *testing.T) {
	_, err := etcd.Start(t.Context(), etcd.Config{Dir: t.TempDir(), MinFreeBytes: 1 << 62})
	if err == nil || !strings.Contains(err.Error(), "make room") {
		t.Fatalf("got %v", err)
	}
}

func TestSocketServesEtcdctl(t *testing.T) {
	dir := t.TempDir()
	sock := filepath.Join(dir, "s")
	start(t, etcd.Config{Dir: dir, Socket: sock})
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + sock}, DialTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := c.Put(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
}

// TestConnect connects over TLS to an etcd of another owner, and to none with another certificate.
func TestConnect(t *testing.T) {
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	cfg.LogLevel, cfg.LogOutputs = "error", []string{filepath.Join(cfg.Dir, "log")}
	any := url.URL{Scheme: "https", Host: "127.0.0.1:0"}
	cfg.ListenPeerUrls = nil
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls, cfg.ClientAutoTLS = []url.URL{any}, []url.URL{any}, true
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	<-e.Server.ReadyNotify()
	external := etcd.External{
		Endpoints: []string{"https://" + e.Clients[0].Addr().String()},
		CAFile:    filepath.Join(cfg.Dir, "fixtures", "client", "cert.pem"),
	}
	c, err := etcd.Connect(t.Context(), external)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Put(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	external.CAFile, external.Timeout = "", 300*time.Millisecond
	if c, err := etcd.Connect(t.Context(), external); err == nil {
		c.Close()
		t.Error("a certificate that nobody vouches for was trusted")
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]etcd.Config{
		"no directory":    {},
		"compaction":      {Dir: t.TempDir(), Compaction: "never"},
		"retention":       {Dir: t.TempDir(), Retention: "long"},
		"long socket":     {Dir: t.TempDir(), Socket: "/" + strings.Repeat("x", 200)},
		"not a directory": {Dir: "/dev/null/x"},
	} {
		if s, err := etcd.Start(t.Context(), cfg); err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		}
	}
	for name, cfg := range map[string]etcd.External{
		"no endpoint": {},
		"no TLS":      {Endpoints: []string{"http://127.0.0.1:1"}},
		"half a pair": {Endpoints: []string{"https://127.0.0.1:1"}, CertFile: "x"},
		"nobody home": {Endpoints: []string{"https://127.0.0.1:1"}, Timeout: 100 * time.Millisecond},
	} {
		if c, err := etcd.Connect(t.Context(), cfg); err == nil {
			c.Close()
			t.Errorf("%s: no error", name)
		}
	}
}
