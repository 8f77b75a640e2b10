// Package nodelet runs pods on one host. Its root is the vocabulary (what a container, an exit, an
// assignment and a report are), the small interfaces that a host must offer, and the lifecycle: one
// pure state machine per pod with a goroutine around it. The children implement the interfaces:
// containerd and sim the Runtime and Images, network the Network, volume the Volumes, journal the
// Journal, stream the log files; session carries assignments and reports.
package nodelet
