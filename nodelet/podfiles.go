package nodelet

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	corev1 "k8s.io/api/core/v1"
)

// resolvers remembers what hostResolver read, for as long as the files are the same.
var resolvers struct {
	mu     sync.Mutex // guards what follows
	of     *resolver
	source [2]unix.Stat_t
	seen   time.Time // when the files were looked at
}

// resolverAge is how old what was seen of the files may be.
const resolverAge = time.Second

// resolverFiles are where a host's resolver is configured. The first may name a stub on loopback that can't
// be reached from a pod, so that the servers behind it are taken from the second.
var resolverFiles = [2]string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// hostResolver answers the host's configuration, which the caller must not change.
func hostResolver() (*resolver, error) {
	resolvers.mu.Lock()
	defer resolvers.mu.Unlock()
	now := time.Now()
	if resolvers.of != nil && now.Sub(resolvers.seen).Abs() < resolverAge {
		return resolvers.of, nil
	}
	var source [2]unix.Stat_t
	for i, path := range resolverFiles {
		if err := unix.Stat(path, &source[i]); err == nil {
			source[i].Atim = unix.Timespec{}
		}
	}
	if resolvers.of != nil && resolvers.source == source {
		resolvers.seen = now
		return resolvers.of, nil
	}
	r, err := readHostResolver()
	if err != nil {
		return nil, err
	}
	resolvers.of, resolvers.source, resolvers.seen = r, source, now
	return r, nil
}

func readHostResolver() (*resolver, error) {
	for _, path := range resolverFiles {
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("resolver configuration: %w", err)
		}
		r := parseResolver(raw)
		r.servers = slices.DeleteFunc(r.servers, func(s string) bool {
			addr, err := netip.ParseAddr(s)
			return err == nil && addr.IsLoopback()
		})
		if len(r.servers) > 0 {
			return r, nil
		}
	}
	return &resolver{}, nil
}

// filer is a Volumes of a host that has the files which are bound into every container elsewhere than in the
// pods' folders: hosts, hostname, resolver and termination message.
type filer interface {
	WriteFile(path string, content []byte, mode uint32) error
	// Logs reports whether a container may write a log.
	Logs() bool
}

// writeHostFiles writes the files that a pod's containers share into its folder, which it makes, and says
// whether that is new. They are bound into running containers, so they are written in place and only where
// they differ.
func writeHostFiles(dir string, pod *corev1.Pod, ip string, cfg *Config) (made bool, err error) {
	host, err := hostResolver()
	if err != nil {
		return false, err
	}
	name, err := utsHostname(pod, cfg.ClusterDomain)
	if err != nil {
		return false, err
	}
	write := writeFile
	f, elsewhere := cfg.Volumes.(filer)
	if elsewhere {
		write = f.WriteFile
	} else if made, err = makeFolder(dir, 0o700); err != nil {
		return made, err
	}
	for _, file := range [...]struct {
		name    string
		content []byte
	}{
		{fileHosts, hostsFile(pod, ip, cfg.ClusterDomain)},
		{fileHostname, []byte(name + "\n")},
		{fileResolv, podResolver(pod, host, cfg.ClusterDNS, cfg.ClusterDomain).bytes()},
	} {
		path := dir + "/" + file.name
		if !made && !elsewhere {
			if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, file.content) {
				continue
			}
		}
		if err := write(path, file.content, 0o644); err != nil {
			return made, err
		}
	}
	return made, nil
}

// makeFolder makes a folder and says whether it wasn't there.
func makeFolder(dir string, mode uint32) (made bool, err error) {
	switch err := unix.Mkdir(dir, mode); {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EEXIST):
		return false, nil
	case !errors.Is(err, unix.ENOENT):
		return false, fmt.Errorf("folder %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, os.FileMode(mode)); err != nil {
		return false, err
	}
	return true, nil
}

// writeFile does what os.WriteFile does with the calls that it takes and no others: a host writes several of
// these for each pod.
func writeFile(path string, content []byte, mode uint32) error {
	fd, err := openFile(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, mode)
	if err != nil {
		return err
	}
	for len(content) > 0 && err == nil {
		var n int
		if n, err = unix.Write(fd, content); errors.Is(err, unix.EINTR) {
			n, err = 0, nil
		}
		content = content[max(n, 0):]
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return fmt.Errorf("pod file %s: %w", filepath.Base(path), err)
	}
	return nil
}

func openFile(path string, flags int, mode uint32) (fd int, err error) {
	for {
		if fd, err = unix.Open(path, flags|unix.O_CLOEXEC, mode); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return -1, fmt.Errorf("pod file %s: %w", filepath.Base(path), err)
	}
	return fd, nil
}
