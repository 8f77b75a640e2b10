package network

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
)

// setSysctls lets packets through our bridge, and answers back in at the way out.
func (n *Network) setSysctls() error {
	for _, name := range []string{"forwarding", "route_localnet"} {
		if err := writeSysctl(confPath(n.bridge, name), "1"); err != nil {
			return err
		}
	}
	uplink, err := defaultInterface()
	if err != nil || uplink == "" {
		return err // a host without a way out
	}
	path := confPath(uplink, "forwarding")
	was, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if value := strings.TrimSpace(string(was)); value != "1" {
		if n.state.Sysctls == nil {
			n.state.Sysctls = map[string]string{}
		}
		n.state.Sysctls[path] = value
		if err := n.saveState(); err != nil { // before it is changed
			return err
		}
		return writeSysctl(path, "1")
	}
	return nil
}

func (n *Network) restoreSysctls() error {
	var errs []error
	for path, value := range n.state.Sysctls {
		if err := writeSysctl(path, value); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	n.state.Sysctls = nil
	return errors.Join(errs...)
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

// defaultInterface answers the interface of the default route, empty if there is none.
func defaultInterface() (string, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return "", fmt.Errorf("network: routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil || r.Dst.IP.IsUnspecified() {
			link, err := netlink.LinkByIndex(r.LinkIndex)
			if err != nil {
				return "", fmt.Errorf("network: default route: %w", err)
			}
			return link.Attrs().Name, nil
		}
	}
	return "", nil
}
