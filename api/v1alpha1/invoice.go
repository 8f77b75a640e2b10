package v1alpha1

import "time"

// Invoice is what an account was charged for a period, as it was known when it was closed: POST and GET
// …/billing/invoices. It doesn't change any more. Money is in exact decimals.
type Invoice struct {
	ID       string    `json:"id"`
	Account  string    `json:"account"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Currency string    `json:"currency"`
	Total    string    `json:"total"` // to be paid: the lines' sum, rounded as the price book says
	Closed   time.Time `json:"closed,omitzero"`
	Through  int64     `json:"through"` // the newest record of the ledger that it knew

	Lines []InvoiceLine `json:"lines,omitempty"` // of one that is asked for by its id
}

// InvoiceLine is a part of an invoice: what a project used of an SKU, a savings plan's commitment, an adjustment.
type InvoiceLine struct {
	ID          string `json:"id"` // FOCUS's InvoiceDetailId
	Category    string `json:"category"`
	Description string `json:"description"`
	Amount      string `json:"amount"` // exact
}

// InvoiceList are invoices, oldest first.
type InvoiceList struct {
	Items []Invoice `json:"items"`
}
