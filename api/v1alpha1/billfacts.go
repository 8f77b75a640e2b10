package v1alpha1

// BillCorrection says what a recorded segment should have said, or that it should not have been. POST
// …/billing/corrections records one; GET answers those of a period. Nothing is edited: the newest correction of a
// segment counts, and what it changes in an invoiced period is in the next invoice.
type BillCorrection struct {
	Segment BillSegmentID `json:"segment"`
	// Void: the segment should not have been. Otherwise what differs from what was recorded is given; the rest stays.
	Void        bool   `json:"void,omitempty"`
	CPUMilli    *int64 `json:"cpuMilli,omitempty"`
	MemoryBytes *int64 `json:"memoryBytes,omitempty"`
	Start       string `json:"start,omitempty"` // RFC 3339
	End         string `json:"end,omitempty"`
	Class       string `json:"computeClass,omitempty"`
	QoS         string `json:"qos,omitempty"`
	NoBurst     bool   `json:"noBurst,omitempty"` // the segment's burst wasn't
	Reason      string `json:"reason"`
	By          string `json:"by,omitempty"` // answered: who said so
	At          string `json:"at,omitempty"` // answered: when
}

// BillSegmentID names a segment.
type BillSegmentID struct {
	PodUID     string `json:"podUID"`
	Generation int64  `json:"generation"`
	Sequence   int64  `json:"sequence"`
}

// BillAdjustment is money that an operator gives (negative) or takes. POST …/billing/adjustments records one, once
// per id; GET answers those of a period.
type BillAdjustment struct {
	ID      string `json:"id"`
	Account string `json:"account,omitempty"` // of the project, where that is given
	Project string `json:"project,omitempty"`
	At      string `json:"at,omitempty"` // RFC 3339; now
	Amount  string `json:"amount"`       // a decimal
	Reason  string `json:"reason"`
	By      string `json:"by,omitempty"` // answered
}
