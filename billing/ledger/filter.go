package ledger

import (
	"cmp"
	"strings"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// Filter chooses segments; a zero field chooses all.
type Filter struct {
	Namespace, Pod, UID string
	From, To            time.Time // those that touch [From, To)
	Through             int64     // those recorded up to this record, corrected as known then; open ones aren't recorded
}

func (f *Filter) matches(s *usagev1.Segment) bool {
	return (f.UID == "" || s.PodUID == f.UID) && (f.Namespace == "" || s.Namespace == f.Namespace) && (f.Pod == "" || s.Pod == f.Pod) &&
		f.touches(s.Start, s.End)
}

// touches reports whether an interval, open where the end is zero, has a part in [From, To).
func (f *Filter) touches(start, end time.Time) bool {
	return (f.To.IsZero() || start.Before(f.To)) && (f.From.IsZero() || end.IsZero() || end.After(f.From))
}

// recorded reports whether a record is within what is asked for.
func (f *Filter) recorded(record int64) bool { return f.Through == 0 || record <= f.Through }

const dayMillis = 24 * 60 * 60 * 1000

// dayOf is the number of the UTC day since 1970 that holds a time in Unix milliseconds.
func dayOf(ms int64) int64 {
	day := ms / dayMillis
	if ms%dayMillis < 0 {
		day--
	}
	return day
}

// compare is the canonical order: day of the start, pod UID, generation, sequence.
func compare(a, b *usagev1.Segment) int {
	return cmp.Or(cmp.Compare(dayOf(a.Start.UnixMilli()), dayOf(b.Start.UnixMilli())), strings.Compare(a.PodUID, b.PodUID),
		cmp.Compare(a.Generation, b.Generation), cmp.Compare(a.Sequence, b.Sequence))
}
