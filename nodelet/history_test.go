package nodelet

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/internal/histogram"
)

const mb = 1_000_000

func sizedStatus(name, cpu, memory string) *corev1.PodStatus {
	list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	return &corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: name, Resources: &corev1.ResourceRequirements{Requests: list, Limits: list}}}}
}

// reader makes readings one after the other.
type reader struct {
	now  Usage
	last sample
}

func (r *reader) next(h *history, st *corev1.PodStatus, elapsed time.Duration, cores, throttled float64, memory int64) {
	r.now.MeasuredAt = r.now.MeasuredAt.Add(elapsed)
	r.now.CPU += time.Duration(cores * float64(elapsed))
	r.now.Throttled += time.Duration(throttled * float64(elapsed))
	r.now.Memory = memory
	now := sample{"main": r.now}
	h.observe("u1", st, r.last, now)
	r.last = now
}

func takeOne(t *testing.T, h *history) *nodev1.ContainerHistory {
	t.Helper()
	all := h.take(nil, 1000)
	if len(all) != 1 || len(all[0].Pods) != 1 || len(all[0].Pods[0].Containers) != 1 {
		t.Fatalf("took %v", all)
	}
	return all[0].Pods[0].Containers[0]
}

// describeCPU is the counts as the upper end of each bucket and its weight.
func describeCPU(t *testing.T, c *nodev1.ContainerHistory) string {
	t.Helper()
	counts, err := histogram.ParseCounts(c.Cpu, histogram.CPU.Len())
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	counts.Each(func(b int, w uint32) { out += fmt.Sprintf(" %.2f:%d", histogram.CPU.End(b), w) })
	return out
}

func TestHistoryOfCPU(t *testing.T) {
	h := newHistory(time.Hour)
	r := reader{now: Usage{MeasuredAt: time.Unix(1000, 0)}}
	st := sizedStatus("main", "500m", "1Gi")
	r.next(h, st, 0, 0, 0, mb) // the first reading has no rate
	r.next(h, st, 10*time.Second, 0.2, 0, mb)
	r.next(h, st, 10*time.Second, 0.2, 0, mb)
	r.next(h, st, 20*time.Second, 0.5, 0.25, mb) // half of a core more was wanted
	r.next(h, st, 10*time.Second, 0.5, 40, mb)   // more than can be believed: twice the limit
	c := takeOne(t, h)
	if got, want := describeCPU(t, c), " 0.22:1000 0.75:1000 1.02:500"; got != want {
		t.Errorf("histogram%s, want%s", got, want)
	}
	if c.ObservedMillis != 50_000 || c.Readings != 4 || c.ThrottledMillis != 5000+10_000 || c.UntilUnixMilli != 1050_000 {
		t.Errorf("told %v", c)
	}
	if again := h.take(nil, 1000); again != nil {
		t.Errorf("told twice: %v", again)
	}
	// A new instance of the container begins at 0.
	r.now.CPU = 0
	r.next(h, st, 10*time.Second, 0, 0, mb)
	if again := h.take(nil, 1000); again != nil {
		t.Errorf("a counter that went back is a rate: %v", again)
	}
	r.next(h, st, 10*time.Second, 0.1, 0, mb)
	if c := takeOne(t, h); c.Readings != 1 || c.ObservedMillis != 10_000 {
		t.Errorf("told %v", c)
	}
}

// peaks adds up what was told, as the control plane does.
func peaks(into map[string]int, c *nodev1.ContainerHistory) {
	for _, p := range c.Peaks {
		if p.Was > 0 {
			into[fmt.Sprintf("%d@%d", p.Was-1, p.WindowEndUnix)]--
		}
		into[fmt.Sprintf("%d@%d", p.Is-1, p.WindowEndUnix)]++
	}
	for k, n := range into {
		if n == 0 {
			delete(into, k)
		}
	}
}

func TestHistoryOfMemory(t *testing.T) {
	h := newHistory(time.Hour)
	r := reader{now: Usage{MeasuredAt: time.Unix(1000, 0)}}
	st := sizedStatus("main", "500m", "1Gi")
	got := map[string]int{}
	at := func(bytes float64, end int) string { return fmt.Sprintf("%d@%d", histogram.Memory.Of(bytes), end) }
	want := func(all ...string) {
		t.Helper()
		for _, c := range h.take(nil, 1000) {
			peaks(got, c.Pods[0].Containers[0])
		}
		for _, k := range all {
			if got[k] != 1 {
				t.Errorf("%v: want a peak at %s", got, k)
			}
		}
		if len(got) != len(all) {
			t.Errorf("%v: want %v", got, all)
		}
	}
	r.next(h, st, 0, 0, 0, 50*mb)
	want(at(50*mb, 4600))
	r.next(h, st, time.Minute, 0, 0, 300*mb)
	r.next(h, st, time.Minute, 0, 0, 20*mb)
	want(at(300*mb, 4600)) // the window has one peak
	r.next(h, st, time.Hour, 0, 0, 80*mb)
	want(at(300*mb, 4600), at(80*mb, 8320))
	// Two windows between two takes.
	r.next(h, st, time.Minute, 0, 0, 90*mb)
	r.next(h, st, time.Hour, 0, 0, 10*mb)
	want(at(300*mb, 4600), at(90*mb, 8320), at(10*mb, 11980))
}

func TestHistoryOfKills(t *testing.T) {
	h := newHistory(time.Hour)
	start := time.Now().Add(time.Minute)
	h.began = start
	r := reader{now: Usage{MeasuredAt: start}}
	st := sizedStatus("main", "500m", "200M")
	killed := func(at time.Time) *Report {
		out := &Report{UID: "u1", Status: *st.DeepCopy()}
		out.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{Reason: reasonOOMKilled, FinishedAt: metav1.NewTime(at)}
		return out
	}
	peakOf := func(c *nodev1.ContainerHistory) int { return int(c.Peaks[len(c.Peaks)-1].Is - 1) }

	r.next(h, st, 0, 0, 0, 150*mb)
	h.reported(killed(start.Add(-time.Second))) // another process has counted it
	h.reported(killed(start.Add(time.Second)))
	h.reported(killed(start.Add(time.Second))) // told with every report
	c := takeOne(t, h)
	if c.OomKills != 1 || peakOf(c) != histogram.Memory.Of(300*mb) { // the limit and 100 MB
		t.Errorf("told %v, want a peak of 300 MB", c)
	}
	h.reported(killed(start.Add(2 * time.Second))) // again, at the same limit: it still needs as much
	if c = takeOne(t, h); c.OomKills != 1 || len(c.Peaks) != 0 {
		t.Errorf("told %v", c)
	}
	st = sizedStatus("main", "500m", "1G")
	r.next(h, st, time.Minute, 0, 0, 900*mb)
	r.now.OOMKills++ // of a process of the container, which lives on
	r.next(h, st, time.Minute, 0, 0, 900*mb)
	if c = takeOne(t, h); c.OomKills != 1 || peakOf(c) != histogram.Memory.Of(1200*mb) { // a fifth more
		t.Errorf("told %v, want a peak of 1.2 GB", c)
	}
}

// TestHistoryOnTheWire: whatever is lost, repeated or acknowledged, what is told in the end is everything, once.
func TestHistoryOnTheWire(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		h := newHistory(time.Hour)
		now := time.Unix(1000, 0)
		last := map[string]sample{}
		read, told := 0, 0
		heard := uint64(0)
		hear := func(m *nodev1.UsageHistory) {
			if m.Sequence <= heard {
				return
			}
			heard = m.Sequence
			for _, p := range m.Pods {
				for _, c := range p.Containers {
					told += int(c.Readings)
				}
			}
		}
		for range 300 {
			switch random.IntN(6) {
			case 0: // sent and acknowledged
				for _, m := range h.take(nil, 1+random.IntN(5)) {
					hear(m)
					h.ack(m.Sequence)
				}
			case 1: // sent, and the acknowledgement is lost
				for _, m := range h.take(nil, 1+random.IntN(5)) {
					hear(m)
				}
			case 2: // the stream breaks: nothing of it is heard
				h.take(nil, 1+random.IntN(5))
				for _, m := range h.again() {
					if !m.Again {
						t.Fatal("it doesn't say that it comes again")
					}
					hear(m)
				}
			default:
				uid := fmt.Sprint("u", random.IntN(12))
				u := last[uid]["main"]
				now = now.Add(time.Second)
				u.MeasuredAt, u.CPU, u.Memory = now, u.CPU+time.Second/10, mb
				next := sample{"main": u}
				if last[uid] != nil {
					read++
				}
				h.observe(uid, &corev1.PodStatus{}, last[uid], next)
				last[uid] = next
			}
			if len(h.unacked) > maxUnackedHistories {
				t.Fatalf("%d wait", len(h.unacked))
			}
		}
		for _, m := range h.again() {
			hear(m)
			h.ack(m.Sequence)
		}
		for _, m := range h.take(nil, 1000) {
			hear(m)
		}
		if told != read {
			t.Fatalf("%d readings are told, of %d", told, read)
		}
	}
}

func TestHistoryOfEndedPods(t *testing.T) {
	h := newHistory(time.Hour)
	for i := range maxEndedHistories + 10 {
		uid := fmt.Sprint("u", i)
		h.observe(uid, &corev1.PodStatus{}, nil, sample{"main": Usage{MeasuredAt: time.Unix(1, 0), Memory: mb}})
		h.reported(&Report{UID: uid, Finished: true})
		h.reported(&Report{UID: uid, Finished: true})
	}
	if len(h.pods) != maxEndedHistories || len(h.ended) != maxEndedHistories {
		t.Errorf("%d pods that ended are kept, %d in line", len(h.pods), len(h.ended))
	}
	if got := h.take([]string{"u20", "never"}, 1000); len(got) != 1 || len(got[0].Pods) != 1 {
		t.Errorf("took %v", got)
	}
	if got := h.take([]string{"u20"}, 1000); got != nil {
		t.Errorf("took %v again", got)
	}
	h.take(nil, 1000)
	if len(h.pods) != 0 || len(h.ended) != 0 {
		t.Errorf("%d pods are left", len(h.pods))
	}
}

// loadOf is a container's day in readings: it idles around a fifth of a core and works at one to two.
func loadOf(random *rand.Rand, i int) float64 {
	if i%360 < 120 {
		return 1.5 + 0.3*random.NormFloat64()
	}
	return max(0, 0.2+0.05*random.NormFloat64())
}

// BenchmarkHistory is a reading of a pod with one container, told every sixth time. It answers the bytes that a
// container takes on the node at most, and those on the wire.
func BenchmarkHistory(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	h := newHistory(24 * time.Hour)
	r := reader{now: Usage{MeasuredAt: time.Unix(1000, 0)}}
	st := sizedStatus("main", "500m", "1Gi")
	wire, told, most := 0, 0, 0
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.next(h, st, 10*time.Second, loadOf(random, i), 0, 500*mb+int64(random.IntN(mb)))
		if i%6 == 5 {
			c := h.pods["u1"].containers[0]
			most = max(most, int(unsafe.Sizeof(*c))+c.cpu.Bytes())
			for _, m := range h.take(nil, 1000) {
				wire += proto.Size(m)
				told++
				h.ack(m.Sequence)
			}
		}
	}
	b.ReportMetric(float64(most), "B/container")
	b.ReportMetric(float64(wire)/float64(max(told, 1)), "B/message")
}

// TestHistoryIsSmall: a day without a control plane takes no more than a KiB and a bit for each container.
func TestHistoryIsSmall(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	h := newHistory(time.Hour)
	r := reader{now: Usage{MeasuredAt: time.Unix(1000, 0)}}
	st := sizedStatus("main", "500m", "1Gi")
	for range 8640 {
		r.next(h, st, 10*time.Second, random.ExpFloat64()*4, 0, int64(random.IntN(500*mb)))
	}
	c := h.pods["u1"].containers[0]
	if got := int(unsafe.Sizeof(*c)) + c.cpu.Bytes() + len(c.moved)*48; got > 2048 {
		t.Errorf("%d bytes", got)
	}
}

// TestNoHistory: switched off, nothing is gathered and nothing told.
func TestNoHistory(t *testing.T) {
	n := &Nodelet{}
	if n.TakeHistory(nil, 10) != nil || n.UnackedHistory() != nil {
		t.Error("something is told")
	}
	n.AckHistory(1)
}
