package v1alpha1

// PriceBookList is the versions of the price book that a control plane bills by: GET …/billing/prices.
type PriceBookList struct {
	Currency string      `json:"currency"`
	Items    []PriceBook `json:"items"` // by date
}

// PriceBook is one version.
type PriceBook struct {
	Version   string      `json:"version"`
	Effective string      `json:"effective"` // RFC 3339: from when on it holds
	InForce   bool        `json:"inForce"`   // now
	Prices    []BookPrice `json:"prices"`
	Text      string      `json:"text"` // the file
}

// BookPrice is what one item costs.
type BookPrice struct {
	Item    string `json:"item"` // class/QoS/resource[/model][@region]
	PerHour string `json:"perHour"`
	Unit    string `json:"unit"` // vCPU-Hours, GiB-Hours, GPU-Hours
}
