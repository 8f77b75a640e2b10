package report

import (
	"fmt"
	"testing"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
)

// TestResizesOfManyPods: however many pods there are, those that were resized most are shown, and all resizes of
// pods whose segments come together are counted.
func TestResizesOfManyPods(t *testing.T) {
	r := newResizing(query(t, october))
	from := r.period.From
	add := func(uid string, sequence int64, cpu int64) {
		s := &usagev1.Segment{ID: usagev1.ID{PodUID: uid, Sequence: sequence}, Pod: uid, CPUMilli: cpu,
			Start: time.UnixMilli(from + sequence*1000), End: time.UnixMilli(from + (sequence+1)*1000)}
		for range 2 { // CPU and memory
			r.add(&billing.Charge{Segment: s, From: s.Start.UnixMilli(), To: s.End.UnixMilli()})
		}
	}
	want := 0
	for i := range 3 * mostPods {
		uid := fmt.Sprintf("pod-%05d", i)
		add(uid, 1, 100)
		for n := range int64(i % 3) {
			add(uid, 2+n, 200+n)
			want++
		}
		if len(r.pods) > mostPods {
			t.Fatalf("%d pods are kept", len(r.pods))
		}
	}
	for n := range int64(mostSizes + 50) {
		add("busiest", 1+n, 100+n%2)
	}
	got := r.most()
	if got.Resizes != want+mostSizes+49 || got.InAll != 2*mostPods+1 {
		t.Errorf("%d resizes of %d pods, want %d of %d", got.Resizes, got.InAll, want+mostSizes+49, 2*mostPods+1)
	}
	if len(got.Pods) != mostResized || got.Pods[0].Pod != "busiest" || len(got.Pods[0].Sizes) != mostSizes || got.Pods[1].Resizes != 2 {
		t.Errorf("%d pods, the first %s with %d sizes and %d resizes", len(got.Pods), got.Pods[0].Pod, len(got.Pods[0].Sizes), got.Pods[0].Resizes)
	}
}

// TestTimelineIsOrdered: segments that come late have their place, a day's end isn't a resize, and a pod's sizes
// beyond the report's time aren't drawn.
func TestTimelineIsOrdered(t *testing.T) {
	r := newResizing(query(t, october))
	at := func(h int64) time.Time { return time.UnixMilli(r.period.From + h*3_600_000) }
	for _, s := range []struct{ sequence, from, to, cpu int64 }{{4, 20, 30, 300}, {2, 0, 10, 100}, {1, -10, 0, 50}, {3, 10, 20, 100}, {5, 30, 30_000, 300}} {
		r.add(&billing.Charge{Segment: &usagev1.Segment{ID: usagev1.ID{PodUID: "a", Sequence: s.sequence}, CPUMilli: s.cpu, Start: at(s.from), End: at(s.to)}})
	}
	got := r.most()
	if len(got.Pods) != 1 || got.Resizes != 1 || len(got.Pods[0].Sizes) != 2 {
		t.Fatalf("%+v", got)
	}
	if a, b := got.Pods[0].Sizes[0], got.Pods[0].Sizes[1]; a.From != r.period.From || a.To != at(20).UnixMilli() || b.To != r.period.To || a.CPUMilli != 100 || b.CPUMilli != 300 {
		t.Errorf("%+v %+v", a, b)
	}
}
