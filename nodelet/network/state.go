package network

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/nodelet"
)

// state is what the whole network remembers.
type state struct {
	Range netip.Prefix `json:"range"`
}

// rangeBits is the size of a range that Swell chooses: 1,021 pods.
const rangeBits = 22

func (n *Network) podDir() string    { return filepath.Join(n.cfg.StateDir, "pods") }
func (n *Network) stateFile() string { return filepath.Join(n.cfg.StateDir, "network.json") }

func (n *Network) load() error {
	if err := readJSON(n.stateFile(), &n.state); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("network: %w", err)
	}
	entries, err := os.ReadDir(n.podDir())
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	for _, e := range entries {
		uid, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue // a write that was interrupted
		}
		var l lease
		err := readJSON(filepath.Join(n.podDir(), e.Name()), &l)
		if err == nil && !n.state.Range.Contains(l.IP) {
			err = fmt.Errorf("%s: address %s isn't in the range %s", e.Name(), l.IP, n.state.Range)
		}
		if err == nil {
			n.pods[uid] = l
			continue
		}
		// Leases aren't synced, so a loss of power may spoil one; it took the namespace along.
		if isNamespace(n.nsPath(uid)) {
			return fmt.Errorf("network: lease of pod %s, which has a namespace: %w", uid, err)
		}
		if err := n.dropLease(uid); err != nil {
			return err
		}
	}
	return nil
}

func (n *Network) saveState() error { return writeJSON(n.stateFile(), n.state, true) }

func (n *Network) saveLease(uid string, l lease) error {
	return writeJSON(filepath.Join(n.podDir(), uid+".json"), l, false)
}

func (n *Network) dropLease(uid string) error {
	if err := os.Remove(filepath.Join(n.podDir(), uid+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// writeJSON replaces a file as a whole. One that says nothing without the kernel's state isn't synced:
// after a loss of power the namespaces and settings that it speaks of are gone too.
func writeJSON(path string, from any, sync bool) error {
	b, err := json.Marshal(from)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	_, err = f.Write(b)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}

// chooseRange settles the range for pods: the one that pods have, the one asked for, or a free one.
func (n *Network) chooseRange() error {
	var asked netip.Prefix
	if n.cfg.CIDR != "" {
		p, err := netip.ParsePrefix(n.cfg.CIDR)
		if err != nil || !p.Addr().Is4() || p.Bits() > 30 {
			return fmt.Errorf("network: range %q: want an IPv4 range of at least four addresses, such as 10.88.0.0/22", n.cfg.CIDR)
		}
		asked = p.Masked()
	}
	switch {
	case n.state.Range.IsValid() && (!asked.IsValid() || asked == n.state.Range):
		return nil
	case n.state.Range.IsValid() && len(n.pods) > 0:
		return fmt.Errorf("network: range %s: %d pods have addresses of %s; remove them first", asked, len(n.pods), n.state.Range)
	case asked.IsValid():
		n.state.Range = asked
	default:
		free, err := freeRange()
		if err != nil {
			return err
		}
		n.state.Range = free
	}
	return n.saveState()
}

// freeRange finds a range in 10.0.0.0/8 that no route and no address of the host touches.
func freeRange() (netip.Prefix, error) {
	var used []netip.Prefix
	routes, err := listRoutes()
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, r := range routes {
		if p, ok := prefixOf(r.Dst); ok && p.Bits() > 0 {
			used = append(used, p)
		}
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	for errors.Is(err, netlink.ErrDumpInterrupted) { // they changed meanwhile
		addrs, err = netlink.AddrList(nil, netlink.FAMILY_V4)
	}
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("network: addresses: %w", err)
	}
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); ok {
			used = append(used, p)
		}
	}
	for second := 88; second < 256; second++ {
		for third := 0; third < 256; third += 1 << (24 - rangeBits) {
			candidate := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(second), byte(third), 0}), rangeBits)
			if !overlaps(candidate, used) {
				return candidate, nil
			}
		}
	}
	return netip.Prefix{}, errors.New("network: no free range in 10.88.0.0 to 10.255.255.255: choose one with --pod-cidr")
}

func overlaps(p netip.Prefix, used []netip.Prefix) bool {
	for _, u := range used {
		if p.Overlaps(u) {
			return true
		}
	}
	return false
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones).Masked(), ok
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}

// freeAddress answers an address that no pod has.
func (n *Network) freeAddress() (netip.Addr, error) {
	used := make(map[netip.Addr]bool, len(n.pods))
	for _, l := range n.pods {
		used[l.IP] = true
	}
	for ip := n.Gateway().Next(); n.state.Range.Contains(ip.Next()); ip = ip.Next() { // the last one is the broadcast address
		if !used[ip] {
			return ip, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("network: all addresses of %s are taken by %d pods: choose a larger range with --pod-cidr", n.state.Range, len(n.pods))
}

// checkPorts refuses a host port that another pod has, or that can't be forwarded.
func (n *Network) checkPorts(uid string, ports []corev1.ContainerPort) error {
	for _, p := range ports {
		if ip, err := netip.ParseAddr(p.HostIP); !anyAddress(p.HostIP) && (err != nil || !ip.Is4()) {
			return fmt.Errorf("network: host port %d: host address %q: only IPv4 is forwarded: %w", p.HostPort, p.HostIP, nodelet.ErrUnsupported)
		}
	}
	for other, l := range n.pods {
		if other == uid {
			continue
		}
		for _, have := range l.Ports {
			for _, want := range ports {
				sameAddress := have.HostIP == want.HostIP || anyAddress(have.HostIP) || anyAddress(want.HostIP)
				if have.HostPort == want.HostPort && have.Protocol == want.Protocol && sameAddress {
					return fmt.Errorf("network: host port %d/%s is taken by pod %s", want.HostPort, want.Protocol, other)
				}
			}
		}
	}
	return nil
}

func anyAddress(ip string) bool { return ip == "" || ip == "0.0.0.0" }
