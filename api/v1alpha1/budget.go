package v1alpha1

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
)

// LabelAccount is the label of a namespace that says whose account it is billed to.
const LabelAccount = Group + "/account"

// DefaultAccount is that of a namespace that names none.
const DefaultAccount = "default"

// Budget is what a project, which is its namespace, may cost in a calendar month.
type Budget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   BudgetSpec   `json:"spec,omitempty"`
	Status BudgetStatus `json:"status,omitzero"`
}

// AccountBudget is what all projects of an account may cost together. Its name is the account's unless its spec says.
type AccountBudget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   AccountBudgetSpec `json:"spec,omitempty"`
	Status BudgetStatus      `json:"status,omitzero"`
}

// AccountBudgetSpec is a budget of an account.
type AccountBudgetSpec struct {
	Account    string `json:"account,omitempty"` // default: the object's name
	BudgetSpec `json:",inline"`
}

// HardStop says what happens once a budget is spent.
type HardStop string

// The hard stops.
const (
	HardStopNone HardStop = "None"        // nothing but alerts
	HardStopDeny HardStop = "Deny"        // no new pods and no larger ones; those that run go on
	HardStopEnd  HardStop = "DenyAndStop" // and those that run are ended after the grace
)

// BudgetMeasure is what a threshold is a share of the budget in.
type BudgetMeasure string

// The measures.
const (
	BudgetActual   BudgetMeasure = "Actual"   // what was spent
	BudgetForecast BudgetMeasure = "Forecast" // what will be by the month's end, as it has gone on so far
)

// DefaultBudgetGrace is how long pods go on that a DenyAndStop ends, in seconds.
const DefaultBudgetGrace = 300

// BudgetSpec is what may be spent and what is done about it.
type BudgetSpec struct {
	Amount     string            `json:"amount"`             // a decimal, per calendar month
	Currency   string            `json:"currency,omitempty"` // the price book's, and no other
	TimeZone   string            `json:"timeZone,omitempty"` // whose months; default UTC
	Thresholds []BudgetThreshold `json:"thresholds,omitempty"`
	HardStop   HardStop          `json:"hardStop,omitempty"` // default None
	// GraceSeconds between the budget's being spent and the end of its pods, of DenyAndStop. Default 300.
	GraceSeconds *int64 `json:"graceSeconds,omitempty"`
}

// BudgetThreshold has an alert made when it is reached, once a month.
type BudgetThreshold struct {
	Percent int32         `json:"percent"`      // of the amount
	Of      BudgetMeasure `json:"of,omitempty"` // default Actual
}

// BudgetState says whether there is money left.
type BudgetState string

// The states.
const (
	BudgetWithin   BudgetState = "Within"
	BudgetSpent    BudgetState = "Spent"    // all of it; nothing is stopped
	BudgetDenying  BudgetState = "Denying"  // creates and larger sizes are refused
	BudgetStopping BudgetState = "Stopping" // and pods are ended
	BudgetUnknown  BudgetState = "Unknown"  // what was spent isn't known yet
)

// BudgetStatus is the server's: what the present month has cost. Crossings and the time at which the budget was spent
// are stored; the rest is worked out.
type BudgetStatus struct {
	State         BudgetState      `json:"state,omitempty"`
	MonthStart    metav1.Time      `json:"monthStart,omitzero"`
	MonthEnd      metav1.Time      `json:"monthEnd,omitzero"` // it isn't part of the month
	Spent         string           `json:"spent,omitempty"`
	PerHour       string           `json:"perHour,omitempty"`  // at list, of what runs now
	Forecast      string           `json:"forecast,omitempty"` // by the month's end
	Percent       string           `json:"percent,omitempty"`  // spent of the amount
	Crossed       []BudgetCrossing `json:"crossed,omitempty"`
	SpentTime     metav1.Time      `json:"spentTime,omitzero"` // when all of it was spent
	StopTime      metav1.Time      `json:"stopTime,omitzero"`  // when pods are ended, or were
	ObservedTime  metav1.Time      `json:"observedTime,omitzero"`
	UnknownReason string           `json:"unknownReason,omitempty"`
}

// BudgetCrossing is a threshold that was reached.
type BudgetCrossing struct {
	BudgetThreshold `json:",inline"`
	Time            metav1.Time `json:"time"`
}

// Text is 80%, or 80% of the forecast.
func (t BudgetThreshold) Text() string {
	if t.Of == BudgetForecast {
		return fmt.Sprintf("%d%% of the forecast", t.Percent)
	}
	return fmt.Sprintf("%d%%", t.Percent)
}

// ValidateAccount answers what is wrong with an account's name, which has to fit into a label.
func ValidateAccount(name string) []string {
	if name == "" {
		return []string{"must not be empty"}
	}
	return validation.IsValidLabelValue(name)
}

// AccountOf is the account that a namespace names.
func AccountOf(labels map[string]string) string {
	if name := labels[LabelAccount]; name != "" {
		return name
	}
	return DefaultAccount
}

// BudgetList is a list of budgets.
type BudgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []Budget `json:"items"`
}

// AccountBudgetList is a list of budgets of accounts.
type AccountBudgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []AccountBudget `json:"items"`
}

// DeepCopy answers an independent copy.
func (s *BudgetSpec) DeepCopy() *BudgetSpec {
	out := *s
	out.Thresholds = slices.Clone(s.Thresholds)
	out.GraceSeconds = copied(s.GraceSeconds)
	return &out
}

// DeepCopy answers an independent copy.
func (s *BudgetStatus) DeepCopy() *BudgetStatus {
	out := *s
	out.Crossed = slices.Clone(s.Crossed)
	return &out
}

// DeepCopy answers an independent copy.
func (b *Budget) DeepCopy() *Budget {
	return &Budget{TypeMeta: b.TypeMeta, ObjectMeta: *b.ObjectMeta.DeepCopy(), Spec: *b.Spec.DeepCopy(), Status: *b.Status.DeepCopy()}
}

// DeepCopy answers an independent copy.
func (b *AccountBudget) DeepCopy() *AccountBudget {
	return &AccountBudget{
		TypeMeta: b.TypeMeta, ObjectMeta: *b.ObjectMeta.DeepCopy(), Status: *b.Status.DeepCopy(),
		Spec: AccountBudgetSpec{Account: b.Spec.Account, BudgetSpec: *b.Spec.BudgetSpec.DeepCopy()},
	}
}

// DeepCopyObject implements runtime.Object.
func (b *Budget) DeepCopyObject() runtime.Object { return b.DeepCopy() }

// DeepCopyObject implements runtime.Object.
func (b *AccountBudget) DeepCopyObject() runtime.Object { return b.DeepCopy() }

// DeepCopyObject implements runtime.Object.
func (l *BudgetList) DeepCopyObject() runtime.Object {
	out := &BudgetList{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy(), Items: make([]Budget, len(l.Items))}
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopy()
	}
	return out
}

// DeepCopyObject implements runtime.Object.
func (l *AccountBudgetList) DeepCopyObject() runtime.Object {
	out := &AccountBudgetList{TypeMeta: l.TypeMeta, ListMeta: *l.ListMeta.DeepCopy(), Items: make([]AccountBudget, len(l.Items))}
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopy()
	}
	return out
}
