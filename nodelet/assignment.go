package nodelet

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Assignment is a pod that this node shall run, with everything it refers to. The pod's spec is desired;
// what is admitted, and so to be actuated, is v1alpha1.Allocated(Pod).
//
// With a Slot it is no pod yet but the template of one, to be made ready so far. An assignment of the same
// UID without a Slot is the pod that takes it.
type Assignment struct {
	Pod        *corev1.Pod
	Encoded    []byte                       `json:",omitempty"` // Pod in protobuf, or nil
	ConfigMaps map[string]*corev1.ConfigMap // by name
	Secrets    map[string]*corev1.Secret    // by name; image pull secrets included
	Slot       SlotDepth                    `json:",omitempty"`
	Boost      *BoostGrant                  `json:"-"` // what the ledger has granted by now; nil: it has decided nothing
}

// Report is what the nodelet has observed of one pod.
type Report struct {
	UID       string
	Namespace string
	Name      string
	Status    corev1.PodStatus // shared: not to be changed
	Encoded   []byte           // Status in protobuf, or nil
	Finished  bool             // every container ended and was removed; nothing of the pod is left on the host
	Events    []Event
	Boost     *BoostReport // nil: it never had one, and wants none
}

// Event becomes a core/v1 Event on the pod. Reasons are the kubelet's.
type Event struct {
	Type      string // Normal or Warning
	Reason    string
	Message   string
	Time      time.Time
	FieldPath string // spec.containers{name}, or empty
}
