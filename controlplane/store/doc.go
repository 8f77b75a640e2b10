// Package store keeps the control plane's objects: durable in etcd, decoded and indexed in memory, with
// one leader that writes and a window of events for those who watch.
//
// # Keys
//
//	<prefix>/leader                            who leads; JSON holder; bound to the leader's lease
//	<prefix>/fence                             JSON fence; every transaction rewrites it
//	<prefix>/objects/<resource>/<ns>/<name>    an object; <ns> is empty for cluster-scoped resources
//
// A value under objects is an envelope around the object in Kubernetes' protobuf (JSON for types that
// have none):
//
//	byte 0     'S'
//	byte 1     format of the body: 1 protobuf, 2 JSON
//	byte 2-4   ordinal of the operation within its transaction, big endian
//	byte 5-    body, less the observed status and the resourceVersion
//
// # Fence
//
// Each transaction compares the fence's mod revision with the one that this leader wrote last, and writes
// the fence anew. Taking leadership writes it too. So a deposed leader's transactions fail, whatever it
// believes; and a transaction whose answer was lost is repeated without harm: the second of two equal
// attempts fails its comparison, and the fence then tells at which revision the first one went in.
// The fence also counts the events ever written, from which a start finds how far back history must be
// read.
//
// # Versions
//
// A resourceVersion is etcd's revision << 24 | n. For a change that was written, n is its ordinal in the
// transaction. A change that stays in memory (an observation, an event object) gets the last version plus
// one. Every change has a version of its own and versions only grow, also over restarts and changes of the
// leader: taking leadership writes to etcd, hence begins above whatever was issued before. When n runs out
// the fence is written for a new revision.
//
// # Commit
//
// A mutation waits for its key (first come, first served), runs its Change, encodes the result on the
// caller's goroutine and queues the write. One goroutine takes all writes that have queued up while the
// last transaction was under way, and commits them as one. So at most one mutation of a key is in a
// transaction, and each sees the outcome of the one before.
package store
