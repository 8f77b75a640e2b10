package plans

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/cmd/swell/costs"
	"swell.dev/swell/controlplane"
	"swell.dev/swell/controlplane/apiserver"
)

// world is a ledger with a pod of one vCPU that has run for some hours of each day, and an engine over it.
type world struct {
	now    time.Time
	engine *costs.Engine
	bought []*billing.Plan
	list   []controlplane.Object
}

// worldOf has days of use up to its time; the pod costs a unit an hour.
func worldOf(t *testing.T, days int, hours func(day int) time.Duration) *world {
	t.Helper()
	l, err := ledger.Open(t.Context(), filepath.Join(t.TempDir(), "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	book, err := billing.ParseBook("b.yaml", []byte("version: v\neffective: 2020-01-01\ncurrency: CNY\nbestEffort: 20%\nprices:\n  general-purpose: {default: {vcpu: 1, gib: 0}}\n  performance: {default: {vcpu: 1, gib: 0}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	books, err := billing.NewBooks(book)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{now: at(t, "2027-06-01T00:00:00Z")}
	var segments []usagev1.Segment
	for d := range days {
		start := w.now.AddDate(0, 0, d-days)
		if n := hours(d); n > 0 {
			segments = append(segments, usagev1.Segment{ID: usagev1.ID{PodUID: fmt.Sprint("u", d), Generation: 1, Sequence: 1}, Namespace: "shop", Pod: "web", Node: "n",
				ComputeClass: "general-purpose", QoS: "default", CPUMilli: 1000, Start: start, End: start.Add(n)})
		}
	}
	if len(segments) > 0 {
		if err := l.Record(t.Context(), segments); err != nil {
			t.Fatal(err)
		}
	}
	if w.engine, err = costs.New(costs.Config{Ledger: l, Books: books, Plans: func() []*billing.Plan { return w.bought }, Now: func() time.Time { return w.now }}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) advisor() *Advisor {
	return &Advisor{Market: market, Engine: w.engine, Plans: func() []*billing.Plan { return w.bought }}
}

// TestForecast: 10 a day at list, a commitment of 3.6 at 55 % off pays for 8 of it.
func TestForecast(t *testing.T) {
	w := worldOf(t, 40, func(int) time.Duration { return 10 * time.Hour })
	p, problem := buy(t, "2027-06-01T00:00:00Z", "{offer: day-1y, commitment: '3.6'}", nil)
	if problem != "" {
		t.Fatal(problem)
	}
	f, err := w.advisor().Forecast(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if f.Days != 40 || f.List != "400.0000" || f.Cost != "224.0000" || f.Saving != "176.0000" || f.SavingPercent != "44.0%" || f.Utilisation != "100.0%" || f.Best != "4.5" || f.ChanceToLose != "0.0%" || f.WorstPercent != "44.0%" || f.OutOfSamplePercent != "55.0%" {
		t.Errorf("%+v", f)
	}
	// Most of it for nothing, and sure to lose.
	p.Spec.Commitment = "20"
	if f, err = w.advisor().Forecast(t.Context(), p); err != nil || f.Saving != "-400.0000" || f.ChanceToLose != "100.0%" || f.Utilisation != "22.5%" {
		t.Errorf("%+v, %v", f, err)
	}
	// What is covered already isn't saved again.
	w.bought = []*billing.Plan{{Name: "old", UID: "1", Zone: time.UTC, Start: w.now.AddDate(0, 0, -60), End: w.now, Commitment: billing.MustMoney("4.5"), Discounts: []billing.PlanDiscount{{Discount: 550_000}}}}
	if f, err = w.advisor().Forecast(t.Context(), p); err != nil || !strings.HasPrefix(f.Saving, "-") || f.Best != "0" {
		t.Errorf("%+v, %v", f, err)
	}
	if _, err := worldOf(t, 0, nil).advisor().Forecast(t.Context(), p); err == nil || !strings.Contains(err.Error(), "no history") {
		t.Error(err)
	}
}

func TestRecommend(t *testing.T) {
	w := worldOf(t, 40, func(int) time.Duration { return 10 * time.Hour })
	var api costs.API
	w.advisor().AddTo(&api)
	get := func(query string) (string, error) {
		r, a := httptest.NewRequest("GET", "/?"+query, nil), httptest.NewRecorder()
		err := api.Serve(a, r, apiserver.BillingRequest{Endpoint: "recommend"})
		return a.Body.String(), err
	}
	list, err := w.advisor().Recommend(t.Context(), 90, "", nil, v1alpha1.SavingsScope{})
	if err != nil || len(list.Items) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	// Ten hours of each day are used: a day's commitment reaches the discount, an hour's pays 14 hours for nothing.
	if best := list.Items[0]; best.Offer != "day-1y" || best.Commitment != "4.5" || best.Forecast.SavingPercent != "55.0%" || best.Currency != "CNY" || best.TimeZone != "UTC" {
		t.Errorf("%+v", best)
	}
	if hourly := list.Items[1]; hourly.Commitment != "0" || hourly.Forecast.Saving != "0.0000" {
		t.Errorf("%+v", hourly)
	}
	if text, err := get("offer=day-1y&days=30&zone=Asia/Shanghai&project=shop"); err != nil || !strings.Contains(text, `"offer":"day-1y"`) || !strings.Contains(text, `"timeZone":"Asia/Shanghai"`) || strings.Contains(text, "hour-30d") {
		t.Errorf("%s, %v", text, err)
	}
	if text, err := get("project=other"); err != nil || strings.Contains(text, `"saving":"2`) {
		t.Errorf("%s, %v", text, err)
	}
	for _, query := range []string{"offer=gold", "days=0", "days=x", "zone=Mars", "days=2000"} {
		if text, err := get(query); err == nil {
			t.Errorf("%s: %s", query, text)
		}
	}
	list, err = worldOf(t, 0, nil).advisor().Recommend(t.Context(), 90, "", nil, v1alpha1.SavingsScope{})
	if err != nil || len(list.Items) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func (w *world) List(string, string) ([]controlplane.Object, uint64) { return w.list, 1 }

func (w *world) Observe(key controlplane.Key, change func(controlplane.Object) controlplane.Object) (controlplane.Object, error) {
	for i, o := range w.list {
		if o.GetName() == key.Name {
			w.list[i] = change(o)
			return w.list[i], nil
		}
	}
	return nil, controlplane.ErrNotFound
}

// TestKeeper: days of 3 to 9 hours, of which a commitment of 2.25 pays for 5.
func TestKeeper(t *testing.T) {
	w := worldOf(t, 10, func(d int) time.Duration { return time.Duration(d) * time.Hour })
	for _, c := range []struct {
		name, start string
		days        int
	}{{"active", "2027-05-20T00:00:00Z", 365}, {"queued", "2027-06-01T00:00:30Z", 5}, {"ended", "2027-05-01T00:00:00Z", 3}} {
		p := &v1alpha1.SavingsPlan{
			ObjectMeta: metav1.ObjectMeta{Name: c.name, UID: types.UID("uid-" + c.name)},
			Spec:       v1alpha1.SavingsPlanSpec{TimeZone: "UTC", Commitment: "2.25", Discounts: []v1alpha1.SavingsDiscount{{Discount: "55%"}}},
			Status:     v1alpha1.SavingsPlanStatus{StartTime: metav1.NewTime(at(t, c.start)), EndTime: metav1.NewTime(at(t, c.start).AddDate(0, 0, c.days))},
		}
		w.list = append(w.list, p)
		b, err := Plan(p)
		if err != nil {
			t.Fatal(err)
		}
		w.bought = append(w.bought, b)
	}
	k := NewKeeper(w, w.engine, slog.New(slog.DiscardHandler))
	again, err := k.look(t.Context(), w.now)
	if err != nil || !again.Equal(at(t, "2027-06-01T00:00:30Z")) {
		t.Errorf("again at %s, %v", again, err)
	}
	status := func(i int) v1alpha1.SavingsPlanStatus { return w.list[i].(*v1alpha1.SavingsPlan).Status }
	u := status(0).Utilisation
	if status(0).Phase != v1alpha1.SavingsPlanActive || u == nil || u.Intervals != 7 || u.Committed != "15.75" || u.Used != "14.4" || u.Unused != "1.35" || u.Percent != "91.4%" {
		t.Errorf("%s %+v", status(0).Phase, u)
	}
	if status(1).Phase != v1alpha1.SavingsPlanQueued || status(2).Phase != v1alpha1.SavingsPlanEnded || status(1).Utilisation != nil || status(2).Utilisation != nil {
		t.Errorf("%+v, %+v", status(1), status(2))
	}
	before := w.list[0]
	if _, err := k.look(t.Context(), w.now); err != nil || w.list[0] != before {
		t.Errorf("what hasn't changed is written: %v", err)
	}
	if _, err := k.look(t.Context(), w.now.Add(time.Minute)); err != nil || status(1).Phase != v1alpha1.SavingsPlanActive {
		t.Errorf("%+v, %v", status(1), err)
	}
}

// broken is an engine whose ledger doesn't answer.
type broken struct{ engine }

var errBroken = errors.New("ledger: the disk is gone")

func (broken) Cells(context.Context, costs.Query) ([]billing.Cell, error) { return nil, errBroken }

// TestRecommendTellsOfErrors: a ledger that fails isn't one in which nothing was used.
func TestRecommendTellsOfErrors(t *testing.T) {
	a := worldOf(t, 1, func(int) time.Duration { return time.Hour }).advisor()
	a.Engine = broken{a.Engine}
	if list, err := a.Recommend(t.Context(), 90, "", nil, v1alpha1.SavingsScope{}); !errors.Is(err, errBroken) {
		t.Errorf("%+v, %v", list, err)
	}
}
