package network

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// vethName is a pod's interface on the host: short, and found again from the UID.
func vethName(uid string) string {
	h := fnv.New64a()
	h.Write([]byte(uid))
	return fmt.Sprintf("sv%012x", h.Sum64()&(1<<48-1))
}

// bridgeMAC is set on the bridge, which would otherwise take the lowest of its ports' and so change under
// the pods that know it as their gateway's.
func bridgeMAC(instance string) net.HardwareAddr {
	h := sha256.Sum256([]byte(instance))
	return net.HardwareAddr{0x02, 0x73, h[0], h[1], h[2], h[3]} // locally administered
}

// podMAC follows from the address, so that whoever knew the address from a former pod finds this one.
func podMAC(ip netip.Addr) net.HardwareAddr {
	b := ip.As4()
	return net.HardwareAddr{0x02, 0x70, b[0], b[1], b[2], b[3]}
}

// linkTimeout bounds the wait for a link, which takes a second at most: the kernel's own delay.
const linkTimeout = 5 * time.Second

// awaitUp waits until the kernel has seen that a link has a carrier. Before that the bridge doesn't send
// by it, and a first packet would be lost. Asking makes a kernel since 6.7 look at once.
func awaitUp(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, linkTimeout)
	defer cancel()
	for {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		state := link.Attrs().OperState
		if state == netlink.OperUp {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("link %s is %s: %w", name, state, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
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

// removeBridge removes a bridge with what is plugged into it.
func removeBridge(name string) error {
	bridge, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return err
	}
	links, err := netlink.LinkList()
	for errors.Is(err, netlink.ErrDumpInterrupted) { // they changed meanwhile
		links, err = netlink.LinkList()
	}
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Attrs().MasterIndex == bridge.Attrs().Index {
			if err := removeLink(l.Attrs().Name); err != nil {
				return err
			}
		}
	}
	return removeLink(name)
}

const nsfsMagic = 0x6e736673 // NSFS_MAGIC of linux/magic.h

// isNamespace reports whether a namespace is mounted at a path.
func isNamespace(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == nsfsMagic
}

// newNamespaces makes a pod's network and IPC namespaces and mounts them at paths, where they outlive this
// process. The network's comes last: where that is, the other one is too.
func newNamespaces(network, ipc string) error {
	for _, path := range []string{network, ipc} {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
		if err != nil {
			return err
		}
		f.Close()
	}
	made := make(chan error, 1)
	go func() {
		// The thread is in another namespace afterwards: it isn't unlocked, so it ends with the goroutine.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWIPC); err != nil {
			made <- err
			return
		}
		own := fmt.Sprintf("/proc/self/task/%d/ns/", unix.Gettid())
		if err := unix.Mount(own+"ipc", ipc, "", unix.MS_BIND, ""); err != nil {
			made <- err
			return
		}
		made <- unix.Mount(own+"net", network, "", unix.MS_BIND, "")
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
