// Package network gives each pod a network namespace with an address on a bridge.
//
// One instance of Swell owns, on its host: a bridge (sw<instance>), a veth pair per pod (sv<hash> on the
// host's side, eth0 in the pod), a namespace per pod (bind-mounted under the run directory), and an
// nftables table (swell-<instance>) that masquerades what leaves the bridge and forwards host ports.
// RemoveAll removes all of it.
//
// Three settings outside of what it made are changed, where they aren't as needed already: forwarding on
// the interface of the default route, so that answers to pods get back in (its former value is recorded
// and restored by RemoveAll), and forwarding and route_localnet on its own bridge. The host's global
// ip_forward and its firewall rules are left alone; a host whose own rules drop forwarded packets has to
// let the bridge through by itself.
//
// What must survive a restart stands in files of the state directory: the address range, and per pod its
// address and ports, written before they are used.
package network
