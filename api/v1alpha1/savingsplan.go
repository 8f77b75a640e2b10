package v1alpha1

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// SavingsPlan is a commitment to spend an amount in each day (or hour), which use draws down at a discount. To create
// one is to buy it; from then on its spec doesn't change, and it stays as a record.
type SavingsPlan struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   SavingsPlanSpec   `json:"spec,omitempty"`
	Status SavingsPlanStatus `json:"status,omitzero"`
}

// SavingsInterval is what a commitment is for; what one interval leaves is lost.
type SavingsInterval string

// The intervals.
const (
	SavingsDay  SavingsInterval = "Day"  // a calendar day of the plan's time zone
	SavingsHour SavingsInterval = "Hour" // an hour of the clock
)

// SavingsPlanSpec is what is bought. The server fills in what an offer says, so that a later price book doesn't change
// the plan.
type SavingsPlanSpec struct {
	// Offer of the price book, which says interval, discounts, term and return window. Empty: the plan says them itself.
	Offer    string          `json:"offer,omitempty"`
	Interval SavingsInterval `json:"interval,omitempty"` // default Day
	// Discounts on the list price; the first that fits holds. What none fits isn't covered.
	Discounts  []SavingsDiscount `json:"discounts,omitempty"`
	Commitment string            `json:"commitment"`          // a decimal, per interval
	Currency   string            `json:"currency,omitempty"`  // the price book's, and no other
	TimeZone   string            `json:"timeZone,omitempty"`  // of the IANA database; default UTC
	StartDate  string            `json:"startDate,omitempty"` // 2006-01-02, the first day; default: the day after the purchase
	TermDays   int32             `json:"termDays,omitempty"`  // calendar days
	// ReturnWindowSeconds from the purchase the plan can be returned. Default a day.
	ReturnWindowSeconds *int64       `json:"returnWindowSeconds,omitempty"`
	Scope               SavingsScope `json:"scope,omitzero"`
	// Renews names the plan that this one follows: it starts when that one ends.
	Renews string `json:"renews,omitempty"`
}

// SavingsDiscount is a discount on some of what is sold; empty fields fit all. Best-effort is never covered.
type SavingsDiscount struct {
	ComputeClass string `json:"computeClass,omitempty"`
	Resource     string `json:"resource,omitempty"` // vcpu, memory, gpu, gpu-memory, storage
	Model        string `json:"model,omitempty"`    // of a GPU
	Region       string `json:"region,omitempty"`
	Discount     string `json:"discount"` // such as 55%
}

// SavingsScope is whose use a plan covers; empty fields are everybody's.
type SavingsScope struct {
	Account      string `json:"account,omitempty"`
	Project      string `json:"project,omitempty"` // namespace
	ComputeClass string `json:"computeClass,omitempty"`
}

// SavingsPlanPhase is where a plan is in its life.
type SavingsPlanPhase string

// The phases.
const (
	SavingsPlanQueued   SavingsPlanPhase = "Queued"   // not yet started
	SavingsPlanActive   SavingsPlanPhase = "Active"   //
	SavingsPlanEnded    SavingsPlanPhase = "Ended"    //
	SavingsPlanReturned SavingsPlanPhase = "Returned" // it counts as never bought
)

// SavingsPlanStatus is the server's. Its times are fixed at the purchase; phase and utilisation are worked out.
type SavingsPlanStatus struct {
	Phase             SavingsPlanPhase `json:"phase,omitempty"`
	StartTime         metav1.Time      `json:"startTime,omitzero"` // a midnight of the plan's zone
	EndTime           metav1.Time      `json:"endTime,omitzero"`   // likewise; it isn't part of the plan
	ReturnableUntil   metav1.Time      `json:"returnableUntil,omitzero"`
	ReturnedAt        metav1.Time      `json:"returnedAt,omitzero"`
	Utilisation       *SavingsPlanUse  `json:"utilisation,omitempty"` // of the intervals of the last seven days
	Forecast          *SavingsForecast `json:"forecast,omitempty"`    // of a dry run only
	NotForecastReason string           `json:"notForecastReason,omitempty"`
}

// SavingsPlanUse is how much of a commitment was drawn down.
type SavingsPlanUse struct {
	From      metav1.Time `json:"from"`
	To        metav1.Time `json:"to"`
	Intervals int32       `json:"intervals"` // that have ended
	Committed string      `json:"committed"`
	Used      string      `json:"used"`
	Unused    string      `json:"unused"`
	Percent   string      `json:"percent"`
}

// SavingsForecast is what a plan would have done to what was used, and what is to be feared. Amounts are of the time
// that it is made from; percentages are shares of the list cost.
type SavingsForecast struct {
	From          metav1.Time `json:"from"`
	To            metav1.Time `json:"to"`
	Days          int32       `json:"days"`          // whole ones of the plan's zone
	List          string      `json:"list"`          // eligible use, after the plans that there are
	Cost          string      `json:"cost"`          // with the plan
	Saving        string      `json:"saving"`        // negative: the plan costs more than it saves
	SavingPercent string      `json:"savingPercent"` //
	Utilisation   string      `json:"utilisation"`   // of the commitments
	Best          string      `json:"best"`          // the commitment that would have saved most
	// OutOfSamplePercent is what commitments saved that were chosen by the weeks before: what is to be expected.
	OutOfSamplePercent string `json:"outOfSamplePercent,omitempty"`
	RegretPercent      string `json:"regretPercent,omitempty"` // paid more than with the best in hindsight
	Tests              int32  `json:"tests,omitempty"`         // out of sample
	TestsLost          int32  `json:"testsLost,omitempty"`     // in which the plan cost more than list
	WorstFrom          string `json:"worstFrom"`               // the 30 days in a row that saved least: their first day
	WorstSaving        string `json:"worstSaving"`
	WorstPercent       string `json:"worstPercent"`
	// ChanceToLose is the share of 2,000 terms, drawn from the history in blocks of a week, in which the plan costs
	// more than list.
	ChanceToLose string `json:"chanceToLose"`
}

// SavingsRecommendation is a plan that would have paid.
type SavingsRecommendation struct {
	Offer      string          `json:"offer"`
	Interval   SavingsInterval `json:"interval"`
	TermDays   int32           `json:"termDays"`
	TimeZone   string          `json:"timeZone"`
	Scope      SavingsScope    `json:"scope,omitzero"`
	Commitment string          `json:"commitment"` // 0: none would have saved
	Currency   string          `json:"currency"`
	Forecast   SavingsForecast `json:"forecast"` // of that commitment
}

// SavingsRecommendationList has the one that saves most first. Served as
// /apis/swell.dev/v1alpha1/billing/recommend?offer&days&zone&account&project&class.
type SavingsRecommendationList struct {
	metav1.TypeMeta `json:",inline"`
	Items           []SavingsRecommendation `json:"items"`
}

// SavingsPlanList is a list of plans.
type SavingsPlanList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []SavingsPlan `json:"items"`
}

// PhaseAt answers the phase at a time, and when it changes next by itself; never: the zero time.
func (p *SavingsPlan) PhaseAt(now time.Time) (SavingsPlanPhase, time.Time) {
	st := &p.Status
	switch {
	case !st.ReturnedAt.IsZero():
		return SavingsPlanReturned, time.Time{}
	case now.Before(st.StartTime.Time):
		return SavingsPlanQueued, st.StartTime.Time
	case now.Before(st.EndTime.Time):
		return SavingsPlanActive, st.EndTime.Time
	}
	return SavingsPlanEnded, time.Time{}
}

// DeepCopy answers an independent copy.
func (p *SavingsPlan) DeepCopy() *SavingsPlan {
	out := *p
	out.ObjectMeta = *p.ObjectMeta.DeepCopy()
	out.Spec.Discounts = slices.Clone(p.Spec.Discounts)
	out.Spec.ReturnWindowSeconds = copied(p.Spec.ReturnWindowSeconds)
	out.Status.Utilisation = copied(p.Status.Utilisation)
	out.Status.Forecast = copied(p.Status.Forecast)
	return &out
}

// DeepCopyObject implements runtime.Object.
func (p *SavingsPlan) DeepCopyObject() runtime.Object { return p.DeepCopy() }

// DeepCopyObject implements runtime.Object.
func (l *SavingsPlanList) DeepCopyObject() runtime.Object {
	out := *l
	out.ListMeta = *l.ListMeta.DeepCopy()
	out.Items = make([]SavingsPlan, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopy()
	}
	return &out
}
