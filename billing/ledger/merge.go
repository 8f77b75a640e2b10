package ledger

import (
	"container/heap"
	"slices"
)

// source is entries of a day in canonical order: a run, or a sorted list.
type source interface {
	peek() (*entry, error) // the next one, nil after the last; good until advance
	advance()
	close() error
}

// list is a source in memory.
type list []entry

func newList(entries []entry) *list {
	slices.SortFunc(entries, func(a, b entry) int { return compareEntries(&a, &b) })
	l := list(entries)
	return &l
}

func (l *list) peek() (*entry, error) {
	if len(*l) == 0 {
		return nil, nil
	}
	return &(*l)[0], nil
}

func (l *list) advance()     { *l = (*l)[1:] }
func (l *list) close() error { return nil }

// merge calls fn with the entries of sources in canonical order.
func merge(sources []source, fn func(*entry) error) error {
	var h sourceHeap
	for _, s := range sources {
		e, err := s.peek()
		if err != nil {
			return err
		}
		if e != nil {
			h = append(h, head{s, e})
		}
	}
	heap.Init(&h)
	for len(h) > 0 {
		top := &h[0]
		if err := fn(top.entry); err != nil {
			return err
		}
		top.source.advance()
		var err error
		switch top.entry, err = top.source.peek(); {
		case err != nil:
			return err
		case top.entry == nil:
			heap.Pop(&h)
		case len(h) > 1:
			heap.Fix(&h, 0)
		}
	}
	return nil
}

// head is a source and its next entry.
type head struct {
	source source
	entry  *entry
}

type sourceHeap []head

func (h sourceHeap) Len() int           { return len(h) }
func (h sourceHeap) Less(i, j int) bool { return compareEntries(h[i].entry, h[j].entry) < 0 }
func (h sourceHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *sourceHeap) Push(x any)        { *h = append(*h, x.(head)) }
func (h *sourceHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
