package network

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sort"

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
	chain := func(name string, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
		return c.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: priority})
	}
	out := chain("postrouting", nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	c.AddRule(&nftables.Rule{Table: table, Chain: out, Exprs: join(source(n.state.Range), outInterface(n.bridge, expr.CmpOpNeq), masquerade())})
	// A connection from localhost to a host port needs a source that the pod can answer.
	c.AddRule(&nftables.Rule{Table: table, Chain: out, Exprs: join(source(netip.MustParsePrefix("127.0.0.0/8")), outInterface(n.bridge, expr.CmpOpEq), masquerade())})

	in := chain("prerouting", nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest)
	local := chain("output", nftables.ChainHookOutput, nftables.ChainPriorityNATDest)
	uids := make([]string, 0, len(n.pods))
	for uid := range n.pods {
		uids = append(uids, uid)
	}
	sort.Strings(uids)
	for _, uid := range uids {
		l := n.pods[uid]
		for _, p := range l.Ports {
			for _, chain := range []*nftables.Chain{in, local} {
				c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: forward(p, l.IP)})
			}
		}
	}
	if err := c.Flush(); err != nil {
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

func join(parts ...[]expr.Any) []expr.Any {
	var out []expr.Any
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// Offsets in an IPv4 header and in those of TCP, UDP and SCTP.
const (
	sourceAddress      = 12
	destinationAddress = 16
	destinationPort    = 2
)

func source(p netip.Prefix) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: sourceAddress, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: net.CIDRMask(p.Bits(), 32), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()},
	}
}

func outInterface(name string, op expr.CmpOp) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: op, Register: 1, Data: padded},
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
	} else if ip, err := netip.ParseAddr(p.HostIP); err == nil && ip.Is4() {
		match = append(match,
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: destinationAddress, Len: 4},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ip.AsSlice()})
	}
	return append(match,
		&expr.Immediate{Register: 1, Data: to.AsSlice()},
		&expr.Immediate{Register: 2, Data: binary.BigEndian.AppendUint16(nil, uint16(p.ContainerPort))},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2})
}
