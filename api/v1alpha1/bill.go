// Package v1alpha1 is Swell's own API group, swell.dev/v1alpha1, and the annotations it puts on pods.
package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Group and Version of the API.
const (
	Group   = "swell.dev"
	Version = "v1alpha1"
)

// Bill is what one pod has cost so far. It is computed, never stored; its name is the pod's name and its
// uid the pod's uid (a name may have been used by several pods). Served read-only as
// /apis/swell.dev/v1alpha1/[namespaces/NS/]bills.
type Bill struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Currency string     `json:"currency"`
	Lines    []BillLine `json:"lines"`
	Total    BillTotal  `json:"total"`
	Burst    BillBurst  `json:"burst,omitzero"` // what of the total came on top of the sizes
}

// BillLine is one segment, or the part of one in which one version of the price book holds, priced at list. Segments
// that go on at the same size on the following days, at whose ends every segment ends, are one line with the first.
type BillLine struct {
	Generation   int64       `json:"generation"`
	Sequence     int64       `json:"sequence"`
	LastSequence int64       `json:"lastSequence,omitempty"` // of the last segment, where the line is of several
	ComputeClass string      `json:"computeClass"`
	QoS          string      `json:"qos"`
	CPUMilli     int64       `json:"cpuMilli"`
	MemoryBytes  int64       `json:"memoryBytes"`
	Billed       *BilledSize `json:"billed,omitempty"` // absent where the size itself is billed
	GPU          *BilledGPU  `json:"gpu,omitempty"`
	StorageBytes int64       `json:"storageBytes,omitempty"` // ephemeral storage, what is included too
	Region       string      `json:"region,omitempty"`
	Prices       string      `json:"prices"`            // version of the price book
	Minimum      bool        `json:"minimum,omitempty"` // no use, but what is missing to the book's minimum duration
	Start        metav1.Time `json:"start"`
	End          metav1.Time `json:"end,omitzero"` // absent while the segment is open
	BillTotal    `json:",inline"`
	Burst        BillBurst `json:"burst,omitzero"` // what of these sums came on top of the size
}

// BilledSize is what the price book's grid makes of a size.
type BilledSize struct {
	CPUMilli    int64 `json:"cpuMilli"`
	MemoryBytes int64 `json:"memoryBytes"`
}

// BilledGPU is a share of GPUs of one model.
type BilledGPU struct {
	Model     string `json:"model"`
	Milli     int64  `json:"milli"` // thousandths of a whole GPU
	MemoryMiB int64  `json:"memoryMiB"`
}

// BillBurst is what a pod had beyond its size.
type BillBurst struct {
	BillTotal `json:",inline"` // Milliseconds: with any burst
}

// BillTotal holds quantities in thousandths, rounded, and money exactly.
type BillTotal struct {
	Milliseconds           int64  `json:"milliseconds"`
	VCPUMilliseconds       int64  `json:"vcpuMilliseconds"`                 // vCPU × milliseconds
	GiBMilliseconds        int64  `json:"gibMilliseconds"`                  // GiB × milliseconds
	GPUMilliseconds        int64  `json:"gpuMilliseconds,omitempty"`        // GPUs × milliseconds
	GPUGiBMilliseconds     int64  `json:"gpuGiBMilliseconds,omitempty"`     // GiB of GPUs' memory × milliseconds, if it has a price
	StorageGiBMilliseconds int64  `json:"storageGiBMilliseconds,omitempty"` // GiB beyond what is included × milliseconds
	Cost                   string `json:"cost"`                             // a decimal, exact
}

// BillList is a list of bills.
type BillList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []Bill `json:"items"`
}
