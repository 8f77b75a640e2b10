// Package network gives each pod a network namespace with an address on a bridge.
//
// One instance of Swell owns, on its host: a bridge (sw<instance>), a veth pair per pod (sv<hash> on the
// host's side, eth0 in the pod), a namespace per pod (bind-mounted under the run directory), and an
// nftables table (swell-<instance>) that masquerades what leaves the bridge and forwards host ports.
// RemoveAll removes all of it.
//
// Settings that it changes, where they aren't as needed already: forwarding and route_localnet on its own
// bridge, and, outside of what it made, forwarding on each interface that a route leads to, so that answers
// to pods get back in. The former value is recorded for all instances of the host together and restored by
// the last one's RemoveAll. The host's global ip_forward and its firewall rules are left alone: what our
// table accepts another one may still drop, so a host whose own rules drop forwarded packets has to let the
// bridge through by itself. Interfaces that come later are looked at when the nodelet starts again.
//
// The table also keeps pods from what route_localnet would open to them, the host's loopback, and from
// sending by an address that isn't of the range.
//
// What must survive a restart stands in files of the state directory: the address range, and per pod its
// address and ports, written before they are used.
package network
