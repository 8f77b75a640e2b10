package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"swell.dev/swell/billing"
)

// Invoice closes an account's bill for a period: what it was made of is everything through a record, and what
// comes later for the period is a correction.
type Invoice struct {
	ID       string        `json:"id"`
	Account  string        `json:"account"`
	From     time.Time     `json:"from"`
	To       time.Time     `json:"to"`
	Through  int64         `json:"through"`
	Total    billing.Money `json:"total"`
	Currency string        `json:"currency"`
	Closed   time.Time     `json:"closed"`

	Record int64 `json:"-"` // added by the ledger
}

// CloseInvoice appends an invoice. A time of an account is invoiced once.
func (l *Ledger) CloseInvoice(ctx context.Context, i Invoice) error {
	i.From, i.To, i.Closed = i.From.UTC(), i.To.UTC(), i.Closed.UTC()
	switch {
	case i.ID == "" || i.Account == "" || i.Currency == "":
		return fmt.Errorf("invoice %s: want an id, an account and a currency", i.ID)
	case !i.From.Before(i.To):
		return fmt.Errorf("invoice %s: it is from %s to %s: want a period", i.ID, i.From.Format(time.RFC3339), i.To.Format(time.RFC3339))
	case i.Through < 0:
		return fmt.Errorf("invoice %s: through %d: want a record", i.ID, i.Through)
	}
	body, err := json.Marshal(&i)
	if err != nil {
		return fmt.Errorf("invoice %s: %w", i.ID, err)
	}
	f := &fact{kind: kindInvoice, id: i.ID, subject: i.Account, body: body}
	return l.append(ctx, f, f.once(func(known []fact) error {
		for k := range known {
			var other Invoice
			if err := json.Unmarshal(known[k].body, &other); err != nil {
				return fmt.Errorf("invoice %s: %w", known[k].id, err)
			}
			if other.Account == i.Account && other.From.Before(i.To) && i.From.Before(other.To) {
				return fmt.Errorf("invoice %s: account %s is invoiced from %s to %s by %s: want a period that begins or ends there", i.ID, i.Account,
					other.From.Format(time.RFC3339), other.To.Format(time.RFC3339), other.ID)
			}
		}
		return nil
	}))
}

// Invoices answers them, oldest record first.
func (l *Ledger) Invoices(ctx context.Context) ([]Invoice, error) {
	var out []Invoice
	err := l.facts(ctx, kindInvoice, "", func(f *fact) error {
		out = append(out, Invoice{Record: f.record})
		return json.Unmarshal(f.body, &out[len(out)-1])
	})
	return out, err
}
