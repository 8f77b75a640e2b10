package network

import (
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// syncTable writes our table as a whole, in one transaction of the kernel.
func (n *Network) syncTable() error {
	c, err := nftables.New()
	if err != nil {
		return n.explain("nftables", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: n.table}
	// Adding what is there already changes nothing, so that the deletion always finds it.
	c.AddTable(table)
	c.DelTable(table)
	table = c.AddTable(table)
	chain := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		return c.AddChain(&nftables.Chain{Name: name, Table: table, Type: kind, Hooknum: hook, Priority: priority})
	}
	rule := func(to *nftables.Chain, parts ...[]expr.Any) {
		c.AddRule(&nftables.Rule{Table: table, Chain: to, Exprs: slices.Concat(parts...)})
	}
	pods := n.state.Range

	guard := chain("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	// route_localnet would let a pod into what listens on the host's loopback. Before connection tracking
	// the answers to localhost's own connections have the bridge's address, so they aren't meant.
	rule(guard, inInterface(n.bridge), address(destinationAddress, loopback, expr.CmpOpEq), drop())
	rule(guard, inInterface(n.bridge), address(sourceAddress, pods, expr.CmpOpNeq), drop())

	out := chain("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	rule(out, address(sourceAddress, pods, expr.CmpOpEq), outInterface(n.bridge, expr.CmpOpNeq), masquerade())
	// A connection from localhost to a host port needs a source that the pod can answer.
	rule(out, address(sourceAddress, loopback, expr.CmpOpEq), outInterface(n.bridge, expr.CmpOpEq), masquerade())
	// A pod that comes by a host port to another on the bridge would be answered directly, by an address
	// that it didn't ask.
	rule(out, address(sourceAddress, pods, expr.CmpOpEq), outInterface(n.bridge, expr.CmpOpEq), wasForwarded(), masquerade())

	in := chain("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest)
	local := chain("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest)
	for _, uid := range slices.Sorted(maps.Keys(n.pods)) {
		l := n.pods[uid]
		for _, p := range l.Ports {
			rule(in, forward(p, l.IP))
			rule(local, forward(p, l.IP))
		}
	}
	err = c.Flush()
	if errors.Is(err, unix.ENOENT) { // everything that we name, we make: it is an expression that is missing
		err = errors.Join(errKernel, err)
	}
	if err != nil {
		return n.explain("nftables table "+n.table, err)
	}
	return nil
}

func (n *Network) removeTable() error {
	c, err := nftables.New()
	if err != nil {
		return n.explain("nftables", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: n.table}
	c.AddTable(table)
	c.DelTable(table)
	if err := c.Flush(); err != nil {
		return n.explain("nftables table "+n.table, err)
	}
	return nil
}

// Offsets in an IPv4 header and in those of TCP, UDP and SCTP.
const (
	sourceAddress      = 12
	destinationAddress = 16
	destinationPort    = 2
)

var loopback = netip.MustParsePrefix("127.0.0.0/8")

func address(offset uint32, p netip.Prefix, op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.CIDRMask(p.Bits(), 32), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func inInterface(name string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: padded(name)}}
}

func outInterface(name string, op expr.CmpOp) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: padded(name)}}
}

func padded(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func drop() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }

const destinationNAT = 1 << 5 // IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h

func wasForwarded() []expr.Any {
	return []expr.Any{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATUS},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(destinationNAT), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func masquerade() []expr.Any { return []expr.Any{&expr.Masq{}} }

// forward sends what is meant for a port of the host to a port of a pod.
func forward(p corev1.ContainerPort, to netip.Addr) []expr.Any {
	protocol := byte(unix.IPPROTO_TCP)
	switch p.Protocol {
	case corev1.ProtocolUDP:
		protocol = unix.IPPROTO_UDP
	case corev1.ProtocolSCTP:
		protocol = unix.IPPROTO_SCTP
	}
	match := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{protocol}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: destinationPort, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, uint16(p.HostPort))},
	}
	if anyAddress(p.HostIP) {
		match = append(match,
			&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)})
	} else {
		ip := netip.MustParseAddr(p.HostIP) // checkPorts let it in
		match = append(match, address(destinationAddress, netip.PrefixFrom(ip, ip.BitLen()), expr.CmpOpEq)...)
	}
	return append(match,
		&expr.Immediate{Register: 1, Data: to.AsSlice()},
		&expr.Immediate{Register: 2, Data: binary.BigEndian.AppendUint16(nil, uint16(p.ContainerPort))},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2})
}
