package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/nodelet"
)

var errNeedsRoot = errors.New("network namespaces need root")

// inHost runs a test in a network namespace of its own, which stands for the host: the real host's
// interfaces and rules are never touched. The thread ends with the test's goroutine.
func inHost(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip(errNeedsRoot)
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespaces here: %v", err)
	}
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	test(t)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newNetwork(t *testing.T, dir, cidr string) *Network {
	t.Helper()
	n, err := New(config(dir, "t1", cidr))
	must(t, err)
	return n
}

func config(dir, instance, cidr string) Config {
	return Config{Instance: instance, StateDir: filepath.Join(dir, instance, "state"), RunDir: filepath.Join(dir, instance, "run"),
		SharedDir: filepath.Join(dir, "shared"), CIDR: cidr}
}

func attach(t *testing.T, n *Network, uid string, ports ...corev1.ContainerPort) nodelet.Attachment {
	t.Helper()
	a, err := n.Attach(t.Context(), nodelet.PodNetwork{PodUID: uid, Ports: ports})
	must(t, err)
	return a
}

// inside runs a function in a namespace, on a thread of its own that ends with it.
func inside[T any](t *testing.T, path string, f func() (T, error)) T {
	t.Helper()
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		ns, err := netns.GetFromPath(path)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		var r result
		if r.err = err; err == nil {
			r.value, r.err = f()
		}
		done <- r
	}()
	r := <-done
	must(t, r.err)
	return r.value
}

// serve answers each connection with who it came from.
func serve(t *testing.T, path, addr string) {
	t.Helper()
	l := inside(t, path, func() (net.Listener, error) { return net.Listen("tcp4", addr) })
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, c.RemoteAddr())
			c.Close()
		}
	}()
}

func ask(addr string) (string, error) {
	c, err := net.DialTimeout("tcp4", addr, 10*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	return string(b), err
}

// world makes a namespace outside of the host, with a default route of the host's leading to it.
func world(t *testing.T, dir string) (path, addr string) {
	t.Helper()
	path = filepath.Join(dir, "world")
	must(t, newNamespaces(path, path+ipcSuffix))
	t.Cleanup(func() {
		must(t, removeNamespace(path))
		must(t, removeNamespace(path+ipcSuffix))
	})
	ns, err := netns.GetFromPath(path)
	must(t, err)
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "uplink"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(ns))}))
	link, err := netlink.LinkByName("uplink")
	must(t, err)
	must(t, netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("198.51.100.1/24"))}))
	must(t, netlink.LinkSetUp(link))
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.IPv4(198, 51, 100, 2)}))
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	must(t, err)
	defer h.Close()
	eth, err := h.LinkByName("eth0")
	must(t, err)
	must(t, h.AddrAdd(eth, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("198.51.100.2/24"))}))
	must(t, h.LinkSetUp(eth))
	return path, "198.51.100.2"
}

func TestPodsReachOneAnotherTheHostAndOut(t *testing.T) {
	inHost(t, func(t *testing.T) {
		dir := t.TempDir()
		outside, outsideIP := world(t, dir)
		n := newNetwork(t, dir, "")
		defer func() { must(t, n.RemoveAll(t.Context())) }()
		attach(t, n, "uid-web") // made ahead of its pod, which has a port
		web := attach(t, n, "uid-web", corev1.ContainerPort{ContainerPort: 80, HostPort: 8080, Protocol: corev1.ProtocolTCP})
		client := attach(t, n, "uid-client")
		if again := attach(t, n, "uid-web"); again != web {
			t.Errorf("attached again: %+v, was %+v", again, web)
		}
		serve(t, web.NetNS, "0.0.0.0:80")

		if from := inside(t, client.NetNS, func() (string, error) { return ask(web.IP + ":80") }); hostOf(from) != client.IP {
			t.Errorf("a pod reached the other as %s, not as %s", from, client.IP)
		}
		from, err := ask(web.IP + ":80")
		must(t, err)
		if hostOf(from) != n.Gateway().String() {
			t.Errorf("the host reached the pod as %s", from)
		}
		serve(t, outside, "0.0.0.0:7")
		if from := inside(t, client.NetNS, func() (string, error) { return ask(outsideIP + ":7") }); hostOf(from) != "198.51.100.1" {
			t.Errorf("a pod reached the world as %s, not as its host", from)
		}
		if from := inside(t, outside, func() (string, error) { return ask("198.51.100.1:8080") }); hostOf(from) != outsideIP {
			t.Errorf("the world reached the host port as %s", from)
		}
		if _, err := ask("127.0.0.1:8080"); err != nil {
			t.Errorf("the host port on localhost: %v", err)
		}
		if _, err := n.Attach(t.Context(), nodelet.PodNetwork{PodUID: "uid-other", Ports: []corev1.ContainerPort{{ContainerPort: 1, HostPort: 8080, Protocol: corev1.ProtocolTCP}}}); err == nil {
			t.Error("a host port was given twice")
		}
	})
}

func hostOf(addr string) string {
	host, _, _ := net.SplitHostPort(addr)
	return host
}

func TestARestartKeepsAddressesAndRemoveAllLeavesNothing(t *testing.T) {
	inHost(t, func(t *testing.T) {
		dir := t.TempDir()
		world(t, dir)
		before := forwarding(t, "uplink")
		n := newNetwork(t, dir, "10.200.0.0/29")
		a, b := attach(t, n, "uid-a"), attach(t, n, "uid-b")
		if forwarding(t, "uplink") != "1" {
			t.Error("answers to pods can't get in")
		}
		n = newNetwork(t, dir, "")
		if again := attach(t, n, "uid-a"); again != a {
			t.Errorf("after a restart %+v, was %+v", again, a)
		}
		// A namespace that was half made, or lost with a boot, is made again with the same address.
		must(t, removeLink(vethName("uid-b")))
		must(t, removeNamespace(b.NetNS))
		if again := attach(t, n, "uid-b"); again != b {
			t.Errorf("made again as %+v, was %+v", again, b)
		}
		for i := range 3 {
			attach(t, n, fmt.Sprint("more", i))
		}
		if _, err := n.Attach(t.Context(), nodelet.PodNetwork{PodUID: "one too many"}); err == nil {
			t.Error("more addresses than the range has")
		}
		must(t, n.Detach(t.Context(), "uid-a"))
		must(t, n.Detach(t.Context(), "uid-a"))
		if got := attach(t, n, "new"); got.IP != a.IP {
			t.Errorf("a freed address isn't used: %s", got.IP)
		}
		if list, err := n.List(t.Context()); err != nil || len(list) != 5 {
			t.Errorf("%v (%v)", list, err)
		}
		if _, err := New(config(dir, "t1", "10.201.0.0/24")); err == nil {
			t.Error("the range changed under the pods")
		}
		must(t, n.RemoveAll(t.Context()))
		links, err := netlink.LinkList()
		must(t, err)
		if len(links) != 2 { // lo and the uplink
			t.Errorf("%d links are left", len(links))
		}
		if now := forwarding(t, "uplink"); now != before {
			t.Errorf("forwarding of the uplink is %q, was %q", now, before)
		}
		for _, d := range []string{filepath.Join(dir, "t1", "run"), filepath.Join(dir, "t1", "state"), filepath.Join(dir, "shared")} {
			if _, err := os.Stat(d); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left: %v", d, err)
			}
		}
		if tables := ownTables(t); len(tables) != 0 {
			t.Errorf("tables are left: %v", tables)
		}
		must(t, n.RemoveAll(t.Context())) // again
	})
}

func ownTables(t *testing.T) []string {
	t.Helper()
	c, err := nftables.New()
	must(t, err)
	tables, err := c.ListTables()
	must(t, err)
	var out []string
	for _, table := range tables {
		out = append(out, table.Name)
	}
	return out
}

func forwarding(t *testing.T, link string) string {
	t.Helper()
	b, err := os.ReadFile(confPath(link, "forwarding"))
	must(t, err)
	return string(b[:1])
}

func TestRangesThatAreUsedArentChosen(t *testing.T) {
	inHost(t, func(t *testing.T) {
		lo, err := netlink.LinkByName("lo")
		must(t, err)
		must(t, netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("10.88.1.1/24"))}))
		got, err := freeRange()
		must(t, err)
		if want := netip.MustParsePrefix("10.88.4.0/22"); got != want {
			t.Errorf("chose %s, want %s", got, want)
		}
	})
}

func TestBadConfigurations(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]Config{
		"no instance":   {StateDir: dir, RunDir: dir},
		"long instance": {Instance: "12345678901", StateDir: dir, RunDir: dir},
		"no directory":  {Instance: "t"},
		"IPv6":          {Instance: "t", StateDir: dir, RunDir: dir, CIDR: "fd00::/64"},
		"tiny":          {Instance: "t", StateDir: dir, RunDir: dir, CIDR: "10.0.0.0/31"},
		"nonsense":      {Instance: "t", StateDir: dir, RunDir: dir, CIDR: "ten"},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
