package costs

import (
	"fmt"
	"math/big"
	"math/bits"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// worth is what segments come to at list, without rounding: sizes × times by item, in whole numbers, and what isn't one,
// which bursts aren't where their segment is cut.
type worth struct {
	items map[*billing.Item]*wide
	more  big.Rat // money
	wants []want  // of the segment at hand
	rate  []billing.Meter
}

// wide is a number of 128 bits.
type wide struct{ hi, lo uint64 }

func (w *wide) add(o wide) {
	var carry uint64
	w.lo, carry = bits.Add64(w.lo, o.lo, 0)
	w.hi, _ = bits.Add64(w.hi, o.hi, carry)
}

// less answers |w−o| if that fits 64 bits.
func (w wide) distance(o wide) (uint64, bool) {
	if w.hi < o.hi || w.hi == o.hi && w.lo < o.lo {
		w, o = o, w
	}
	lo, borrow := bits.Sub64(w.lo, o.lo, 0)
	hi, _ := bits.Sub64(w.hi, o.hi, borrow)
	return lo, hi == 0
}

func (w wide) times(n uint64) wide {
	hi, lo := bits.Mul64(w.lo, n)
	return wide{hi + w.hi*n, lo}
}

// want is what a segment should have been charged for of an item.
type want struct {
	item  *billing.Item
	held  wide             // thousandths or bytes × milliseconds
	burst *big.Rat         // hours, or nil
	got   billing.Quantity // charged
}

// unit is what thousandths or bytes are of, with the milliseconds of an hour.
func unit(r billing.Resource) uint64 {
	if r == billing.CPU || r == billing.GPU {
		return 1000 * 3_600_000
	}
	return 1 << 30 * 3_600_000
}

// segment adds what a segment comes to within a query's time, and says how its charges differ from it, if they do.
func (w *worth) segment(books *billing.Books, s *usagev1.Segment, q Query, charges []billing.Charge) (wrong string, err error) {
	start, end := s.Start.UnixMilli(), q.now.UnixMilli()
	if !s.Open() {
		end = s.End.UnixMilli()
	}
	from, to := max(start, q.From.UnixMilli()), min(end, q.To.UnixMilli())
	w.wants = w.wants[:0]
	for at := from; at < to; {
		book := books.At(at)
		if book == nil {
			return "", books.Before(at)
		}
		until := to
		if later := books.Boundaries(at, to); len(later) > 0 {
			until = later[0]
		}
		rates, err := book.Rates(s.ComputeClass, s.QoS, s.Region)
		if err != nil {
			return "", err
		}
		size := billing.Size{CPUMilli: s.CPUMilli, MemoryBytes: s.MemoryBytes, GPU: s.GPU, StorageBytes: s.StorageBytes}
		w.rate = book.Meters(w.rate[:0], rates, &size)
		for _, m := range w.rate {
			hi, lo := bits.Mul64(m.Amount, uint64(until-at))
			w.wants = append(w.wants, want{item: m.Item, held: wide{hi, lo}, burst: burst(s, m, until-at, end-start)})
		}
		at = until
	}
	for i := range charges {
		c := &charges[i]
		if c.Minimum {
			continue
		}
		k := 0
		for k < len(w.wants) && w.wants[k].item != c.Item {
			k++
		}
		if k == len(w.wants) {
			return fmt.Sprintf("charged %s hours of %s, of which it had none", c.Quantity.Hours(), c.Item.ID), nil
		}
		w.wants[k].got += c.Quantity
	}
	for i := range w.wants {
		if says := w.take(&w.wants[i]); says != "" && wrong == "" {
			wrong = says
		}
	}
	return wrong, nil
}

// take adds what is wanted to the sums, and compares it with what was charged: a quantity is a difference of two that
// were rounded to 1e-9 hours, and so may that of a burst be.
func (w *worth) take(x *want) (wrong string) {
	if w.items == nil {
		w.items = map[*billing.Item]*wide{}
	}
	sum := w.items[x.item]
	if sum == nil {
		sum = &wide{}
		w.items[x.item] = sum
	}
	sum.add(x.held)
	per := unit(x.item.SKU.Resource)
	if x.burst == nil {
		// got/1e9 hours against held/per.
		hi, lo := bits.Mul64(uint64(x.got), per)
		if off, near := x.held.times(1_000_000_000).distance(wide{hi, lo}); x.got < 0 || !near || off > 2*per {
			return fmt.Sprintf("%s: charged %s hours, held %s", x.item.ID, x.got.Hours(), held(x.held, per).FloatString(12))
		}
		return ""
	}
	w.more.Add(&w.more, new(big.Rat).Mul(x.burst, price(x.item)))
	hours := held(x.held, per)
	hours.Add(hours, x.burst)
	if off := new(big.Rat).Sub(hours, big.NewRat(int64(x.got), 1_000_000_000)); off.Abs(off).Cmp(big.NewRat(4, 1_000_000_000)) > 0 {
		return fmt.Sprintf("%s: charged %s hours, held %s with its burst", x.item.ID, x.got.Hours(), hours.FloatString(12))
	}
	return ""
}

func held(w wide, per uint64) *big.Rat {
	n := new(big.Int).Lsh(new(big.Int).SetUint64(w.hi), 64)
	n.Add(n, new(big.Int).SetUint64(w.lo))
	return new(big.Rat).SetFrac(n, new(big.Int).SetUint64(per))
}

func price(i *billing.Item) *big.Rat { return rat(billing.Quantity(1_000_000_000).At(i.Price)) }

// burst is what a segment had beyond the billed size, in hours, of a part of its time. It is spread over all of it. What
// a grid makes the billed size larger by is paid for.
func burst(s *usagev1.Segment, m billing.Meter, part, length int64) *big.Rat {
	var had, paid, per int64
	switch m.Item.SKU.Resource {
	case billing.CPU:
		had, paid, per = s.Burst.CPUMillis, int64(m.Amount)-s.CPUMilli, 1000
	case billing.Memory:
		had, paid, per = s.Burst.MemoryMillis, (int64(m.Amount)-s.MemoryBytes)>>20, 1024
	default:
		return nil
	}
	if had -= paid * s.Burst.Millis; had <= 0 {
		return nil
	}
	hours := big.NewRat(had, per*3_600_000)
	return hours.Mul(hours, big.NewRat(part, length))
}

// sum is what everything comes to.
func (w *worth) sum() *big.Rat {
	sum := new(big.Rat).Set(&w.more)
	for item, of := range w.items {
		money := held(*of, unit(item.SKU.Resource))
		sum.Add(sum, money.Mul(money, price(item)))
	}
	return sum
}
