// Package nodes holds the sessions of nodelets.
//
// A session is level-triggered: the store says that something about a pod changed, the session marks
// the pod and sends its state as it is when its turn comes. So what waits for a slow nodelet is bounded
// by the pods of that node, and nothing older ever follows something newer.
//
// Upwards, a report becomes an observation of the pod (in memory), except for what must outlive the
// node: a terminal phase and the removal of a pod that ended are committed. Segments are acknowledged
// after the ledger has made them durable, and a nodelet sends a pod's last segment before the report
// that the pod is finished, so that a pod never disappears before it is metered.
//
// A node has one session: a second one replaces the first and begins when that has said its last. One
// whose nodelet is silent for too long ends. A node without a session gets no more pods at once; those that
// it has count as not ready once nothing was heard of it for as long.
package nodes
