package ledger

import (
	"context"
	"errors"
	"math"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// store keeps what a ledger is told. It is safe for concurrent use, but has one writer at a time; what it has
// answered without an error is durable.
type store interface {
	// record adds segments and lifecycles, all or none, and sets the rows' verdicts. Rows may have
	// ids in common; the first of them stands.
	record(ctx context.Context, rows []*row, lives []Lifecycle) error
	// append adds a fact, unless the guard, told what is known of its kind with its subject or id, refuses it or
	// finds that it is there already.
	append(ctx context.Context, f *fact, guard func(known []fact) (there bool, err error)) error
	snapshot(ctx context.Context) (snapshot, error)
	// tend does what is to be done in the background: it prepares partitions, packs what has arrived, and drops days of
	// which everything ended before the horizon (Unix milliseconds). What ended before it isn't recorded any more.
	tend(ctx context.Context, now time.Time, horizon int64) error
	// urgent is sent to when something is to be done before its time, which relieve does.
	urgent() <-chan struct{}
	relieve(ctx context.Context, now time.Time) error
	close() error
}

// noHorizon is before all.
const noHorizon = math.MinInt64

// snapshot is what a store held at one moment.
type snapshot interface {
	// newest is the newest record.
	newest(ctx context.Context) (int64, error)
	// known answers which of the ids are recorded.
	known(ctx context.Context, ids []usagev1.ID) (map[usagev1.ID]bool, error)
	// segments calls fn with those that a filter chooses, as they were recorded, in canonical order. They are fn's
	// until it returns.
	segments(ctx context.Context, f *Filter, fn func(*usagev1.Segment) error) error
	// spans calls fn with the id, the start and the end (Unix milliseconds) of all segments, by pod, generation and
	// sequence.
	spans(ctx context.Context, fn func(id usagev1.ID, start, end int64) error) error
	// facts answers those of a kind, and of a subject if that isn't empty, later than a record, oldest first.
	facts(ctx context.Context, kind, subject string, after int64) ([]fact, error)
	lifecycles(ctx context.Context, f *Filter, fn func(*Lifecycle) error) error
	close() error
}

// fact is something said once and kept as JSON.
type fact struct {
	record  int64
	at      time.Time // when it was recorded
	kind    string
	id      string // unique in its kind
	subject string // what it is about
	body    []byte
}

// Kinds of facts.
const (
	kindCorrection = "correction" // subject: the segment's id
	kindAdjustment = "adjustment"
	kindInvoice    = "invoice" // subject: the account
	kindBook       = "book"
	kindRefused    = "refused" // subject: the segment's id
)

// errUnreachable is of a store that doesn't answer for now: what is asked of it may succeed later.
var errUnreachable = errors.New("the database can't be reached")

// StoreError is what the database says, as opposed to what is wrong with what it was asked.
type StoreError struct {
	Where string // the folder, or the database without its password
	Err   error
}

func (e *StoreError) Error() string { return "ledger " + e.Where + ": " + e.Err.Error() }

// Unwrap answers the database's error.
func (e *StoreError) Unwrap() error { return e.Err }
