package v1alpha1

// BillVerification is what a check of a period's bill found: GET …/billing/verify. Money is in exact decimals.
type BillVerification struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Currency string `json:"currency"`
	OK       bool   `json:"ok"` // nothing was found

	Segments      int64 `json:"segments"`      // that were worked out again
	Charges       int64 `json:"charges"`       // that they were compared with
	Lifecycles    int64 `json:"lifecycles"`    // of ended pods, compared with when they were metered
	PlanIntervals int64 `json:"planIntervals"` // whose commitment was compared with what it bought and left
	Invoices      int64 `json:"invoices"`      // that were worked out again

	List      string `json:"list"`      // the sum of the charges without plans
	Exact     string `json:"exact"`     // the sum of sizes × time × prices, to 18 places
	Rounding  string `json:"rounding"`  // list less exact: what rounding quantities came to
	Billed    string `json:"billed"`    // with plans and adjustments
	Effective string `json:"effective"` // with commitments laid onto use

	FindingsTotal int64         `json:"findingsTotal"`
	Findings      []BillFinding `json:"findings,omitempty"` // the first thousand
}

// BillFinding is a place where a bill isn't right.
type BillFinding struct {
	// Kind: missing (time that wasn't metered), double (metered twice, or while nothing ran), amount (of a segment),
	// product (quantity × price), unknown (charged, and not recorded), plan, invoice, conflict.
	Kind    string `json:"kind"`
	Project string `json:"project,omitempty"`
	Pod     string `json:"pod,omitempty"`
	PodUID  string `json:"podUID,omitempty"`
	Segment string `json:"segment,omitempty"` // UID/generation/sequence
	From    string `json:"from,omitempty"`
	To      string `json:"to,omitempty"`
	Message string `json:"message"`
}
