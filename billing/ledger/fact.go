package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// append appends a fact. While a database can't be reached the caller is told so.
func (l *Ledger) append(ctx context.Context, f *fact, guard func([]fact) (bool, error)) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return l.store.append(ctx, f, guard)
}

// once is the guard of a fact whose id may be given again, with the same body.
func (f *fact) once(more func(known []fact) error) func([]fact) (bool, error) {
	return func(known []fact) (bool, error) {
		for i := range known {
			if known[i].id == f.id {
				if bytes.Equal(known[i].body, f.body) {
					return true, nil
				}
				return false, fmt.Errorf("%s %s: it is recorded with other contents: choose another id", f.kind, f.id)
			}
		}
		if more == nil {
			return false, nil
		}
		return false, more(known)
	}
}

// facts answers all of a kind, oldest first, each decoded by one.
func (l *Ledger) facts(ctx context.Context, kind, subject string, one func(*fact) error) error {
	snap, err := l.store.snapshot(ctx)
	if err != nil {
		return err
	}
	defer snap.close()
	all, err := snap.facts(ctx, kind, subject, 0)
	if err != nil {
		return err
	}
	for i := range all {
		if err := one(&all[i]); err != nil {
			return fmt.Errorf("%s %s: %w", kind, all[i].id, err)
		}
	}
	return nil
}

// Adjustment is money that an operator gives (negative) or takes.
type Adjustment struct {
	ID      string        `json:"id"`
	Project string        `json:"project,omitempty"` // empty: the account as such
	Account string        `json:"account"`
	At      time.Time     `json:"at"` // when it counts
	Amount  billing.Money `json:"amount"`
	Reason  string        `json:"reason"`
	By      string        `json:"by"`

	Record int64 `json:"-"` // added by the ledger
}

// Adjust appends an adjustment, once per id.
func (l *Ledger) Adjust(ctx context.Context, a Adjustment) error {
	for field, value := range map[string]string{"id": a.ID, "account": a.Account, "reason": a.Reason, "by": a.By} {
		if value == "" {
			return fmt.Errorf("adjustment %s: %s is empty", a.ID, field)
		}
	}
	if a.At.IsZero() || a.Amount.IsZero() {
		return fmt.Errorf("adjustment %s: want a time and an amount that isn't zero", a.ID)
	}
	a.At = a.At.UTC().Truncate(time.Millisecond)
	body, err := json.Marshal(&a)
	if err != nil {
		return fmt.Errorf("adjustment %s: %w", a.ID, err)
	}
	f := &fact{kind: kindAdjustment, id: a.ID, subject: a.Account, body: body}
	return l.append(ctx, f, f.once(nil))
}

// Adjustments answers those that count in [from, to), oldest record first; a zero time doesn't bound.
func (l *Ledger) Adjustments(ctx context.Context, from, to time.Time) ([]Adjustment, error) {
	var out []Adjustment
	err := l.facts(ctx, kindAdjustment, "", func(f *fact) error {
		a := Adjustment{Record: f.record}
		err := json.Unmarshal(f.body, &a)
		if !a.At.Before(from) && (to.IsZero() || a.At.Before(to)) {
			out = append(out, a)
		}
		return err
	})
	return out, err
}

// RememberBook notes the contents of a version of the price book. A version stands for the same contents for ever.
func (l *Ledger) RememberBook(ctx context.Context, version, digest, text string) error {
	body, err := json.Marshal(&Book{Version: version, Digest: digest, Text: text})
	if err != nil {
		return fmt.Errorf("price book %s: %w", version, err)
	}
	f := &fact{kind: kindBook, id: version, subject: version, body: body}
	return l.append(ctx, f, func(known []fact) (bool, error) {
		for i := range known {
			if !bytes.Equal(known[i].body, body) {
				return false, fmt.Errorf("price book %s: bills were made by other contents of this version: give the changed book a version of its own", version)
			}
			return true, nil
		}
		return false, nil
	})
}

// Book is a version of the price book that bills were made by.
type Book struct {
	Version string `json:"version"`
	Digest  string `json:"digest"`
	Text    string `json:"text"`
}

// Books answers them, oldest first.
func (l *Ledger) Books(ctx context.Context) ([]Book, error) {
	var out []Book
	err := l.facts(ctx, kindBook, "", func(f *fact) error {
		out = append(out, Book{})
		return json.Unmarshal(f.body, &out[len(out)-1])
	})
	return out, err
}

// Refusal is a segment that doesn't count: see ConflictError.
type Refusal struct {
	Segment usagev1.Segment `json:"segment"`
	Expired bool            `json:"expired,omitempty"`

	Record int64     `json:"-"`
	At     time.Time `json:"-"` // when it arrived
}

// Refused answers what was refused, oldest first. A copy that came many times is there once.
func (l *Ledger) Refused(ctx context.Context) ([]Refusal, error) {
	var out []Refusal
	err := l.facts(ctx, kindRefused, "", func(f *fact) error {
		out = append(out, Refusal{Record: f.record, At: f.at})
		return json.Unmarshal(f.body, &out[len(out)-1])
	})
	return out, err
}

// refusal is the fact that a row was refused.
func refusal(r *row) (*fact, error) {
	body, err := json.Marshal(&Refusal{Segment: *r.segment, Expired: r.verdict == expired})
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", r.segment.ID, err)
	}
	subject := r.segment.ID.String()
	return &fact{kind: kindRefused, id: fmt.Sprintf("%s#%016x", subject, uint64(r.digest)), subject: subject, body: body}, nil
}
