package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/nodelet"
)

// Config of a host's pod network.
type Config struct {
	Instance  string // distinguishes what this Swell made; at most 10 characters
	StateDir  string // durable
	RunDir    string // where namespaces are mounted; gone after a boot
	SharedDir string // what all instances of a host know of it; gone after a boot; empty: /run/swell
	CIDR      string // IPv4 range for pods; empty: the one used before, or a free one
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
	n, err := fromConfig(cfg)
	if err != nil {
		return nil, err
	}
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

// Remove removes everything that an instance made on the host, whatever state it is in.
func Remove(ctx context.Context, cfg Config) error {
	n, err := fromConfig(cfg)
	if err != nil {
		return err
	}
	return n.RemoveAll(ctx)
}

func fromConfig(cfg Config) (*Network, error) {
	if cfg.Instance == "" || len(cfg.Instance) > 10 || cfg.StateDir == "" || cfg.RunDir == "" {
		return nil, errors.New("network: an instance of at most 10 characters, a state and a run directory are required")
	}
	if cfg.SharedDir == "" {
		cfg.SharedDir = "/run/swell"
	}
	return &Network{cfg: cfg, bridge: "sw" + cfg.Instance, table: "swell-" + cfg.Instance, pods: map[string]lease{}}, nil
}

// Gateway is the bridge's address: the pods' way out.
func (n *Network) Gateway() netip.Addr { return n.state.Range.Addr().Next() }

func (n *Network) setUpBridge() error {
	mtu, err := n.mtu()
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(n.bridge)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.HardwareAddr = n.bridge, mtu, bridgeMAC(n.cfg.Instance)
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

// errKernel says that the kernel lacks a part of what our table needs.
var errKernel = errors.New("not in this kernel")

// explain names the capability that a host lacks.
func (n *Network) explain(what string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("network: %s: root (CAP_NET_ADMIN) is required: %w: %w", what, nodelet.ErrUnsupported, err)
	case errors.Is(err, errKernel), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("network: %s: the kernel needs bridge, veth and nf_tables (nft_nat, nft_masq): %w: %w", what, nodelet.ErrUnsupported, err)
	}
	return fmt.Errorf("network: %s: %w", what, err)
}

// Attach makes a pod's namespace, or answers the one that is there. See nodelet.Network.
func (n *Network) Attach(ctx context.Context, p nodelet.PodNetwork) (nodelet.Attachment, error) {
	if p.PodUID == "" || filepath.Base(p.PodUID) != p.PodUID || p.PodUID[0] == '.' {
		return nodelet.Attachment{}, fmt.Errorf("network: pod UID %q: not a file name", p.PodUID)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	path := n.nsPath(p.PodUID)
	l, known := n.pods[p.PodUID]
	if known {
		if whole, err := n.whole(p.PodUID, path); err != nil {
			return nodelet.Attachment{}, n.explain("pod "+p.PodUID, err)
		} else if whole {
			if l, err = n.bind(p.PodUID, l, hostPorts(p)); err != nil {
				return nodelet.Attachment{}, err
			}
			return n.attachment(p.PodUID, l), nil
		}
	} else {
		l.Ports = hostPorts(p)
		err := n.checkPorts(p.PodUID, l.Ports)
		if err == nil {
			l.IP, err = n.freeAddress()
		}
		if err != nil {
			return nodelet.Attachment{}, err
		}
		if err := n.saveLease(p.PodUID, l); err != nil {
			return nodelet.Attachment{}, err
		}
		n.pods[p.PodUID] = l
	}
	if err := n.build(ctx, p.PodUID, path, l); err != nil {
		return nodelet.Attachment{}, errors.Join(err, n.detach(p.PodUID))
	}
	if len(l.Ports) > 0 {
		if err := n.syncTable(); err != nil {
			return nodelet.Attachment{}, errors.Join(err, n.detach(p.PodUID))
		}
	}
	return n.attachment(p.PodUID, l), nil
}

func hostPorts(p nodelet.PodNetwork) []corev1.ContainerPort {
	return slices.DeleteFunc(slices.Clone(p.Ports), func(port corev1.ContainerPort) bool { return port.HostPort == 0 })
}

// bind gives host ports to a pod whose network was made ahead of it, without any.
func (n *Network) bind(uid string, l lease, ports []corev1.ContainerPort) (lease, error) {
	if len(l.Ports) > 0 || len(ports) == 0 {
		return l, nil
	}
	before := l
	l.Ports = ports
	if err := n.checkPorts(uid, ports); err != nil {
		return before, err
	}
	if err := n.saveLease(uid, l); err != nil {
		return before, err
	}
	n.pods[uid] = l
	if err := n.syncTable(); err != nil {
		n.pods[uid] = before
		return before, errors.Join(err, n.saveLease(uid, before))
	}
	return l, nil
}

// whole reports whether a namespace has its route, which is the last thing that build gives it. An error
// says nothing about the namespace: a running pod isn't rebuilt because of one.
func (n *Network) whole(uid, path string) (bool, error) {
	if !isNamespace(path) {
		return false, nil
	}
	if _, err := netlink.LinkByName(vethName(uid)); errors.As(err, &netlink.LinkNotFoundError{}) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return false, err
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return false, err
	}
	defer h.Close()
	for {
		routes, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Gw: n.Gateway().AsSlice()}, netlink.RT_FILTER_GW)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return len(routes) == 1, err
		}
	}
}

// build makes the namespace and what is in it, from whatever an interrupted attempt has left.
func (n *Network) build(ctx context.Context, uid, path string, l lease) error {
	if err := removeLink(vethName(uid)); err != nil {
		return n.explain("pod "+uid, err)
	}
	if !isNamespace(path) {
		if err := removeNamespace(n.ipcPath(uid)); err != nil { // of an interrupted attempt
			return n.explain("IPC namespace of pod "+uid, err)
		}
		if err := newNamespaces(path, n.ipcPath(uid)); err != nil {
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
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerHardwareAddr: podMAC(l.IP), PeerMTU: uint32(attrs.MTU), PeerNamespace: netlink.NsFd(int(ns))}
	if err := netlink.LinkAdd(veth); err != nil {
		return n.explain("veth of pod "+uid, err)
	}
	host, err := netlink.LinkByName(attrs.Name)
	if err == nil {
		// With br_netfilter a pod that reaches itself by a host port leaves by the port that it came in by.
		err = netlink.LinkSetHairpin(host, true)
	}
	if err == nil {
		err = netlink.LinkSetUp(host)
	}
	if err != nil {
		return n.explain("veth of pod "+uid, err)
	}
	if err := n.configurePod(ns, l); err != nil {
		return n.explain("namespace of pod "+uid, err)
	}
	if err := awaitUp(ctx, attrs.Name); err != nil {
		return n.explain("veth of pod "+uid, err)
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
	if err := removeNamespace(n.ipcPath(uid)); err != nil {
		return n.explain("IPC namespace of pod "+uid, err)
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
	uids := make(map[string]bool, len(n.pods))
	for uid := range n.pods {
		uids[uid] = true
	}
	mounts, err := os.ReadDir(n.cfg.RunDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("network: %w", err)
	}
	for _, m := range mounts { // namespaces whose lease was lost
		uids[strings.TrimSuffix(m.Name(), ipcSuffix)] = true
	}
	return slices.Sorted(maps.Keys(uids)), nil
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
	failed := func(what string, err error) {
		if err != nil {
			errs = append(errs, n.explain(what, err))
		}
	}
	for _, uid := range uids {
		failed("veth of pod "+uid, removeLink(vethName(uid)))
		failed("namespace of pod "+uid, removeNamespace(n.nsPath(uid)))
		failed("IPC namespace of pod "+uid, removeNamespace(n.ipcPath(uid)))
	}
	failed("bridge "+n.bridge, removeBridge(n.bridge))
	errs = append(errs, n.removeTable(), n.restoreSysctls())
	if err := errors.Join(errs...); err != nil {
		return err // the records stay for another try
	}
	clear(n.pods)
	return errors.Join(os.RemoveAll(n.cfg.RunDir), os.RemoveAll(n.cfg.StateDir))
}

func (n *Network) nsPath(uid string) string { return filepath.Join(n.cfg.RunDir, uid) }

// ipcSuffix tells a pod's IPC namespace from its network's. The containers of a pod share both, and both
// live as long as the pod.
const ipcSuffix = ".ipc"

func (n *Network) ipcPath(uid string) string { return n.nsPath(uid) + ipcSuffix }

func (n *Network) attachment(uid string, l lease) nodelet.Attachment {
	a := nodelet.Attachment{NetNS: n.nsPath(uid), IP: l.IP.String()}
	if path := n.ipcPath(uid); isNamespace(path) { // a pod of an earlier version has none
		a.IPCNS = path
	}
	return a
}
