package etcd_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"swell.dev/swell/internal/etcd"
)

// TestFullDiskLosesNothing lets etcd run into a disk without room, past the guard: it must say so instead
// of ending the process, and what it answered before must be there once there is room.
func TestFullDiskLosesNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts a small tmpfs")
	}
	dir := t.TempDir()
	mount := func() error { return syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=160m") }
	if err := mount(); errors.Is(err, syscall.EPERM) {
		t.Skip("needs CAP_SYS_ADMIN: mounts a small tmpfs")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil { // etcd, stopped in the middle, holds files
			t.Error(err)
		}
	})
	data := filepath.Join(dir, "etcd")
	s := start(t, etcd.Config{Dir: data, MinFreeBytes: 1 << 20})
	if err := s.Writable(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client().Put(t.Context(), "answered", "before"); err != nil {
		t.Fatal(err)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	// etcd takes room meanwhile, for its next segment: then less than this fits.
	if err := os.WriteFile(ballast, make([]byte, st.Bavail*uint64(st.Bsize)), 0o600); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := s.Writable(); err == nil || !strings.Contains(err.Error(), "make room") {
		t.Errorf("the guard let it pass: %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var answered atomic.Int64
	go func() {
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := s.Client().Put(ctx, "filler", strings.Repeat("x", 1<<20)); err != nil {
				return
			}
			answered.Add(1)
		}
	}()
	select {
	case <-s.Failed():
		t.Logf("after %d MiB: %v", answered.Load(), s.Err())
		if err := s.Err(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "make room") {
			t.Errorf("it doesn't say what to do: %v", err)
		}
	case <-ctx.Done():
		t.Fatal("etcd wrote on a full disk")
	}
	cancel()
	s.Close()

	// Another process would find the files as they are now. This one can't use them twice, so it takes a copy.
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	again := t.TempDir()
	if err := os.CopyFS(filepath.Join(again, "etcd"), os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	s = start(t, etcd.Config{Dir: filepath.Join(again, "etcd")})
	got, err := s.Client().Get(t.Context(), "answered")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "before" {
		t.Errorf("after there is room again: %v, %v", got, err)
	}
}
