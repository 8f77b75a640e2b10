package nodes

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/controlplane"
)

// TestAck: segments are acknowledged when the ledger has them, and not before.
func TestAck(t *testing.T) {
	w := newWorld(t, podOn("a", "p"))
	var recorded atomic.Bool
	entered, let := make(chan struct{}), make(chan struct{})
	w.ledger.intercept(func([]usagev1.Segment) error {
		close(entered)
		<-let
		recorded.Store(true)
		return nil
	})
	n, _ := w.connect("a")
	n.segments(segmentFor("p", 1), segmentFor("p", 2))
	<-entered
	// Something else is sent meanwhile, the acknowledgement isn't.
	w.store.edit("p", func(p *corev1.Pod) { p.Generation++ })
	if n.next().GetAssign() == nil || recorded.Load() {
		t.Fatal("acknowledged before it was recorded")
	}
	close(let)
	if got, want := n.acked(), []string{"uid-p/1/1", "uid-p/1/2"}; !slices.Equal(got, want) || !recorded.Load() {
		t.Errorf("%v are acknowledged, want %v", got, want)
	}
	seg := w.ledger.segments[usagev1.ID{PodUID: "uid-p", Generation: 1, Sequence: 1}]
	if seg.Node != "a" || seg.CPUMilli != 250 || seg.Start.UnixMilli() != segmentEpoch+1000 || seg.End.UnixMilli() != segmentEpoch+2000 {
		t.Errorf("the ledger has %+v", seg)
	}

	// What comes again is acknowledged again and counted once.
	w.ledger.intercept(func([]usagev1.Segment) error { return nil })
	n.segments(segmentFor("p", 1), segmentFor("p", 1), segmentFor("p", 3))
	n.acked()
	if got := w.ledger.ids(); len(got) != 3 {
		t.Errorf("the ledger has %v", got)
	}

	open := segmentFor("p", 4)
	open.EndUnixMilli = 0
	n.segments(open)
	n.segments(segmentFor("p", 3))
	n.acked() // open ones aren't acknowledged
	if got := w.ledger.open["a"]; len(got) != 1 || !got[0].Open() || got[0].Node != "a" {
		t.Errorf("open are %v", got)
	}
	n.segments()
	w.until(t, "nothing is open", func() bool { w.ledger.mu.Lock(); defer w.ledger.mu.Unlock(); return len(w.ledger.open["a"]) == 0 })
}

// TestFailingLedger: no acknowledgement, the session ends, and the next one brings everything again.
func TestFailingLedger(t *testing.T) {
	w := newWorld(t, podOn("a", "p"))
	w.ledger.intercept(func([]usagev1.Segment) error { return errors.New("disk full") })
	for range 3 {
		n, _ := w.connect("a")
		n.segments(segmentFor("p", 1))
		for {
			m, err := n.receive()
			if err != nil {
				break
			}
			if m.GetAck() != nil {
				t.Fatal("acknowledged, and not recorded")
			}
		}
		if got := n.end(); got != codes.Internal {
			t.Errorf("the session ends with %s", got)
		}
	}
	if !w.logs.has("nodelet disconnected", "disk full") {
		t.Error("nobody is told")
	}
	w.ledger.intercept(func([]usagev1.Segment) error { return nil })
	n, _ := w.connect("a")
	n.segments(segmentFor("p", 1))
	if got := n.acked(); len(got) != 1 || len(w.ledger.ids()) != 1 {
		t.Errorf("%v are acknowledged, %v recorded", got, w.ledger.ids())
	}
}

// TestForeignSegments: a node meters its own pods, under their own names, and those that nobody knows.
func TestForeignSegments(t *testing.T) {
	w := newWorld(t, podOn("a", "mine"), podOn("b", "other"), podOn("", "nowhere"))
	n, _ := w.connect("a")
	renamed, moved := segmentFor("mine", 1), segmentFor("mine", 2)
	renamed.Pod, moved.Namespace = "victim", "victim"
	disguised := segmentFor("other", 2)
	disguised.Pod = "another"
	open := segmentFor("other", 3)
	open.EndUnixMilli = 0
	n.segments(segmentFor("other", 1), disguised, segmentFor("nowhere", 1), renamed, moved, open)
	n.segments(segmentFor("mine", 3), segmentFor("forgotten", 1))
	if got, want := n.acked(), []string{"uid-forgotten/1/1", "uid-mine/1/3"}; !slices.Equal(got, want) || !slices.Equal(w.ledger.ids(), want) {
		t.Errorf("%v are acknowledged, %v recorded, want %v", got, w.ledger.ids(), want)
	}
	if got := w.ledger.open["a"]; len(got) != 0 {
		t.Errorf("open are %v", got)
	}
	for _, id := range []string{"uid-other/1/1", "uid-other/1/2", "uid-nowhere/1/1", "uid-mine/1/1", "uid-mine/1/2", "uid-other/1/3"} {
		if !w.logs.has("segment refused", "node=a", id) {
			t.Errorf("nobody is told of %s", id)
		}
	}
}

// TestUnbillableSegments: what no bill could be made of doesn't get into the ledger.
func TestUnbillableSegments(t *testing.T) {
	w := newWorld(t, podOn("a", "p"))
	n, _ := w.connect("a")
	class, qos, negative, backwards := segmentFor("p", 1), segmentFor("p", 2), segmentFor("p", 3), segmentFor("p", 4)
	class.ComputeClass, qos.Qos, negative.MemoryBytes = "golden", "", -1
	backwards.EndUnixMilli = backwards.StartUnixMilli - 1
	n.segments(class, qos, negative, backwards, segmentFor("p", 5))
	if got, want := n.acked(), []string{"uid-p/1/5"}; !slices.Equal(got, want) || !slices.Equal(w.ledger.ids(), want) {
		t.Errorf("%v are acknowledged, %v recorded, want %v", got, w.ledger.ids(), want)
	}
	if !w.logs.has("segment refused", "uid-p/1/1", "golden") {
		t.Error("nobody is told")
	}
}

// TestBillable: what is beyond any real use is refused, and what is at its edge isn't.
func TestBillable(t *testing.T) {
	now := time.UnixMilli(segmentEpoch).Add(time.Hour)
	good := func() *usagev1.Segment { seg := segmentOf(segmentFor("p", 1)); return &seg }
	for name, c := range map[string]struct {
		change func(*usagev1.Segment)
		says   string // empty: it is let through
	}{
		"as it is":     {func(*usagev1.Segment) {}, ""},
		"open":         {func(s *usagev1.Segment) { s.End = time.Time{} }, ""},
		"open, ahead":  {func(s *usagev1.Segment) { s.Start, s.End = now.Add(time.Minute), time.Time{} }, ""},
		"the largest":  {func(s *usagev1.Segment) { s.CPUMilli, s.MemoryBytes, s.StorageBytes = 1e9, 1<<50, 1<<50 }, ""},
		"CPU":          {func(s *usagev1.Segment) { s.CPUMilli = 1e9 + 1 }, "1000000001 milli-CPU"},
		"negative CPU": {func(s *usagev1.Segment) { s.CPUMilli = -1 }, "-1 milli-CPU"},
		"memory":       {func(s *usagev1.Segment) { s.MemoryBytes = 1<<50 + 1 }, "bytes: want 0 to 1000000000 and to 1125899906842624"},
		"GPU":          {func(s *usagev1.Segment) { s.GPU.Milli = 1e9 + 1 }, "1000000001 thousandths"},
		"GPU memory":   {func(s *usagev1.Segment) { s.GPU.MemoryMiB = -1 }, "-1 MiB"},
		"GPU's name":   {func(s *usagev1.Segment) { s.GPU.Model = strings.Repeat("x", 254) }, "a name of at most 253 bytes"},
		"storage":      {func(s *usagev1.Segment) { s.StorageBytes = 1<<50 + 1 }, "bytes of storage"},
		"before 2020":  {func(s *usagev1.Segment) { s.Start = meteringBegan.Add(-1) }, "is the node's clock right?"},
		"2020":         {func(s *usagev1.Segment) { s.Start = meteringBegan }, ""},
		"ends ahead":   {func(s *usagev1.Segment) { s.End = now.Add(25 * time.Hour) }, "is the node's clock right?"},
		"starts ahead": {func(s *usagev1.Segment) { s.Start, s.End = now.Add(25*time.Hour), time.Time{} }, "is the node's clock right?"},
		"backwards":    {func(s *usagev1.Segment) { s.End = s.Start.Add(-1) }, "before it starts"},
		"a burst": {func(s *usagev1.Segment) {
			s.Burst = usagev1.Burst{Millis: 1000, CPUMillis: 4_000_000, MemoryMillis: 1 << 20}
		}, ""},
		"an impossible burst": {func(s *usagev1.Segment) { s.Burst.CPUMillis = math.MaxInt64 }, "more than can be"},
		"a burst of memory":   {func(s *usagev1.Segment) { s.Burst.MemoryMillis = math.MaxInt64 }, "more than can be"},
		"a negative burst":    {func(s *usagev1.Segment) { s.Burst.Millis = -1 }, "more than can be"},
		"QoS":                 {func(s *usagev1.Segment) { s.QoS = "gold" }, `QoS "gold" isn't known`},
		"class":               {func(s *usagev1.Segment) { s.ComputeClass = "" }, `compute class "" isn't known`},
	} {
		seg := good()
		c.change(seg)
		err := billable(seg, now)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// TestSegmentsHaveTheirNodesRegion: as an operator or the nodelet labelled it.
func TestSegmentsHaveTheirNodesRegion(t *testing.T) {
	w := newWorld(t, podOn("a", "p"))
	n, _ := w.connect("a")
	n.segments(segmentFor("p", 1))
	n.acked()
	o, _ := w.store.Get(nodeKey("a"))
	node := o.(*corev1.Node).DeepCopy()
	metav1.SetMetaDataLabel(&node.ObjectMeta, corev1.LabelTopologyRegion, "eu-1")
	w.store.put(node)
	open := segmentFor("p", 3)
	open.EndUnixMilli = 0
	n.segments(open)
	n.segments(segmentFor("p", 2))
	n.acked()
	for sequence, want := range map[int64]string{1: "", 2: "eu-1"} {
		if got := w.ledger.segments[usagev1.ID{PodUID: "uid-p", Generation: 1, Sequence: sequence}].Region; got != want {
			t.Errorf("segment %d is of region %q, want %q", sequence, got, want)
		}
	}
	if got := w.ledger.open["a"]; len(got) != 1 || got[0].Region != "eu-1" {
		t.Errorf("open are %+v", got)
	}
}

// TestSyncInParts: a desired state that is larger than a message comes in parts.
func TestSyncInParts(t *testing.T) {
	const pods = 70 // of 1 MiB each: more than gRPC lets through at once
	var objects []controlplane.Object
	for i := range pods {
		pod := podOn("a", fmt.Sprint("p", i))
		pod.Annotations = map[string]string{"blob": strings.Repeat("x", 1<<20)}
		objects = append(objects, pod)
	}
	w := newWorld(t, objects...)
	n, first := w.connect("a")
	seen, parts := len(first.Pods), 1
	for part := first; part.More; parts++ {
		part = n.next().GetSync()
		if part == nil {
			t.Fatal("another message between the parts")
		}
		seen += len(part.Pods)
	}
	if seen != pods || parts < 4 {
		t.Errorf("%d pods in %d parts", seen, parts)
	}
}

// TestObjectOutlivesItsSegments: a nodelet sends the last segment, then the report that a pod is
// finished. The object is there until the ledger has the segment, also when that takes several sessions.
func TestObjectOutlivesItsSegments(t *testing.T) {
	pod := podOn("a", "p")
	pod.DeletionTimestamp = &metav1.Time{}
	w := newWorld(t, pod)
	attempt := make(chan error)
	entered := make(chan struct{})
	w.ledger.intercept(func([]usagev1.Segment) error {
		entered <- struct{}{}
		return <-attempt
	})
	last := func() *fakeNodelet {
		n, _ := w.connect("a")
		n.segments(segmentFor("p", 1))
		n.report(finished(reportOf("p", corev1.PodSucceeded)))
		<-entered
		// The report has been sent by now; what the stream brings after it proves that it isn't acted on.
		w.store.edit("p", func(p *corev1.Pod) { p.Generation++ })
		if n.next().GetAssign() == nil || w.store.pod("p") == nil {
			t.Fatal("the object went before its last segment was recorded")
		}
		return n
	}
	for range 2 {
		n := last()
		attempt <- errors.New("disk full")
		if got := n.end(); got != codes.Internal || w.store.pod("p") == nil || len(w.ledger.ids()) != 0 {
			t.Fatalf("the session ends with %s; the object is %v, the ledger has %v", got, w.store.pod("p"), w.ledger.ids())
		}
	}
	n := last()
	attempt <- nil
	w.until(t, "the object is gone", func() bool { return w.store.pod("p") == nil })
	if got := w.ledger.ids(); !slices.Equal(got, []string{"uid-p/1/1"}) {
		t.Errorf("the object is gone, the ledger has %v", got)
	}
	n.acked()
}

// TestRemovedByForce: the segments of a pod whose object went first are recorded all the same.
func TestRemovedByForce(t *testing.T) {
	w := newWorld(t, podOn("a", "p"))
	n, _ := w.connect("a", reportOf("p", corev1.PodRunning))
	w.until(t, "running", func() bool { return w.store.pod("p").Status.Phase == corev1.PodRunning })
	w.store.remove(w.store.pod("p"))
	if got := n.next().GetRemove().GetUid(); got != "uid-p" {
		t.Fatalf("a removal of %q", got)
	}
	n.segments(segmentFor("p", 1))
	n.report(finished(reportOf("p", corev1.PodSucceeded)))
	if got := n.acked(); !slices.Equal(got, []string{"uid-p/1/1"}) || len(w.ledger.ids()) != 1 {
		t.Errorf("%v are acknowledged", got)
	}
	n.report(&nodev1.PodReport{Uid: "uid-p", Namespace: "default", Name: "p"})
	if got := n.next().GetRemove().GetUid(); got != "uid-p" {
		t.Errorf("an unknown pod is answered with a removal of %q", got)
	}
}
