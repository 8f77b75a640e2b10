package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// oracle is a ledger that keeps everything in a list and looks at all of it for each question.
type oracle struct {
	closed      []usagev1.Segment
	corrections []Correction
	open        map[string][]usagev1.Segment
	// marks are records, with how much had been said by then.
	marks []mark
}

type mark struct {
	record              int64
	closed, corrections int
}

// record answers what conflicts.
func (o *oracle) record(segments []usagev1.Segment) (conflicts []usagev1.ID) {
	for _, s := range segments {
		i := slices.IndexFunc(o.closed, func(k usagev1.Segment) bool { return k.ID == s.ID })
		switch {
		case i < 0:
			o.closed = append(o.closed, s)
		case !sameButRegion(o.closed[i], s):
			conflicts = append(conflicts, s.ID)
		}
	}
	return conflicts
}

func sameButRegion(a, b usagev1.Segment) bool {
	b.Region = a.Region
	return reflect.DeepEqual(a, b)
}

func (o *oracle) segments(f Filter, m mark) []usagev1.Segment {
	known := map[usagev1.ID]usagev1.Segment{}
	for _, s := range o.closed[:m.closed] {
		known[s.ID] = s
	}
	for _, c := range o.corrections[:m.corrections] {
		if delete(known, c.ID); !c.Void {
			known[c.ID] = *c.Segment
		}
	}
	if f.Through == 0 {
		for _, list := range o.open {
			for _, s := range list {
				if !slices.ContainsFunc(o.closed, func(k usagev1.Segment) bool { return k.ID == s.ID }) {
					known[s.ID] = s
				}
			}
		}
	}
	var out []usagev1.Segment
	for _, s := range known {
		if (f.UID == "" || s.PodUID == f.UID) && (f.Namespace == "" || s.Namespace == f.Namespace) && (f.Pod == "" || s.Pod == f.Pod) &&
			(f.To.IsZero() || s.Start.Before(f.To)) && (f.From.IsZero() || s.Open() || s.End.After(f.From)) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b usagev1.Segment) int {
		key := func(s usagev1.Segment) string {
			return fmt.Sprintf("%s %s/%08d/%08d", s.Start.Format(time.DateOnly), s.PodUID, s.Generation, s.Sequence)
		}
		return strings.Compare(key(a), key(b))
	})
	return out
}

// world makes segments of pods that live over some days, resized now and then, some for days on end.
func world(r *rand.Rand, pods int) []usagev1.Segment {
	var out []usagev1.Segment
	for p := range pods {
		uid := fmt.Sprintf("uid-%d", p)
		if r.IntN(4) > 0 {
			raw := uuid.UUID{}
			for i := range raw {
				raw[i] = byte(r.Uint32())
			}
			uid = raw.String()
		}
		at := begin.Add(time.Duration(r.Int64N(4*86400_000)) * time.Millisecond)
		generation := int64(1)
		for seq := range 1 + r.Int64N(6) {
			s := usagev1.Segment{
				ID: usagev1.ID{PodUID: uid, Generation: generation, Sequence: seq + 1}, Namespace: fmt.Sprint("ns-", p%3), Pod: fmt.Sprint("pod-", p%7),
				Node: fmt.Sprint("node-", r.IntN(5)), ComputeClass: "general-purpose", QoS: "default", CPUMilli: 250 * (1 + r.Int64N(8)), MemoryBytes: 1 << (28 + r.IntN(4)),
				Start: at, Region: []string{"", "eu-1"}[r.IntN(2)],
			}
			if r.IntN(2) == 0 {
				s.Labels = map[string]string{"app": fmt.Sprint(p % 4), "tier": "web"}
			}
			if r.IntN(5) == 0 {
				s.GPU, s.StorageBytes = usagev1.GPU{Model: "H100", Milli: 500, MemoryMiB: 40960}, 20<<30
				s.Burst = usagev1.Burst{Millis: 1, CPUMillis: 2, MemoryMillis: 3}
			}
			length := r.Int64N(3600_000)
			if r.IntN(8) == 0 {
				length = r.Int64N(3 * 86400_000)
			}
			at = at.Add(time.Duration(length) * time.Millisecond)
			s.End = at
			generation += int64(r.IntN(2))
			out = append(out, s)
		}
	}
	return out
}

func (o *oracle) filter(r *rand.Rand, all []usagev1.Segment) (Filter, mark) {
	var f Filter
	m := mark{closed: len(o.closed), corrections: len(o.corrections)}
	s := all[r.IntN(len(all))]
	when := func() time.Time {
		return begin.Add(time.Duration(r.Int64N(9*86400_000)-86400_000) * time.Millisecond)
	}
	for _, set := range []func(){
		func() { f.Namespace = s.Namespace }, func() { f.Pod = s.Pod }, func() { f.UID = s.PodUID },
		func() { f.From = when() }, func() { f.To = when() }, func() { f.From, f.To = s.End, s.Start },
		func() { m = o.marks[r.IntN(len(o.marks))]; f.Through = m.record },
	} {
		if r.IntN(4) == 0 {
			set()
		}
	}
	return f, m
}

// TestAgainstTheOracle records a world in a random order with copies, conflicting copies and corrections, and asks
// for parts of it all the while. Between the steps the store does what it does in the background.
func TestAgainstTheOracle(t *testing.T) {
	eachStore(t, func(t *testing.T, place func() string) {
		for seed := range uint64(2) {
			r := rand.New(rand.NewPCG(seed, 1))
			o := &oracle{open: map[string][]usagev1.Segment{}}
			l := openLedger(t, place())
			shrink(l)
			segments := world(r, 60)
			left := slices.Concat(segments, segments[:len(segments)/2])
			r.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
			for len(left) > 0 {
				n := min(len(left), 1+r.IntN(40))
				batch := left[:n]
				left = left[n:]
				if r.IntN(3) == 0 {
					other := batch[r.IntN(n)]
					other.CPUMilli++
					other.Start = other.Start.Add(-time.Duration(r.IntN(2)) * 48 * time.Hour)
					batch = append(batch[:n:n], other)
				}
				if r.IntN(3) == 0 {
					batch[0].Region = "elsewhere"
				}
				checkRecorded(t, l, batch, o.record(batch))
				if r.IntN(3) == 0 {
					o.correct(t, l, r)
				}
				if r.IntN(3) == 0 {
					o.setOpen(t, l, r, segments)
				}
				if r.IntN(8) == 0 {
					if err := l.tend(t.Context(), begin.Add(time.Duration(r.IntN(9)*24)*time.Hour), 0); err != nil {
						t.Fatal(err)
					}
				}
				if record := newest(t, l); len(o.marks) == 0 || record > o.marks[len(o.marks)-1].record {
					o.marks = append(o.marks, mark{record, len(o.closed), len(o.corrections)})
				}
				for range 4 {
					f, m := o.filter(r, segments)
					if got, want := all(t, l, f), o.segments(f, m); !sameSegments(got, want) {
						t.Fatalf("seed %d, %+v: %d segments, want %d\n%+v\n%+v", seed, f, len(got), len(want), got, want)
					}
				}
			}
			checkCorrections(t, l, o)
			if got := all(t, l, Filter{Through: newest(t, l)}); len(got) < len(segments)/2 {
				t.Fatalf("%d segments of %d", len(got), len(segments))
			}
		}
	})
}

func sameSegments(a, b []usagev1.Segment) bool {
	return slices.EqualFunc(a, b, func(a, b usagev1.Segment) bool { return reflect.DeepEqual(a, b) })
}

func checkRecorded(t *testing.T, l *Ledger, batch []usagev1.Segment, want []usagev1.ID) {
	t.Helper()
	err := l.Record(t.Context(), batch)
	var conflict *ConflictError
	if errors.As(err, &conflict) {
		if !slices.Equal(conflict.IDs, want) {
			t.Fatalf("conflicts are %v, want %v", conflict.IDs, want)
		}
	} else if err != nil || len(want) > 0 {
		t.Fatalf("%v, want the conflicts %v", err, want)
	}
}

func (o *oracle) correct(t *testing.T, l *Ledger, r *rand.Rand) {
	t.Helper()
	is := o.closed[r.IntN(len(o.closed))]
	c := Correction{ID: is.ID, Void: r.IntN(3) == 0, Reason: fmt.Sprint("reason ", r.IntN(1e9)), By: "tester"}
	if !c.Void {
		is.MemoryBytes *= 2
		is.Start = is.Start.Add(-time.Duration(r.Int64N(2*86400_000)) * time.Millisecond)
		c.Segment = &is
	}
	for range 2 { // saying it again adds nothing
		if err := l.Correct(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	o.corrections = append(o.corrections, c)
}

func (o *oracle) setOpen(t *testing.T, l *Ledger, r *rand.Rand, segments []usagev1.Segment) {
	t.Helper()
	node := fmt.Sprint("node-", r.IntN(3))
	var open []usagev1.Segment
	for range r.IntN(5) {
		s := segments[r.IntN(len(segments))]
		s.End, s.Node = time.Time{}, node
		told := func(k usagev1.Segment) bool { return k.ID == s.ID }
		elsewhere := slices.ContainsFunc(open, told)
		for _, list := range o.open {
			elsewhere = elsewhere || slices.ContainsFunc(list, told)
		}
		if !elsewhere {
			open = append(open, s)
		}
	}
	if err := l.SetOpen(t.Context(), node, open); err != nil {
		t.Fatal(err)
	}
	o.open[node] = open
}

func checkCorrections(t *testing.T, l *Ledger, o *oracle) {
	t.Helper()
	got, err := l.Corrections(t.Context(), Filter{})
	if err != nil || len(got) != len(o.corrections) {
		t.Fatalf("%d corrections, want %d (%v)", len(got), len(o.corrections), err)
	}
	for i, c := range got {
		was := o.closed[slices.IndexFunc(o.closed, func(s usagev1.Segment) bool { return s.ID == c.ID })]
		if want := o.corrections[i]; c.ID != want.ID || c.Void != want.Void || c.Reason != want.Reason || !reflect.DeepEqual(c.Segment, want.Segment) || !reflect.DeepEqual(*c.Was, was) {
			t.Fatalf("correction %d is %+v, want %+v of %+v", i, c, want, was)
		}
	}
}
