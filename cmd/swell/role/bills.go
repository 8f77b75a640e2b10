package role

import (
	"context"
	"errors"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/billing/rating"
)

// bills prices what the ledger has of a namespace (empty: all), or of one pod name.
func (c *controlPlane) bills(ctx context.Context, namespace, name string) ([]v1alpha1.Bill, error) {
	segments, err := c.ledger.Segments(ctx, ledger.Filter{Namespace: namespace, Pod: name})
	if err != nil {
		return nil, err
	}
	rated, err := rating.Rate(c.book, segments, time.Now())
	if err != nil {
		return nil, err
	}
	out := make([]v1alpha1.Bill, 0, len(rated))
	for i := range rated {
		out = append(out, billOf(&rated[i], c.book.Currency))
	}
	return out, nil
}

func billOf(b *rating.Bill, currency string) v1alpha1.Bill {
	out := v1alpha1.Bill{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.Group + "/" + v1alpha1.Version, Kind: "Bill"},
		ObjectMeta: metav1.ObjectMeta{
			Name: b.Pod, Namespace: b.Namespace, UID: types.UID(b.PodUID), CreationTimestamp: metav1.NewTime(b.Lines[0].Segment.Start),
			Labels: b.Lines[len(b.Lines)-1].Segment.Labels,
		},
		Currency: currency,
		Total:    v1alpha1.BillTotal{Milliseconds: b.Duration.Milliseconds(), VCPUMilliseconds: b.VCPUMillis, GiBMilliseconds: b.GiBMillis, CostMicros: b.CostMicros},
		Burst:    burstOf(b.Burst),
	}
	for _, l := range b.Lines {
		line := v1alpha1.BillLine{
			Generation: l.Segment.Generation, Sequence: l.Segment.Sequence, ComputeClass: l.Segment.ComputeClass, QoS: l.Segment.QoS,
			CPUMilli: l.Segment.CPUMilli, MemoryBytes: l.Segment.MemoryBytes, Start: metav1.NewTime(l.Segment.Start),
			BillTotal: v1alpha1.BillTotal{Milliseconds: l.Duration.Milliseconds(), VCPUMilliseconds: l.VCPUMillis, GiBMilliseconds: l.GiBMillis, CostMicros: l.CostMicros},
			Burst:     burstOf(l.Burst),
		}
		if !l.Segment.Open() {
			line.End = metav1.NewTime(l.Segment.End)
		}
		out.Lines = append(out.Lines, line)
	}
	return out
}

func burstOf(b rating.Burst) v1alpha1.BillBurst {
	return v1alpha1.BillBurst{BillTotal: v1alpha1.BillTotal{Milliseconds: b.Duration.Milliseconds(), VCPUMilliseconds: b.VCPUMillis, GiBMilliseconds: b.GiBMillis, CostMicros: b.CostMicros}}
}

// tolerantLedger goes on after a segment that came again with other contents: the first one stands and
// is acknowledged, so that it doesn't come a third time, and an operator can read of it.
type tolerantLedger struct {
	*ledger.Ledger
	log *slog.Logger
}

func (l tolerantLedger) Record(ctx context.Context, segments []usagev1.Segment) error {
	err := l.Ledger.Record(ctx, segments)
	var conflict *ledger.ConflictError
	if errors.As(err, &conflict) {
		l.log.Error("metering", "cause", err)
		return nil
	}
	return err
}
