package v1alpha1

// BillReport is what was charged in a time, summed by what it was asked for. It is worked out, never stored; served as
// /apis/swell.dev/v1alpha1/[namespaces/NS/]billing/report. Amounts, hours and seconds are decimals with all their
// places, as strings, since no JSON number is exact. Times are RFC 3339.
type BillReport struct {
	APIVersion    string          `json:"apiVersion"`
	Kind          string          `json:"kind"`
	From          string          `json:"from"`
	To            string          `json:"to"` // isn't part of it
	Zone          string          `json:"zone"`
	Step          string          `json:"step"`             // none, hour, day, month
	By            []string        `json:"by"`               // dimensions, in the order of the rows' keys
	Filter        []string        `json:"filter,omitempty"` // DIMENSION=VALUE
	LabelSelector string          `json:"labelSelector,omitempty"`
	Currency      string          `json:"currency"`
	Rows          []BillReportRow `json:"rows"`
	Total         BillReportSums  `json:"total"`
	Charges       int64           `json:"charges"`           // that were summed
	LeftOut       int64           `json:"leftOut,omitempty"` // groups in rows of others, at least

	Overview *BillOverview `json:"overview,omitempty"` // if asked for
}

// BillReportRow is what a group was charged in a step.
type BillReportRow struct {
	From           string   `json:"from"`
	To             string   `json:"to"`
	Key            []string `json:"key"`
	Others         bool     `json:"others,omitempty"` // all groups that have no row of their own
	BillReportSums `json:",inline"`
}

// BillReportSums are what charges come to.
type BillReportSums struct {
	Seconds           string `json:"seconds"` // of pods
	VCPUHours         string `json:"vcpuHours"`
	MemoryGiBHours    string `json:"memoryGiBHours"`
	GPUHours          string `json:"gpuHours"`
	GPUMemoryGiBHours string `json:"gpuMemoryGiBHours"`
	StorageGiBHours   string `json:"storageGiBHours"`
	List              string `json:"list"`            // without plans
	Billed            string `json:"billed"`          // to be paid
	Effective         string `json:"effective"`       // with commitments laid onto the use that they cover
	Saving            string `json:"saving"`          // list less effective
	Burst             string `json:"burst"`           // of list, for what was used beyond sizes
	Share             string `json:"share,omitempty"` // of the total's effective, to six places
}

// BillOverview is what stands around a report.
type BillOverview struct {
	Plans     []BillPlanUse   `json:"plans"`
	Projects  []BillMover     `json:"projects"`  // that changed most
	Workloads []BillMover     `json:"workloads"` // that changed most
	Before    BillBefore      `json:"before"`
	Resized   []BillPodSizes  `json:"resized"` // pods, the most resized first
	Resizes   int             `json:"resizes"` // of all pods
	Steps     []BillReportRow `json:"steps"`   // by project, over time
}

// BillBefore is the time that movers are compared with.
type BillBefore struct {
	From  string         `json:"from"`
	To    string         `json:"to"`
	Total BillReportSums `json:"total"`
}

// BillPlanUse is what became of a plan's commitment on a day of its zone.
type BillPlanUse struct {
	Plan        string `json:"plan"`
	Day         string `json:"day"`
	Commitment  string `json:"commitment"`
	Used        string `json:"used"`
	Unused      string `json:"unused"`
	Utilisation string `json:"utilisation,omitempty"` // used/commitment, to six places
	List        string `json:"list"`                  // what the covered use would have cost
}

// BillMover is what something costs, with plans, and cost before.
type BillMover struct {
	Name   string `json:"name"`
	Now    string `json:"now"`
	Before string `json:"before"`
	Change string `json:"change"`
}

// BillPodSizes is a pod's size over time.
type BillPodSizes struct {
	Project string        `json:"project"`
	Pod     string        `json:"pod"`
	UID     string        `json:"uid"`
	Resizes int           `json:"resizes"`
	Sizes   []BillPodSize `json:"sizes"`
}

// BillPodSize is a size for a time.
type BillPodSize struct {
	From        string `json:"from"`
	To          string `json:"to"`
	CPUMilli    int64  `json:"cpuMilli"`
	MemoryBytes int64  `json:"memoryBytes"`
	GPUMilli    int64  `json:"gpuMilli,omitempty"`
}
