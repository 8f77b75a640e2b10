package plans

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/plan"
	"swell.dev/swell/cmd/swell/costs"
	"swell.dev/swell/controlplane/apiserver"
)

type engine interface {
	Cells(context.Context, costs.Query) ([]billing.Cell, error)
	Uses(context.Context, costs.Query) ([]plan.Use, error)
	Now() time.Time
}

var _ engine = (*costs.Engine)(nil)

// Advisor says from what was used what plans would have saved.
type Advisor struct {
	Market Market
	Engine engine
	Plans  func() []*billing.Plan // that were bought
}

// historyDays is how long the past is looked at unless somebody says otherwise.
const historyDays = 90

// errNoHistory says that there is nothing to learn from.
var errNoHistory = errors.New("there is no history")

// history is the use of some days up to now, cut so that candidates can be laid onto it.
func (a *Advisor) history(ctx context.Context, days int, candidates []plan.Candidate) (*plan.History, error) {
	now := a.Engine.Now()
	h := &plan.History{From: now.AddDate(0, 0, -days).UnixMilli(), To: now.UnixMilli(), Plans: a.Plans()}
	cuts := plan.Boundaries(append(plan.Planned(candidates, h.From, h.To), h.Plans...), h.From, h.To)
	var err error
	if h.Cells, err = a.Engine.Cells(ctx, costs.Query{From: time.UnixMilli(h.From), To: time.UnixMilli(h.To), Cuts: cuts}); err != nil {
		return nil, err
	}
	if len(h.Cells) == 0 {
		return nil, fmt.Errorf("%w: nothing was used in the last %d days", errNoHistory, days)
	}
	// Days before the first use are no history. A slice of time begins where an interval does.
	h.From = slices.MinFunc(h.Cells, func(x, y billing.Cell) int { return int(min(max(x.From-y.From, -1), 1)) }).From
	return h, nil
}

// Forecast answers what a plan would have done to what was used so far.
func (a *Advisor) Forecast(ctx context.Context, p *v1alpha1.SavingsPlan) (*v1alpha1.SavingsForecast, error) {
	b, err := Plan(p)
	if err != nil {
		return nil, err
	}
	c := plan.Candidate{
		Offer: billing.Offer{Name: p.Name, Interval: b.Interval, TermDays: int(p.Spec.TermDays), Discounts: b.Discounts, Zone: b.Zone}, Scope: b.Scope,
	}
	h, err := a.history(ctx, historyDays, []plan.Candidate{c})
	if err != nil {
		return nil, err
	}
	return a.foresee(h, c, b.Commitment)
}

func (a *Advisor) foresee(h *plan.History, c plan.Candidate, commitment billing.Money) (*v1alpha1.SavingsForecast, error) {
	f, err := plan.Foresee(h, c, commitment, plan.Options{})
	if err != nil {
		return nil, err
	}
	if f.Days == 0 {
		return nil, fmt.Errorf("the history has no whole day of %s yet", c.In())
	}
	best, err := plan.Recommend(h, []plan.Candidate{c}, plan.Options{})
	if err != nil {
		return nil, err
	}
	return forecastOf(h, c.In(), &f.Outcome, f.Days, &f.Risk, f.Best, best[0].Rolling), nil
}

func forecastOf(h *plan.History, zone *time.Location, o *plan.Outcome, days int, risk *plan.Risk, best billing.Money, rolling *plan.Rolling) *v1alpha1.SavingsForecast {
	out := &v1alpha1.SavingsForecast{
		From: metav1.NewTime(time.UnixMilli(h.From).UTC()), To: metav1.NewTime(time.UnixMilli(h.To).UTC()), Days: int32(days),
		List: amount(o.List), Cost: amount(o.Cost), Saving: amount(o.Saved()), SavingPercent: percent(o.Saving()), Utilisation: percent(o.Utilisation()), Best: best.String(),
		WorstFrom: time.UnixMilli(risk.Worst.From).In(zone).Format(dateLayout), WorstSaving: amount(risk.Worst.Saved()), WorstPercent: percent(risk.Worst.Saving()),
		ChanceToLose: percent(risk.ChanceToLose),
	}
	if rolling != nil {
		out.OutOfSamplePercent, out.RegretPercent = percent(rolling.Saving()), percent(rolling.Regret())
		out.Tests, out.TestsLost = int32(rolling.Windows), int32(rolling.Lost)
	}
	return out
}

// amount is for people: what a forecast says isn't exact.
func amount(m billing.Money) string { return m.Fixed(4) }

func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) + "%" }

// Recommend answers for each offer, or the one of a name, the commitment that would have saved most.
func (a *Advisor) Recommend(ctx context.Context, days int, offer string, zone *time.Location, scope v1alpha1.SavingsScope) (*v1alpha1.SavingsRecommendationList, error) {
	var candidates []plan.Candidate
	for _, o := range a.Market.Offers() {
		if offer != "" && o.Name != offer {
			continue
		}
		if zone != nil {
			o.Zone = zone
		}
		candidates = append(candidates, plan.Candidate{Offer: o, Scope: billing.Scope{Account: scope.Account, Project: scope.Project, Class: scope.ComputeClass}})
	}
	out := &v1alpha1.SavingsRecommendationList{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.Group + "/" + v1alpha1.Version, Kind: "SavingsRecommendationList"}, Items: []v1alpha1.SavingsRecommendation{},
	}
	if len(candidates) == 0 {
		return nil, &costs.BadQuery{Parameter: "offer", Value: offer, Want: "one of the price book: " + offerNames(a.Market.Offers())}
	}
	h, err := a.history(ctx, days, candidates)
	if errors.Is(err, errNoHistory) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := plan.Recommend(h, candidates, plan.Options{})
	if err != nil {
		return nil, err
	}
	for i := range list {
		r := &list[i]
		if r.Days == 0 {
			continue
		}
		out.Items = append(out.Items, v1alpha1.SavingsRecommendation{
			Offer: r.Candidate.Offer.Name, Interval: intervalOf(r.Candidate.Offer.Interval), TermDays: int32(r.Candidate.Offer.TermDays), TimeZone: r.Candidate.In().String(),
			Scope: scope, Commitment: r.Commitment.String(), Currency: a.Market.Currency,
			Forecast: *forecastOf(h, r.Candidate.In(), &r.InSample, r.Days, &r.Risk, r.Commitment, r.Rolling),
		})
	}
	return out, nil
}

// AddTo adds the endpoint recommend.
func (a *Advisor) AddTo(api *costs.API) { api.Handle("recommend", a.serve, http.MethodGet) }

const maxHistoryDays = 1100

func (a *Advisor) serve(w http.ResponseWriter, r *http.Request, b apiserver.BillingRequest) error {
	v := r.URL.Query()
	days := historyDays
	if text := v.Get("days"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxHistoryDays {
			return &costs.BadQuery{Parameter: "days", Value: text, Want: "between 1 and 1100"}
		}
		days = n
	}
	var zone *time.Location
	if name := v.Get("zone"); name != "" {
		var err error
		if zone, err = parseZone(name); err != nil {
			return &costs.BadQuery{Parameter: "zone", Value: name, Want: "a name of the IANA time zone database, such as Europe/Berlin"}
		}
	}
	scope := v1alpha1.SavingsScope{Account: v.Get("account"), Project: v.Get("project"), ComputeClass: v.Get("class")}
	if b.Namespace != "" {
		scope.Project = b.Namespace
	}
	list, err := a.Recommend(r.Context(), days, v.Get("offer"), zone, scope)
	if err != nil {
		return err
	}
	return costs.WriteJSON(w, http.StatusOK, list)
}
