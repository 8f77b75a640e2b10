// Package etcd runs etcd inside this process, or connects to one that runs elsewhere.
//
// The embedded one is a single member that syncs every commit to disk and listens on nothing: its client
// calls it directly, so nobody else on the machine gets in. For etcdctl (a snapshot, a look inside) it can
// serve a unix socket in a directory that only its user may enter.
package etcd
