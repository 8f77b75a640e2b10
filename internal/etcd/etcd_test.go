package etcd_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

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
