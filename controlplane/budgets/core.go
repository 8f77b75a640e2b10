package budgets

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
	"swell.dev/swell/internal/fixed"
)

// places of amounts: they are counted in 1e-6 of the currency.
const places = 6

// Spending is what use has cost since a time.
type Spending struct {
	Spent   int64     // 1e-6 of the currency
	PerHour int64     // likewise; at list, of what runs now
	First   time.Time // from when there has been any; zero: there was none
}

// plus is what two projects spent together.
func (s Spending) plus(t Spending) Spending {
	out := Spending{Spent: saturated(s.Spent, t.Spent), PerHour: saturated(s.PerHour, t.PerHour), First: s.First}
	if out.First.IsZero() || !t.First.IsZero() && t.First.Before(out.First) {
		out.First = t.First
	}
	return out
}

func saturated(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// budget is one as it is watched.
type budget struct {
	key        controlplane.Key
	uid        types.UID
	generation int64
	account    string // whose it is; empty: it is the namespace's of the key
	amount     int64
	currency   string
	zone       *time.Location
	thresholds []v1alpha1.BudgetThreshold
	stop       v1alpha1.HardStop
	grace      time.Duration

	from, until time.Time // the month
	crossed     []v1alpha1.BudgetCrossing
	spentAt     time.Time // zero: there is money left
	changed     bool      // since the last look
	less        time.Time // since when less seems spent than the budget, of one that was spent
}

// restoreAfter is how long less has to seem spent than before until a budget that was spent is no longer, unless it was
// changed. A control plane that has started doesn't know what goes on until its nodes tell.
const restoreAfter = 2 * time.Minute

// budgetOf reads an object and what was stored of its month.
func budgetOf(key controlplane.Key, meta *metav1.ObjectMeta, account string, s *v1alpha1.BudgetSpec, st *v1alpha1.BudgetStatus) (*budget, error) {
	amount, err := fixed.Parse(s.Amount, places)
	if err != nil {
		return nil, fmt.Errorf("%s: amount %q: %w", key, s.Amount, err)
	}
	zone, err := time.LoadLocation(s.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	b := &budget{
		key: key, uid: meta.UID, generation: meta.Generation, account: account, amount: amount, currency: s.Currency, zone: zone,
		thresholds: s.Thresholds, stop: s.HardStop, grace: v1alpha1.DefaultBudgetGrace * time.Second,
		from: st.MonthStart.Time, until: st.MonthEnd.Time, crossed: slices.Clone(st.Crossed), spentAt: st.SpentTime.Time,
	}
	if s.GraceSeconds != nil {
		b.grace = time.Duration(*s.GraceSeconds) * time.Second
	}
	return b, nil
}

// name is what people are told.
func (b *budget) name() string {
	if b.account != "" {
		return "budget " + b.key.Name + " of account " + b.account
	}
	return "budget " + b.key.Namespace + "/" + b.key.Name
}

// monthOf answers the month of a zone that holds a time.
func monthOf(now time.Time, zone *time.Location) (from, until time.Time) {
	y, m, _ := now.In(zone).Date()
	return firstOf(y, m, zone), firstOf(y, m+1, zone)
}

// firstOf is the first instant of a month.
func firstOf(y int, m time.Month, zone *time.Location) time.Time {
	t := time.Date(y, m, 1, 0, 0, 0, 0, zone)
	if t.Day() != 1 { // the clock jumps over midnight: the month begins with the jump
		_, t = t.ZoneBounds()
	}
	return t
}

// alert is something that people are to be told once.
type alert struct {
	kind, reason, message string // an event's
}

// outcome is what a look comes to.
type outcome struct {
	status v1alpha1.BudgetStatus
	alerts []alert
	denied error // why there may be no more and no larger pods; nil if there may
	stop   bool  // and pods are to be ended now
}

// turn begins another month, if one has begun.
func (b *budget) turn(now time.Time) {
	from, until := monthOf(now, b.zone)
	if !from.Equal(b.from) || !until.Equal(b.until) {
		b.from, b.until, b.crossed, b.spentAt = from, until, nil, time.Time{}
	}
}

// look compares what was spent in the month with the budget. The month is that of now: turn was called.
func (b *budget) look(now time.Time, s Spending) outcome {
	var out outcome
	forecast, foreseen := b.forecast(now, s)
	tell := func(kind, reason, format string, args ...any) {
		out.alerts = append(out.alerts, alert{kind, reason, b.name() + ": " + fmt.Sprintf(format, args...)})
	}
	for _, t := range b.thresholds {
		reached := reaches(s.Spent, b.amount, t.Percent)
		if t.Of == v1alpha1.BudgetForecast {
			reached = foreseen && reaches(forecast, b.amount, t.Percent)
		}
		i := slices.IndexFunc(b.crossed, func(c v1alpha1.BudgetCrossing) bool { return c.BudgetThreshold == t })
		switch {
		case reached && i < 0:
			b.crossed = append(b.crossed, v1alpha1.BudgetCrossing{BudgetThreshold: t, Time: second(now)})
			if t.Of == v1alpha1.BudgetForecast {
				tell(corev1.EventTypeWarning, "BudgetForecast", "the month will cost %s of %s, which is %d%% or more, if it goes on as so far", b.money(forecast), b.money(b.amount), t.Percent)
			} else {
				tell(corev1.EventTypeWarning, "BudgetThreshold", "%s of %s is spent since %s, which is %d%% or more", b.money(s.Spent), b.money(b.amount), b.from.Format(time.RFC3339), t.Percent)
			}
		case !reached && i >= 0 && b.changed:
			b.crossed = slices.Delete(b.crossed, i, i+1)
		}
	}
	// A threshold that is no more has no crossing.
	b.crossed = slices.DeleteFunc(b.crossed, func(c v1alpha1.BudgetCrossing) bool { return !slices.Contains(b.thresholds, c.BudgetThreshold) })
	gone := s.Spent >= b.amount
	if gone || b.spentAt.IsZero() {
		b.less = time.Time{}
	} else if b.less.IsZero() {
		b.less = now
	}
	switch {
	case gone && b.spentAt.IsZero():
		b.spentAt = second(now).Time
		tell(corev1.EventTypeWarning, "BudgetSpent", "%s of %s is spent since %s; %s", b.money(s.Spent), b.money(b.amount), b.from.Format(time.RFC3339), b.consequence())
	case !b.less.IsZero() && (b.changed || now.Sub(b.less) >= restoreAfter):
		b.spentAt = time.Time{}
		tell(corev1.EventTypeNormal, "BudgetRestored", "%s of %s is spent since %s: there is money left again", b.money(s.Spent), b.money(b.amount), b.from.Format(time.RFC3339))
	}
	b.changed = false
	out.denied, out.stop = b.verdict(now, s.Spent)
	out.status = b.status(now, &s)
	if foreseen {
		out.status.Forecast = fixed.Decimal(forecast, places)
	}
	return out
}

func second(t time.Time) metav1.Time { return metav1.NewTime(t.UTC().Truncate(time.Second)) }

func (b *budget) money(v int64) string { return fixed.Decimal(v, places) + " " + b.currency }

func (b *budget) consequence() string {
	switch b.stop {
	case v1alpha1.HardStopDeny:
		return "no new pods and no larger ones until " + b.until.Format(time.RFC3339)
	case v1alpha1.HardStopEnd:
		return "no new pods and no larger ones until " + b.until.Format(time.RFC3339) + ", and those that run are ended at " + b.stopAt().Format(time.RFC3339)
	}
	return "nothing is stopped"
}

func (b *budget) stopAt() time.Time { return b.spentAt.Add(b.grace) }

// verdict is what follows from the budget's being spent, or not. What was spent may be unknown: less than nothing.
func (b *budget) verdict(now time.Time, spent int64) (denied error, stop bool) {
	if b.spentAt.IsZero() || b.stop == v1alpha1.HardStopNone || !now.Before(b.until) {
		return nil, false
	}
	amount := "all of " + b.money(b.amount)
	if spent >= 0 {
		amount = fixed.Decimal(spent, places) + " of " + b.money(b.amount)
	}
	return fmt.Errorf("%s is spent: %s since %s; no new pods and no larger ones until the month ends at %s, or an administrator raises it",
		b.name(), amount, b.from.Format(time.RFC3339), b.until.Format(time.RFC3339)), b.stop == v1alpha1.HardStopEnd && !now.Before(b.stopAt())
}

// forecast is what the month will have cost if it goes on as it has since its beginning, or since the first use in
// it. There is none in the first hour.
func (b *budget) forecast(now time.Time, s Spending) (int64, bool) {
	since := b.from
	if s.First.After(since) {
		since = s.First
	}
	past := now.Sub(since)
	if s.First.IsZero() || past < time.Hour {
		return 0, false
	}
	hi, lo := bits.Mul64(uint64(max(s.Spent, 0)), uint64(b.until.Sub(since)/time.Second))
	seconds := uint64(past / time.Second)
	if hi >= seconds {
		return math.MaxInt64, true
	}
	q, _ := bits.Div64(hi, lo, seconds)
	return int64(min(q, math.MaxInt64)), true
}

// reaches reports that part is a percentage of whole or more.
func reaches(part, whole int64, percent int32) bool {
	ph, pl := bits.Mul64(uint64(max(part, 0)), 100)
	wh, wl := bits.Mul64(uint64(whole), uint64(percent))
	return ph > wh || ph == wh && pl >= wl
}

// status is what the budget shows; s is nil while what was spent isn't known.
func (b *budget) status(now time.Time, s *Spending) v1alpha1.BudgetStatus {
	st := v1alpha1.BudgetStatus{
		State: v1alpha1.BudgetUnknown, MonthStart: metav1.NewTime(b.from.UTC()), MonthEnd: metav1.NewTime(b.until.UTC()), Crossed: slices.Clone(b.crossed), ObservedTime: second(now),
	}
	if !b.spentAt.IsZero() {
		st.SpentTime = metav1.NewTime(b.spentAt.UTC())
		if b.stop == v1alpha1.HardStopEnd {
			st.StopTime = metav1.NewTime(b.stopAt().UTC())
		}
	}
	if s == nil {
		return st
	}
	st.Spent, st.PerHour = fixed.Decimal(s.Spent, places), fixed.Decimal(s.PerHour, places)
	st.Percent = percent(s.Spent, b.amount)
	denied, stop := b.verdict(now, s.Spent)
	switch {
	case stop:
		st.State = v1alpha1.BudgetStopping
	case denied != nil:
		st.State = v1alpha1.BudgetDenying
	case !b.spentAt.IsZero():
		st.State = v1alpha1.BudgetSpent
	default:
		st.State = v1alpha1.BudgetWithin
	}
	return st
}

// percent writes part of whole with one decimal place, rounded down.
func percent(part, whole int64) string {
	hi, lo := bits.Mul64(uint64(max(part, 0)), 1000)
	if hi >= uint64(whole) {
		return ">100000%"
	}
	q, _ := bits.Div64(hi, lo, uint64(whole))
	return fixed.Decimal(int64(min(q, math.MaxInt64)), 1) + "%"
}
