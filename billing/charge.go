package billing

import usagev1 "swell.dev/swell/api/usage/v1"

// Line is what one segment used of one item in a part of its time that no boundary crosses (a change of price, the
// end of a plan's interval, of a report's step). Its quantity is the difference of what the segment has used by
// the part's end and by its beginning, each rounded, so that the lines of a segment sum to the same whatever the
// boundaries are.
type Line struct {
	Segment  *usagev1.Segment
	From, To int64 // Unix milliseconds
	Item     *Item
	Quantity Quantity // bursts included
	Burst    Quantity // of it, beyond the size
	Minimum  bool     // it isn't use, but what is missing to the book's minimum duration
}

// List is what the line costs without plans.
func (l *Line) List() Money { return l.Quantity.At(l.Item.Price) }

// Kind of a charge.
type Kind uint8

// The kinds.
const (
	Usage      Kind = iota // a line, or the part of one that a plan covers, or that none does
	Purchase               // a plan's commitment of one interval
	Unused                 // what an interval left of a commitment
	Adjustment             // money given or taken by an operator, with a reason
)

var kindNames = []string{"usage", "purchase", "unused", "adjustment"}

func (k Kind) String() string { return kindNames[k] }

// Charge is a row of a bill. Three sums say what it costs: List without plans; Billed, what is to be paid for it;
// Effective, what it costs when a plan's commitment is laid onto the use that it covers. Over a plan's interval the
// sum of Effective (usage and unused) is the sum of Billed (the purchase), whose List is nothing, since without plans
// there would be none. A correction has the difference to what was invoiced, and may be negative.
type Charge struct {
	Kind       Kind
	From, To   int64 // Unix milliseconds
	Account    string
	Project    string           // namespace; empty for a plan's own charges
	Segment    *usagev1.Segment // of usage; valid as long as the charge is
	Item       *Item            // of usage
	Quantity   Quantity         // of usage
	Burst      Quantity         // of it, beyond the size
	Minimum    bool             // see Line
	Plan       *Plan            // whose commitment it is, or covers it; nil at list
	List       Money
	Billed     Money
	Effective  Money
	Correction string // the invoice that it corrects
	Invoice    string // the invoice that it is in, of a statement; empty: none yet
	Adjustment string // id and reason of an adjustment
}

// Cell is what a project used of an item in a slice of time that no boundary crosses: the sum of its lines.
type Cell struct {
	From, To int64 // Unix milliseconds
	Account  string
	Project  string
	Item     *Item
	Quantity Quantity
}
