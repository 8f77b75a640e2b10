package role

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/billing/rating"
)

// maxBillSegments bounds what one list of pods' bills may take: some hundred MB.
const maxBillSegments = 200_000

// bills prices what the ledger has of a namespace (empty: all), or of one pod name.
func (c *controlPlane) bills(ctx context.Context, namespace, name string) ([]v1alpha1.Bill, error) {
	var segments []usagev1.Segment
	err := c.ledger.Each(ctx, ledger.Filter{Namespace: namespace, Pod: name}, func(s *usagev1.Segment) error {
		if len(segments) == maxBillSegments {
			return apierrors.NewBadRequest(fmt.Sprintf("there are bills of more than %d segments: ask for those of one pod or of one namespace, or for a report of them (swell bill report)", maxBillSegments))
		}
		segments = append(segments, *s)
		return nil
	})
	if err != nil {
		return nil, err
	}
	rated, err := rating.Bills(c.books, segments, time.Now().UnixMilli())
	if err != nil {
		return nil, err
	}
	out := make([]v1alpha1.Bill, 0, len(rated))
	for i := range rated {
		out = append(out, billOf(&rated[i], c.books.Currency()))
	}
	return out, nil
}

func billOf(b *rating.Bill, currency string) v1alpha1.Bill {
	first, last := b.Lines[0].Segment, b.Lines[len(b.Lines)-1].Segment
	out := v1alpha1.Bill{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.Group + "/" + v1alpha1.Version, Kind: "Bill"},
		ObjectMeta: metav1.ObjectMeta{
			Name: b.Pod, Namespace: b.Namespace, UID: types.UID(b.PodUID), CreationTimestamp: metav1.NewTime(first.Start), Labels: last.Labels,
		},
		Currency: currency,
	}
	for i := range b.Lines {
		l := billLine(&b.Lines[i])
		out.Lines = append(out.Lines, l)
		addTotal(&out.Total, &l.BillTotal)
		addTotal(&out.Burst.BillTotal, &l.Burst.BillTotal)
	}
	// Quantities are the sums of the lines' rounded ones, so that what is shown adds up; money is exact.
	out.Total.Cost = b.Total.Cost.String()
	if out.Burst != (v1alpha1.BillBurst{}) {
		out.Burst.Cost = b.Total.BurstCost.String()
	}
	return out
}

func billLine(l *rating.BillLine) v1alpha1.BillLine {
	seg := l.Segment
	out := v1alpha1.BillLine{
		Generation: seg.Generation, Sequence: seg.Sequence, ComputeClass: seg.ComputeClass, QoS: seg.QoS,
		CPUMilli: seg.CPUMilli, MemoryBytes: seg.MemoryBytes, StorageBytes: seg.StorageBytes, Region: seg.Region,
		Prices: l.Book.Version, Minimum: l.Minimum, Start: unixTime(l.From), BillTotal: total(l.Millis, &l.Used, l.Cost),
	}
	if billed := (v1alpha1.BilledSize{CPUMilli: l.CPUMilli, MemoryBytes: l.MemoryBytes}); billed != (v1alpha1.BilledSize{CPUMilli: seg.CPUMilli, MemoryBytes: seg.MemoryBytes}) {
		out.Billed = &billed
	}
	if seg.GPU != (usagev1.GPU{}) {
		out.GPU = &v1alpha1.BilledGPU{Model: seg.GPU.Model, Milli: seg.GPU.Milli, MemoryMiB: seg.GPU.MemoryMiB}
	}
	if l.Last.Sequence != seg.Sequence {
		out.LastSequence = l.Last.Sequence
	}
	if !l.Open {
		out.End = unixTime(l.To)
	}
	if l.BurstMillis > 0 || !l.BurstCost.IsZero() {
		out.Burst = v1alpha1.BillBurst{BillTotal: total(l.BurstMillis, &l.Burst, l.BurstCost)}
	}
	return out
}

func unixTime(ms int64) metav1.Time { return metav1.NewTime(time.UnixMilli(ms).UTC()) }

func total(ms int64, used *rating.Quantities, cost billing.Money) v1alpha1.BillTotal {
	return v1alpha1.BillTotal{
		Milliseconds: ms, VCPUMilliseconds: used[billing.CPU].Millis(), GiBMilliseconds: used[billing.Memory].Millis(),
		GPUMilliseconds: used[billing.GPU].Millis(), GPUGiBMilliseconds: used[billing.GPUMemory].Millis(),
		StorageGiBMilliseconds: used[billing.Storage].Millis(), Cost: cost.String(),
	}
}

// addTotal adds quantities.
func addTotal(to, of *v1alpha1.BillTotal) {
	to.Milliseconds += of.Milliseconds
	to.VCPUMilliseconds += of.VCPUMilliseconds
	to.GiBMilliseconds += of.GiBMilliseconds
	to.GPUMilliseconds += of.GPUMilliseconds
	to.GPUGiBMilliseconds += of.GPUGiBMilliseconds
	to.StorageGiBMilliseconds += of.StorageGiBMilliseconds
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
