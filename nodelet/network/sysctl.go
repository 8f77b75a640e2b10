package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// setSysctls lets packets through our bridge, and answers back in at the ways out.
func (n *Network) setSysctls() error {
	for _, name := range []string{"forwarding", "route_localnet"} {
		if err := writeSysctl(confPath(n.bridge, name), "1"); err != nil {
			return err
		}
	}
	links, err := n.uplinks()
	if err != nil {
		return err
	}
	return n.withShared(func(dir string) error {
		for _, link := range links {
			if err := n.holdForwarding(dir, link); err != nil {
				return err
			}
		}
		return nil
	})
}

// held is a link whose forwarding we switched on, and for whom. Several instances may run on one host:
// the first that comes records the former value, the last that goes restores it. The records are gone
// after a boot, as the setting is.
type held struct {
	Link    string   `json:"link"`
	Was     string   `json:"was"`
	Holders []string `json:"holders"`
}

// withShared calls f with the folder of records of this network namespace, alone among all instances.
// It leaves no empty folder behind.
func (n *Network) withShared(f func(dir string) error) error {
	var ns unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &ns); err != nil {
		return fmt.Errorf("network: namespace: %w", err)
	}
	lock, err := lockDir(n.cfg.SharedDir)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	defer lock.Close() // which gives the lock back
	dir := filepath.Join(n.cfg.SharedDir, fmt.Sprintf("forwarding-%d", ns.Ino))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	err = f(dir)
	for _, d := range []string{dir, n.cfg.SharedDir} {
		if rerr := os.Remove(d); rerr != nil && !errors.Is(rerr, unix.ENOTEMPTY) {
			err = errors.Join(err, fmt.Errorf("network: %w", rerr))
		}
	}
	return err
}

// lockDir makes a folder and locks it. Whoever had the lock before may have removed the folder.
func lockDir(path string) (*os.File, error) {
	for {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, err
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(mine, there) {
			return f, nil
		}
		f.Close()
	}
}

func (n *Network) holdForwarding(dir, link string) error {
	file, setting := filepath.Join(dir, link+".json"), confPath(link, "forwarding")
	value, err := os.ReadFile(setting)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the link went away meanwhile
	}
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	var h held
	err = readJSON(file, &h)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if h = (held{Link: link, Was: strings.TrimSpace(string(value))}); h.Was == "1" {
			return nil // switched on by somebody else
		}
	case err != nil:
		return fmt.Errorf("network: %w", err)
	}
	if !slices.Contains(h.Holders, n.cfg.Instance) {
		h.Holders = append(h.Holders, n.cfg.Instance)
		if err := writeJSON(file, h, false); err != nil { // before it is changed
			return err
		}
	}
	return writeSysctl(setting, "1")
}

func (n *Network) restoreSysctls() error {
	return n.withShared(func(dir string) error {
		files, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil {
			return fmt.Errorf("network: %w", err)
		}
		var errs []error
		for _, file := range files {
			errs = append(errs, n.releaseForwarding(file))
		}
		return errors.Join(errs...)
	})
}

func (n *Network) releaseForwarding(file string) error {
	var h held
	if err := readJSON(file, &h); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	i := slices.Index(h.Holders, n.cfg.Instance)
	if i < 0 {
		return nil
	}
	if h.Holders = slices.Delete(h.Holders, i, i+1); len(h.Holders) > 0 {
		return writeJSON(file, h, false)
	}
	if err := writeSysctl(confPath(h.Link, "forwarding"), h.Was); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(file); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}

func confPath(link, name string) string {
	return filepath.Join("/proc/sys/net/ipv4/conf", link, name)
}

func writeSysctl(path, value string) error {
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}

// uplinks answers the links other than ours that a route leads to: the ways that pods' packets may take,
// and by which the answers come.
func (n *Network) uplinks() ([]string, error) {
	routes, err := listRoutes()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range routes {
		for _, index := range append(nextHops(r), r.LinkIndex) {
			if index == 0 {
				continue
			}
			link, err := netlink.LinkByIndex(index)
			if errors.As(err, &netlink.LinkNotFoundError{}) {
				continue // it went away meanwhile
			}
			if err != nil {
				return nil, fmt.Errorf("network: link %d: %w", index, err)
			}
			a := link.Attrs()
			if a.Name != n.bridge && a.Flags&unix.IFF_LOOPBACK == 0 && !slices.Contains(out, a.Name) {
				out = append(out, a.Name)
			}
		}
	}
	return out, nil
}

// mtu answers what a packet may have on every default route, so that pods don't send what is too large.
func (n *Network) mtu() (int, error) {
	routes, err := listRoutes()
	if err != nil {
		return 0, err
	}
	least := 0
	for _, r := range routes {
		if p, ok := prefixOf(r.Dst); ok && p.Bits() > 0 {
			continue
		}
		for _, index := range append(nextHops(r), r.LinkIndex) {
			link, err := netlink.LinkByIndex(index)
			if index == 0 || err != nil {
				continue // it went away meanwhile
			}
			if mtu := link.Attrs().MTU; least == 0 || mtu < least {
				least = mtu
			}
		}
	}
	if least == 0 {
		return 1500, nil // Ethernet's
	}
	return least, nil
}

func nextHops(r netlink.Route) []int {
	var out []int
	for _, hop := range r.MultiPath {
		out = append(out, hop.LinkIndex)
	}
	return out
}

// listRoutes answers the IPv4 routes of the main table. The kernel may say that they changed while it
// listed them; then they are listed again.
func listRoutes() ([]netlink.Route, error) {
	for {
		routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("network: routes: %w", err)
		}
		return routes, nil
	}
}
