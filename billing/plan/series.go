package plan

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"swell.dev/swell/billing"
)

// series are the cells of one project and item, by time: where use is shared in proportion, cells of a series stand
// next to each other, so that a cell that is cut into more gets the same as its parts.
type series struct {
	seriesKey
	cells []int32
}

type seriesKey struct {
	account, project string
	item             *billing.Item
}

func (k seriesKey) String() string {
	return fmt.Sprintf("use of %s by project %q of account %q", k.item.ID, k.project, k.account)
}

// seriesOf sorts cells into series, in an order that depends on what the cells say alone.
func seriesOf(cells []billing.Cell, from, to int64) ([]series, error) {
	index := map[seriesKey]int{}
	var all []series
	var last int
	for i := range cells {
		c := &cells[i]
		key := seriesKey{c.Account, c.Project, c.Item}
		if len(all) == 0 || all[last].seriesKey != key {
			var known bool
			if last, known = index[key]; !known {
				last = len(all)
				index[key] = last
				all = append(all, series{seriesKey: key})
			}
		}
		if c.From > c.To || c.From < from || c.To > to || c.Quantity < 0 {
			return nil, fmt.Errorf("%s: %d × 1e-9 from %s to %s: want a quantity that isn't negative, between %s and %s",
				key, c.Quantity, instant(c.From), instant(c.To), instant(from), instant(to))
		}
		all[last].cells = append(all[last].cells, int32(i))
	}
	for _, s := range all {
		inTime := func(a, b int32) int {
			return cmp.Or(cmp.Compare(cells[a].From, cells[b].From), cmp.Compare(cells[a].To, cells[b].To),
				cmp.Compare(cells[a].Quantity, cells[b].Quantity))
		}
		if !slices.IsSortedFunc(s.cells, inTime) {
			slices.SortFunc(s.cells, inTime)
		}
	}
	slices.SortFunc(all, func(a, b series) int {
		return cmp.Or(strings.Compare(a.account, b.account), strings.Compare(a.project, b.project), strings.Compare(a.item.ID, b.item.ID),
			strings.Compare(a.item.Version, b.item.Version), cmp.Compare(a.item.Price, b.item.Price))
	})
	return all, nil
}

// within visits the cells of a series that lie in one of the spans, which follow each other without gaps.
func (s *series) within(cells []billing.Cell, spans []span, visit func(cell int32, span int)) {
	if len(spans) == 0 {
		return
	}
	first := sort.Search(len(s.cells), func(i int) bool { return cells[s.cells[i]].From >= spans[0].from })
	k := 0
	for _, c := range s.cells[first:] {
		at := cells[c].From
		for k < len(spans) && spans[k].to <= at {
			k++
		}
		if k == len(spans) {
			return
		}
		visit(c, k)
	}
}

// crosses answers the first boundary of the spans that a cell of the series crosses.
func (s *series) crosses(cells []billing.Cell, spans []span) (at int64, ok bool) {
	for _, c := range s.cells {
		from, to := cells[c].From, cells[c].To
		if k := sort.Search(len(spans), func(k int) bool { return spans[k].to > from }); k < len(spans) {
			if cut := spans[k].from; from < cut && cut < to {
				return cut, true
			}
			if cut := spans[k].to; cut < to {
				return cut, true
			}
		}
	}
	return 0, false
}

func instant(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.999Z") }
