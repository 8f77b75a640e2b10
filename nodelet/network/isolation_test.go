package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/nodelet"
)

// TestLoopbackStaysTheHosts sends a pod's packets for 127.0.0.1 to the host, as a pod with CAP_NET_ADMIN
// can, and expects them not to arrive although route_localnet is on.
func TestLoopbackStaysTheHosts(t *testing.T) {
	inHost(t, func(t *testing.T) {
		dir := t.TempDir()
		n := newNetwork(t, dir, "10.200.0.0/24")
		defer func() { must(t, n.RemoveAll(t.Context())) }()
		pod := attach(t, n, "uid")
		secret, err := net.Listen("tcp4", "127.0.0.1:0")
		must(t, err)
		defer secret.Close()
		bridge, err := net.Listen("tcp4", n.Gateway().String()+":0")
		must(t, err)
		defer bridge.Close()

		ns, err := netns.GetFromPath(pod.NetNS)
		must(t, err)
		defer ns.Close()
		h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
		must(t, err)
		defer h.Close()
		eth, err := h.LinkByName("eth0")
		must(t, err)
		lo, err := h.LinkByName("lo")
		must(t, err)
		must(t, h.LinkSetDown(lo)) // takes the pod's own route to 127.0.0.0/8 away
		inside(t, pod.NetNS, func() (int, error) { return 0, writeSysctl(confPath("eth0", "route_localnet"), "1") })
		addrs, err := h.AddrList(lo, netlink.FAMILY_V4)
		must(t, err)
		for i := range addrs {
			must(t, h.AddrDel(lo, &addrs[i]))
		}
		must(t, h.RouteReplace(&netlink.Route{LinkIndex: eth.Attrs().Index, Dst: ipNet(netip.MustParsePrefix("127.0.0.0/8")), Gw: n.Gateway().AsSlice()}))

		dial := func(addr net.Addr) (string, error) {
			c, err := (&net.Dialer{Timeout: 500 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.ParseIP(pod.IP)}}).Dial("tcp4", addr.String())
			if err != nil {
				return err.Error(), nil
			}
			return "", c.Close()
		}
		if refused := inside(t, pod.NetNS, func() (string, error) { return dial(bridge.Addr()) }); refused != "" {
			t.Errorf("what listens on the bridge isn't reached: %s", refused)
		}
		if refused := inside(t, pod.NetNS, func() (string, error) { return dial(secret.Addr()) }); refused == "" {
			t.Error("a pod reached what listens on the host's loopback")
		}
	})
}

func TestAPodReachesHostPortsOfItsOwnHost(t *testing.T) {
	inHost(t, func(t *testing.T) {
		dir := t.TempDir()
		world(t, dir)
		n := newNetwork(t, dir, "")
		defer func() { must(t, n.RemoveAll(t.Context())) }()
		web := attach(t, n, "web", corev1.ContainerPort{ContainerPort: 80, HostPort: 8080, Protocol: corev1.ProtocolTCP})
		other := attach(t, n, "other")
		serve(t, web.NetNS, "0.0.0.0:80")
		for name, from := range map[string]string{"another pod": other.NetNS, "the pod itself": web.NetNS} {
			if answer := inside(t, from, func() (string, error) { return ask("198.51.100.1:8080") }); answer == "" {
				t.Errorf("%s isn't answered", name)
			}
		}
	})
}

func TestUDPHostPortAndHostAddress(t *testing.T) {
	inHost(t, func(t *testing.T) {
		dir := t.TempDir()
		outside, _ := world(t, dir)
		n := newNetwork(t, dir, "")
		defer func() { must(t, n.RemoveAll(t.Context())) }()
		pod := attach(t, n, "dns", corev1.ContainerPort{ContainerPort: 53, HostPort: 5353, HostIP: "198.51.100.1", Protocol: corev1.ProtocolUDP})
		echo := inside(t, pod.NetNS, func() (net.PacketConn, error) { return net.ListenPacket("udp4", "0.0.0.0:53") })
		defer echo.Close()
		go func() {
			b := make([]byte, 64)
			for {
				size, from, err := echo.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = echo.WriteTo(b[:size], from)
			}
		}()
		answer := inside(t, outside, func() (string, error) {
			c, err := net.Dial("udp4", "198.51.100.1:5353")
			if err != nil {
				return "", err
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				return "", err
			}
			if _, err := c.Write([]byte("hello")); err != nil {
				return "", err
			}
			b := make([]byte, 64)
			size, err := c.Read(b)
			return string(b[:size]), err
		})
		if answer != "hello" {
			t.Errorf("answered %q", answer)
		}
		for _, bad := range []string{"::1", "fd00::1", "localhost"} {
			_, err := n.Attach(t.Context(), nodelet.PodNetwork{PodUID: "bad", Ports: []corev1.ContainerPort{{ContainerPort: 1, HostPort: 1, HostIP: bad}}})
			if !errors.Is(err, nodelet.ErrUnsupported) {
				t.Errorf("host address %s: %v", bad, err)
			}
		}
		// The same port on another address is another port.
		attach(t, n, "other", corev1.ContainerPort{ContainerPort: 53, HostPort: 5353, HostIP: "198.51.100.9", Protocol: corev1.ProtocolUDP})
	})
}

// TestAnAddressIsReachedAtOnceByItsNextPod would wait for the neighbour table if a pod's MAC weren't that
// of its address's last pod, or if the bridge's changed with its ports.
func TestAnAddressIsReachedAtOnceByItsNextPod(t *testing.T) {
	inHost(t, func(t *testing.T) {
		dir := t.TempDir()
		n := newNetwork(t, dir, "10.200.0.0/29")
		defer func() { must(t, n.RemoveAll(t.Context())) }()
		watcher := attach(t, n, "watcher")
		serve(t, watcher.NetNS, "0.0.0.0:80")
		link, err := netlink.LinkByName(n.bridge)
		must(t, err)
		mac := link.Attrs().HardwareAddr.String()
		var address string
		for i := range 20 {
			uid := fmt.Sprint("pod", i)
			pod := attach(t, n, uid)
			if address == "" {
				address = pod.IP
			}
			if pod.IP != address {
				t.Fatalf("pod %d has %s, not %s", i, pod.IP, address)
			}
			l := inside(t, pod.NetNS, func() (net.Listener, error) { return net.Listen("tcp4", "0.0.0.0:80") })
			for who, dial := range map[string]func() (net.Conn, error){
				"the host": func() (net.Conn, error) { return net.DialTimeout("tcp4", pod.IP+":80", 900*time.Millisecond) },
				"another pod": func() (net.Conn, error) {
					return inside(t, watcher.NetNS, func() (net.Conn, error) { return net.DialTimeout("tcp4", pod.IP+":80", 900*time.Millisecond) }), nil
				},
			} {
				c, err := dial()
				if err != nil {
					t.Fatalf("pod %d from %s: %v", i, who, err)
				}
				c.Close()
			}
			l.Close()
			must(t, n.Detach(t.Context(), uid))
		}
		link, err = netlink.LinkByName(n.bridge)
		must(t, err)
		if now := link.Attrs().HardwareAddr.String(); now != mac {
			t.Errorf("the bridge's address changed from %s to %s", mac, now)
		}
	})
}

func TestPodsHaveTheUplinksMTU(t *testing.T) {
	inHost(t, func(t *testing.T) {
		dir := t.TempDir()
		world(t, dir)
		uplink, err := netlink.LinkByName("uplink")
		must(t, err)
		must(t, netlink.LinkSetMTU(uplink, 1380))
		n := newNetwork(t, dir, "")
		defer func() { must(t, n.RemoveAll(t.Context())) }()
		pod := attach(t, n, "uid")
		if mtu := inside(t, pod.NetNS, func() (int, error) {
			eth, err := net.InterfaceByName("eth0")
			if err != nil {
				return 0, err
			}
			return eth.MTU, nil
		}); mtu != 1380 {
			t.Errorf("MTU %d", mtu)
		}
		bridge, err := netlink.LinkByName(n.bridge)
		must(t, err)
		if mtu := bridge.Attrs().MTU; mtu != 1380 {
			t.Errorf("the bridge's MTU is %d", mtu)
		}
	})
}

// TestTheLastInstanceRestoresForwarding runs two instances on one host.
func TestTheLastInstanceRestoresForwarding(t *testing.T) {
	inHost(t, func(t *testing.T) {
		dir := t.TempDir()
		world(t, dir)
		before := forwarding(t, "uplink")
		first, err := New(config(dir, "one", ""))
		must(t, err)
		second, err := New(config(dir, "two", ""))
		must(t, err)
		if first.state.Range.Overlaps(second.state.Range) {
			t.Errorf("both have %s", first.state.Range)
		}
		must(t, first.RemoveAll(t.Context()))
		if forwarding(t, "uplink") != "1" {
			t.Error("the first took forwarding from the second")
		}
		second, err = New(config(dir, "two", "")) // a restart
		must(t, err)
		must(t, second.RemoveAll(t.Context()))
		if now := forwarding(t, "uplink"); now != before {
			t.Errorf("forwarding is %s, was %s", now, before)
		}
		// What somebody else switched on stays.
		must(t, writeSysctl(confPath("uplink", "forwarding"), "1"))
		n := newNetwork(t, dir, "")
		must(t, n.RemoveAll(t.Context()))
		if forwarding(t, "uplink") != "1" {
			t.Error("a setting of somebody else's was changed")
		}
	})
}

func TestWhatALossOfPowerLeaves(t *testing.T) {
	inHost(t, func(t *testing.T) {
		dir := t.TempDir()
		n := newNetwork(t, dir, "10.200.0.0/24")
		kept, lost := attach(t, n, "kept"), attach(t, n, "lost")
		for _, a := range []nodelet.Attachment{kept, lost} {
			must(t, removeNamespace(a.NetNS))
			must(t, removeNamespace(a.IPCNS))
		}
		must(t, removeBridge(n.bridge))
		must(t, os.Truncate(filepath.Join(n.podDir(), "lost.json"), 0))
		must(t, os.WriteFile(filepath.Join(n.podDir(), "half.json.new"), []byte("{"), 0o600))
		n = newNetwork(t, dir, "")
		if again := attach(t, n, "kept"); again != kept {
			t.Errorf("%+v, was %+v", again, kept)
		}
		if list, err := n.List(t.Context()); err != nil || len(list) != 1 {
			t.Errorf("%v (%v)", list, err)
		}
		// While its namespace is there, a lease that can't be read is told, not made up.
		must(t, os.Truncate(filepath.Join(n.podDir(), "kept.json"), 0))
		if _, err := New(config(dir, "t1", "")); err == nil {
			t.Error("a spoiled lease of a live namespace was dropped")
		}
		must(t, Remove(t.Context(), config(dir, "t1", "")))
		if links, err := netlink.LinkList(); err != nil || len(links) != 1 {
			t.Errorf("%d links are left (%v)", len(links), err)
		}
	})
}

func TestMissingCapabilitiesAreNamed(t *testing.T) {
	n := &Network{bridge: "sw", table: "t"}
	for _, cause := range []error{unix.EPERM, unix.EOPNOTSUPP, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, errKernel} {
		if err := n.explain("x", cause); !errors.Is(err, nodelet.ErrUnsupported) || !errors.Is(err, cause) {
			t.Errorf("%v: %v", cause, err)
		}
	}
	if err := n.explain("x", unix.EIO); errors.Is(err, nodelet.ErrUnsupported) {
		t.Errorf("an I/O error reads as a missing capability: %v", err)
	}
}

func TestPodUIDsAreFileNames(t *testing.T) {
	n, err := fromConfig(Config{Instance: "t", StateDir: t.TempDir(), RunDir: t.TempDir()})
	must(t, err)
	for _, uid := range []string{"", ".", "..", "../x", "a/b", ".hidden"} {
		if _, err := n.Attach(t.Context(), nodelet.PodNetwork{PodUID: uid}); err == nil {
			t.Errorf("UID %q: attached", uid)
		}
	}
}
