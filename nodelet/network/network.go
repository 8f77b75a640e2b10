package network

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/nodelet"
)

// Config of a host's pod network.
type Config struct {
	Instance string // distinguishes what this Swell made; at most 10 characters
	StateDir string // durable
	RunDir   string // where namespaces are mounted; gone after a boot
	CIDR     string // IPv4 range for pods; empty: the one used before, or a free one
}

// Network implements nodelet.Network.
type Network struct {
	cfg    Config
	bridge string
	table  string

	mu    sync.Mutex // guards what follows, and the host's side
	state state
	pods  map[string]lease // by UID
}

// lease is what a pod was given.
type lease struct {
	IP    netip.Addr             `json:"ip"`
	Ports []corev1.ContainerPort `json:"ports,omitempty"` // those with a host port
}

// New prepares the bridge and the table.
func New(cfg Config) (*Network, error) {
	if cfg.Instance == "" || len(cfg.Instance) > 10 || cfg.StateDir == "" || cfg.RunDir == "" {
		return nil, errors.New("network: an instance of at most 10 characters, a state and a run directory are required")
	}
	n := &Network{cfg: cfg, bridge: "sw" + cfg.Instance, table: "swell-" + cfg.Instance, pods: map[string]lease{}}
	for _, dir := range []string{n.podDir(), cfg.RunDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("network: %w", err)
		}
	}
	if err := n.load(); err != nil {
		return nil, err
	}
	if err := n.chooseRange(); err != nil {
		return nil, err
	}
	if err := n.setUpBridge(); err != nil {
		return nil, err
	}
	return n, n.syncTable()
}

// Gateway is the bridge's address: the pods' way out.
func (n *Network) Gateway() netip.Addr { return n.state.Range.Addr().Next() }

func (n *Network) setUpBridge() error {
	link, err := netlink.LinkByName(n.bridge)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = n.bridge
		if err = netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err == nil {
			link, err = netlink.LinkByName(n.bridge)
		}
	}
	if err != nil {
		return n.explain("bridge "+n.bridge, err)
	}
	addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(n.Gateway(), n.state.Range.Bits()))}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return n.explain("bridge "+n.bridge, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return n.explain("bridge "+n.bridge, err)
	}
	return n.setSysctls()
}

// explain names the capability that a host lacks.
func (n *Network) explain(what string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("network: %s: root (CAP_NET_ADMIN) is required: %w: %w", what, nodelet.ErrUnsupported, err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("network: %s: the kernel needs bridge, veth and nf_tables (nft_nat, nft_masq): %w: %w", what, nodelet.ErrUnsupported, err)
	}
	return fmt.Errorf("network: %s: %w", what, err)
}

// Attach makes a pod's namespace, or answers the one that is there. See nodelet.Network.
func (n *Network) Attach(_ context.Context, p nodelet.PodNetwork) (nodelet.Attachment, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	path := n.nsPath(p.PodUID)
	l, known := n.pods[p.PodUID]
	if known && isNamespace(path) && n.whole(p.PodUID, path, l) {
		return nodelet.Attachment{NetNS: path, IP: l.IP.String()}, nil
	}
	if !known {
		ip, err := n.freeAddress()
		if err != nil {
			return nodelet.Attachment{}, err
		}
		l = lease{IP: ip}
		for _, port := range p.Ports {
			if port.HostPort != 0 {
				l.Ports = append(l.Ports, port)
			}
		}
		if err := n.checkPorts(p.PodUID, l.Ports); err != nil {
			return nodelet.Attachment{}, err
		}
		if err := n.saveLease(p.PodUID, l); err != nil {
			return nodelet.Attachment{}, err
		}
		n.pods[p.PodUID] = l
	}
	if err := n.build(p.PodUID, path, l); err != nil {
		return nodelet.Attachment{}, errors.Join(err, n.detach(p.PodUID))
	}
	if len(l.Ports) > 0 {
		if err := n.syncTable(); err != nil {
			return nodelet.Attachment{}, errors.Join(err, n.detach(p.PodUID))
		}
	}
	return nodelet.Attachment{NetNS: path, IP: l.IP.String()}, nil
}

// whole reports whether a namespace has its address, which is the last thing that build gives it but for
// the route.
func (n *Network) whole(uid, path string, l lease) bool {
	if _, err := netlink.LinkByName(vethName(uid)); err != nil {
		return false
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return false
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return false
	}
	defer h.Close()
	routes, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Gw: n.Gateway().AsSlice()}, netlink.RT_FILTER_GW)
	return err == nil && len(routes) == 1
}

// build makes the namespace and what is in it, from whatever an interrupted attempt has left.
func (n *Network) build(uid, path string, l lease) error {
	if err := removeLink(vethName(uid)); err != nil {
		return n.explain("pod "+uid, err)
	}
	if !isNamespace(path) {
		if err := newNamespace(path); err != nil {
			return n.explain("namespace of pod "+uid, err)
		}
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return n.explain("namespace of pod "+uid, err)
	}
	defer ns.Close()
	bridge, err := netlink.LinkByName(n.bridge)
	if err != nil {
		return n.explain("bridge "+n.bridge, err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = vethName(uid), bridge.Attrs().MTU, bridge.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(ns))}
	if err := netlink.LinkAdd(veth); err != nil {
		return n.explain("veth of pod "+uid, err)
	}
	host, err := netlink.LinkByName(attrs.Name)
	if err == nil {
		err = netlink.LinkSetUp(host)
	}
	if err != nil {
		return n.explain("veth of pod "+uid, err)
	}
	if err := n.configurePod(ns, l); err != nil {
		return n.explain("namespace of pod "+uid, err)
	}
	return nil
}

func (n *Network) configurePod(ns netns.NsHandle, l lease) error {
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(lo); err != nil {
		return err
	}
	eth, err := h.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := h.AddrReplace(eth, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(l.IP, n.state.Range.Bits()))}); err != nil {
		return err
	}
	if err := h.LinkSetUp(eth); err != nil {
		return err
	}
	return h.RouteReplace(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: n.Gateway().AsSlice()})
}

// Detach removes a pod's network. See nodelet.Network.
func (n *Network) Detach(_ context.Context, podUID string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.detach(podUID)
}

func (n *Network) detach(uid string) error {
	if err := removeLink(vethName(uid)); err != nil {
		return n.explain("veth of pod "+uid, err)
	}
	if err := removeNamespace(n.nsPath(uid)); err != nil {
		return n.explain("namespace of pod "+uid, err)
	}
	l, known := n.pods[uid]
	if !known {
		return nil
	}
	delete(n.pods, uid)
	if len(l.Ports) > 0 {
		if err := n.syncTable(); err != nil {
			n.pods[uid] = l
			return err
		}
	}
	return n.dropLease(uid)
}

// List answers the pods that have a network, or a part of one. See nodelet.Network.
func (n *Network) List(context.Context) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]string, 0, len(n.pods))
	for uid := range n.pods {
		out = append(out, uid)
	}
	sort.Strings(out)
	return out, nil
}

// RemoveAll removes everything that this instance made on the host.
func (n *Network) RemoveAll(ctx context.Context) error {
	uids, err := n.List(ctx)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	for _, uid := range uids {
		errs = append(errs, n.detach(uid))
	}
	if err := removeLink(n.bridge); err != nil {
		errs = append(errs, n.explain("bridge "+n.bridge, err))
	}
	errs = append(errs, n.removeTable(), n.restoreSysctls(), os.RemoveAll(n.cfg.RunDir), os.RemoveAll(n.cfg.StateDir))
	return errors.Join(errs...)
}

func (n *Network) nsPath(uid string) string { return filepath.Join(n.cfg.RunDir, uid) }

// vethName is a pod's interface on the host: short, and found again from the UID.
func vethName(uid string) string {
	h := fnv.New64a()
	h.Write([]byte(uid))
	return fmt.Sprintf("sv%012x", h.Sum64()&(1<<48-1))
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if errors.Is(err, unix.ENODEV) {
		return nil // its namespace took it along
	}
	return err
}

const nsfsMagic = 0x6e736673 // NSFS_MAGIC of linux/magic.h

// isNamespace reports whether a namespace is mounted at a path.
func isNamespace(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == nsfsMagic
}

// newNamespace makes a network namespace and mounts it at a path, where it outlives this process.
func newNamespace(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	made := make(chan error, 1)
	go func() {
		// The thread is in another namespace afterwards: it isn't unlocked, so it ends with the goroutine.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- err
			return
		}
		made <- unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), path, "", unix.MS_BIND, "")
	}()
	return <-made
}

func removeNamespace(path string) error {
	for isNamespace(path) {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
			return err
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
