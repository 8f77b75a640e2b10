// Package containerd runs containers with containerd v2 and runc.
//
// Child runs a containerd of Swell's own beside whatever else is on the host; Runtime and Images work
// with it, or with any containerd whose socket they are given. What they make is in one containerd
// namespace and carries labels with the pod's identity, so that a nodelet that starts again finds
// everything by asking.
//
// There is no pause container. A pod's containers share one shim, which containerd-shim-runc-v2 finds
// by the annotation groupAnnotation. The shim lives until its last container is deleted; which of them
// came first doesn't matter to it. A pod's network namespace is given to each container by path. IPC,
// UTS and PID namespaces are each container's own, all with the pod's hostname.
package containerd
