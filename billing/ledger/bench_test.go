package ledger

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	usagev1 "swell.dev/swell/api/usage/v1"
)

func typical(n int) []usagev1.Segment {
	out := make([]usagev1.Segment, n)
	for i := range out {
		at := begin.Add(time.Duration(i) * 6 * time.Millisecond)
		app := fmt.Sprint("app-", i%500)
		out[i] = usagev1.Segment{
			ID: usagev1.ID{PodUID: uuid.NewString(), Generation: 1, Sequence: 1}, Namespace: fmt.Sprint("ns-", i%50), Pod: fmt.Sprintf("%s-%08x", app, i), Node: fmt.Sprint("node-", i%1000),
			ComputeClass: "general-purpose", QoS: "default", CPUMilli: 500, MemoryBytes: 1 << 30, Start: at, End: at.Add(time.Minute), Region: "eu-1",
			Labels: map[string]string{"app": app, "team": fmt.Sprint("team-", i%20)},
		}
	}
	return out
}

func BenchmarkRecord(b *testing.B) {
	l := openLedger(b, filepath.Join(b.TempDir(), "l"))
	segments := typical(b.N)
	b.ResetTimer()
	var wg sync.WaitGroup
	const callers = 16
	for c := range callers {
		wg.Go(func() {
			for i := c * 100; i < len(segments); i += callers * 100 {
				if err := l.Record(b.Context(), segments[i:min(i+100, len(segments))]); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "segments/s")
}

func BenchmarkEach(b *testing.B) {
	l := openLedger(b, filepath.Join(b.TempDir(), "l"))
	segments := typical(b.N)
	for len(segments) > 0 {
		n := min(len(segments), 10000)
		if err := l.Record(b.Context(), segments[:n]); err != nil {
			b.Fatal(err)
		}
		segments = segments[n:]
	}
	b.ResetTimer()
	n := 0
	if err := l.Each(b.Context(), Filter{}, func(*usagev1.Segment) error { n++; return nil }); err != nil || n != b.N {
		b.Fatal(n, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "segments/s")
}
