// Package postgres runs a PostgreSQL of its own: for tests and benchmarks, in a folder of its own, durable as it is
// by default. What it runs is Debian's package, unpacked by make/debian or installed on the host.
package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// Server is a running PostgreSQL. One goroutine uses it.
type Server struct {
	bin, dir string
	env      []string
	port     int
	process  *exec.Cmd
	log      *os.File
}

// Start makes a database cluster and runs it, on a free port of the loopback and a Unix socket. root is the folder
// that has .cache.
func Start(ctx context.Context, root string) (_ *Server, err error) {
	s := &Server{}
	if s.bin, s.env, err = find(root); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "swell-postgres-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	if s.log, err = os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	var said bytes.Buffer
	initdb := s.command("initdb", "--pgdata", s.data(), "--username", "swell", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	initdb.Stdout, initdb.Stderr = &said, &said
	if err := initdb.Run(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, said.Bytes())
	}
	if s.port, err = freePort(ctx); err != nil {
		return nil, err
	}
	return s, s.run(ctx)
}

// find answers where the programs are, and what has to be in their environment.
func find(root string) (bin string, env []string, err error) {
	unpacked, err := filepath.Abs(filepath.Join(root, ".cache/debian/postgresql"))
	if err != nil {
		return "", nil, err
	}
	for _, prefix := range []string{unpacked, "/"} {
		found, err := filepath.Glob(filepath.Join(prefix, "usr/lib/postgresql/*/bin/postgres"))
		if err != nil {
			return "", nil, err
		}
		if len(found) == 0 {
			continue
		}
		newest := slices.MaxFunc(found, func(a, b string) int { return major(a) - major(b) })
		if prefix != "/" {
			libraries, err := filepath.Glob(filepath.Join(prefix, "usr/lib/*-linux-gnu"))
			if err != nil {
				return "", nil, err
			}
			env = append(env, "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
		}
		return filepath.Dir(newest), env, nil
	}
	return "", nil, fmt.Errorf("no PostgreSQL in %s or /usr/lib/postgresql: run make test-deps, or install Debian's package postgresql: %w", unpacked, fs.ErrNotExist)
}

// major is the version in /usr/lib/postgresql/15/bin/postgres.
func major(program string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(program)))) // 0 is less than any
	return n
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir, cmd.Env = s.dir, append([]string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}, s.env...)
	// It ends at once with whoever started it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() == 0 {
		// PostgreSQL refuses to run as root. In a user namespace root is somebody else, and still the owner of folders
		// that are root's alone.
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}}
	}
	return cmd
}

// freePort answers a port that nobody listens on: of PostgreSQL's own choice it can't be told.
func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// run starts the server and waits until it answers.
func (s *Server) run(ctx context.Context) error {
	s.process = s.command("postgres", "-D", s.data(), "-p", strconv.Itoa(s.port), "-k", s.dir, "-c", "listen_addresses=127.0.0.1", "-c", "logging_collector=off")
	s.process.Stdout, s.process.Stderr = s.log, s.log
	if err := s.process.Start(); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("postgres doesn't answer: %w: %w\n%s", context.Cause(ctx), err, s.Log())
		}
		if exited(s.process.Process.Pid) {
			return fmt.Errorf("postgres has ended: %w\n%s", err, s.Log())
		}
	}
}

// exited reports whether a child has ended, and leaves it to be waited for.
func exited(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err != nil || info.Signo != 0
}

// URL is how a database of it is reached, over TCP.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://swell@127.0.0.1:%d/%s?sslmode=disable", s.port, url.PathEscape(database))
}

// CreateDatabase makes an empty database and answers its URL.
func (s *Server) CreateDatabase(ctx context.Context, name string) (string, error) {
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return "", err
	}
	if _, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		err = fmt.Errorf("database %s: %w", name, err)
	}
	return s.URL(name), errors.Join(err, conn.Close(ctx))
}

// Log is what it has said.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Restart stops it at once, as a crash does, and starts it again on the same port and data.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Kill(); err != nil {
		return err
	}
	return s.run(ctx)
}

// Kill is PostgreSQL's immediate shutdown: nothing is finished, and the next start, by Restart, recovers.
func (s *Server) Kill() error {
	if s.process == nil {
		return nil
	}
	if err := s.process.Process.Signal(syscall.SIGQUIT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	var exit *exec.ExitError
	if err := s.process.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	s.process = nil
	return nil
}

// Stop ends it and removes its folder.
func (s *Server) Stop() error {
	err := s.Kill()
	if s.log != nil {
		err = errors.Join(err, s.log.Close())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
