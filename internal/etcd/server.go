package etcd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// Server is the embedded etcd.
type Server struct {
	cfg    Config
	lock   *os.File
	log    *logger
	etcd   *embed.Etcd
	client *clientv3.Client
	close  sync.Once
}

// Start starts etcd and returns when it serves. The caller closes it.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, explain(cfg.Dir, err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, lock: lock, log: newLogger(cfg.LogFile)}
	if err := s.start(ctx); err != nil {
		s.Close()
		return nil, explain(cfg.Dir, err)
	}
	return s, nil
}

func (s *Server) start(ctx context.Context) error {
	if err := s.Writable(); err != nil {
		return err
	}
	inner, err := s.cfg.inner(s.log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StartTimeout)
	defer cancel()
	type started struct {
		etcd *embed.Etcd
		err  error
	}
	done := make(chan started, 1)
	go func() {
		e, err := embed.StartEtcd(inner)
		done <- started{e, err}
	}()
	select {
	case got := <-done:
		if got.err != nil {
			return got.err
		}
		s.etcd = got.etcd
	case <-s.log.failed:
		return s.log.err // StartEtcd never returns
	}
	select {
	case <-s.etcd.Server.ReadyNotify():
	case err := <-s.etcd.Err():
		return err
	case <-s.log.failed:
		return s.log.err
	case <-ctx.Done():
		return fmt.Errorf("not ready: %w", context.Cause(ctx))
	}
	s.client = v3client.New(s.etcd.Server)
	return nil
}

// Client is a client in this process. It ends with the server.
func (s *Server) Client() *clientv3.Client { return s.client }

// Failed is closed when etcd can't go on, for example because the disk is full. What was committed is
// safe; the process has to end, because etcd has stopped in the middle of its work. Err tells why.
func (s *Server) Failed() <-chan struct{} { return s.log.failed }

// Err is nil until Failed is closed.
func (s *Server) Err() error {
	select {
	case <-s.log.failed:
		return explain(s.cfg.Dir, s.log.err)
	default:
		return nil
	}
}

// Writable answers an error that says what to do while the disk is nearly full. Asked before each write,
// it keeps etcd from running into a disk without room, where it could only die.
func (s *Server) Writable() error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.cfg.Dir, &st); err != nil {
		return fmt.Errorf("etcd: %s: %w", s.cfg.Dir, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < s.cfg.MinFreeBytes {
		return fmt.Errorf("etcd: the disk of %s has %d MiB free, less than the %d MiB that must stay: make room there",
			s.cfg.Dir, free>>20, s.cfg.MinFreeBytes>>20)
	}
	return nil
}

// closeFailed is how long a Close waits for an etcd that has failed.
const closeFailed = time.Second

// Close stops etcd and waits for it. It is idempotent.
func (s *Server) Close() error {
	s.close.Do(func() {
		if s.client != nil {
			s.client.Close()
		}
		if s.etcd != nil {
			done := make(chan struct{})
			go func() {
				s.etcd.Close()
				close(done)
			}()
			select {
			case <-done:
			case <-s.log.failed:
				select {
				case <-done:
				case <-time.After(closeFailed):
				}
			}
		}
		s.log.close()
		s.lock.Close() // gives the lock back
	})
	return nil
}

// explain adds what to do about it.
func explain(dir string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("etcd: the disk of %s is full: make room there: %w", dir, err)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("etcd: %s can't be written: choose another data directory or its owner: %w", dir, err)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("etcd: another process listens there: stop it or choose another address: %w", err)
	}
	return fmt.Errorf("etcd: %w", err)
}
