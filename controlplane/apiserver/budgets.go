package apiserver

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// Resources of budgets, as the store has them.
const (
	budgetsResource        = "budgets"
	accountBudgetsResource = "accountbudgets"
)

// Budgets know what namespaces may still spend. All calls are quick.
type Budgets interface {
	// Closed reports that there may be no more and no larger pods in a namespace.
	Closed(namespace string) bool
	// Spent answers why, for one that is refused for it; nil if there may be more again.
	Spent(namespace string) error
	// Reload is called when a budget has changed. It holds when that returns.
	Reload()
}

// budgets are of namespaces and bound those who edit them. Their status is observed.
func (s *Server) budgets() *resource {
	of := func(o controlplane.Object) (*v1alpha1.BudgetSpec, *v1alpha1.BudgetStatus) {
		b := o.(*v1alpha1.Budget)
		return &b.Spec, &b.Status
	}
	return s.budgetResource(&resource{
		gvk: swellVersion.WithKind("Budget"), plural: budgetsResource, singular: "budget", short: []string{"bud"}, namespaced: true, table: budgetTable("", of),
	}, func() controlplane.Object { return &v1alpha1.Budget{} }, func() runtime.Object { return &v1alpha1.BudgetList{} }, of)
}

// accountBudgets are budgets of all namespaces of an account.
func (s *Server) accountBudgets() *resource {
	of := func(o controlplane.Object) (*v1alpha1.BudgetSpec, *v1alpha1.BudgetStatus) {
		b := o.(*v1alpha1.AccountBudget)
		if b.Spec.Account == "" {
			b.Spec.Account = b.Name
		}
		return &b.Spec.BudgetSpec, &b.Status
	}
	res := s.budgetResource(&resource{
		gvk: swellVersion.WithKind("AccountBudget"), plural: accountBudgetsResource, singular: "accountbudget", short: []string{"abud"}, table: budgetTable("Account", of),
	}, func() controlplane.Object { return &v1alpha1.AccountBudget{} }, func() runtime.Object { return &v1alpha1.AccountBudgetList{} }, of)
	valid := res.rules.validate
	res.rules.validate = func(o controlplane.Object) field.ErrorList {
		return append(valid(o), validateAccount(o.(*v1alpha1.AccountBudget).Spec.Account)...)
	}
	validUpdate := res.rules.validateUpdate
	res.rules.validateUpdate = func(next, old controlplane.Object) field.ErrorList {
		return append(validUpdate(next, old), validateAccount(next.(*v1alpha1.AccountBudget).Spec.Account)...)
	}
	return res
}

func validateAccount(name string) field.ErrorList {
	var errs field.ErrorList
	for _, problem := range v1alpha1.ValidateAccount(name) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "account"), name, problem))
	}
	return errs
}

// budgetResource completes a kind of budget. of also fills in what only that kind leaves open.
func (s *Server) budgetResource(res *resource, newOne func() controlplane.Object, newList func() runtime.Object,
	of func(controlplane.Object) (*v1alpha1.BudgetSpec, *v1alpha1.BudgetStatus)) *resource {
	valid := func(o controlplane.Object) field.ErrorList {
		spec, _ := of(o)
		return s.cfg.Admission.ValidateBudget(spec)
	}
	res.verbs, res.types, res.serve = allVerbs, textTypes, s.serveStored
	res.rules = &rules{
		new: newOne, newList: newList,
		prepare: func(o controlplane.Object) {
			spec, status := of(o)
			s.cfg.Admission.DefaultBudget(spec)
			*status = v1alpha1.BudgetStatus{}
		},
		prepareUpdate: func(next, old controlplane.Object) {
			spec, status := of(next)
			s.cfg.Admission.DefaultBudget(spec)
			_, was := of(old.DeepCopyObject().(controlplane.Object))
			*status = *was
		},
		specChanged: func(next, old controlplane.Object) bool {
			if n, ok := next.(*v1alpha1.AccountBudget); ok {
				return !equality.Semantic.DeepEqual(n.Spec, old.(*v1alpha1.AccountBudget).Spec)
			}
			return !equality.Semantic.DeepEqual(next.(*v1alpha1.Budget).Spec, old.(*v1alpha1.Budget).Spec)
		},
		validate: func(o controlplane.Object) field.ErrorList {
			return append(validateMeta(o, validation.NameIsDNSSubdomain), valid(o)...)
		},
		validateUpdate: func(next, old controlplane.Object) field.ErrorList {
			return append(validateMetaUpdate(next, old), valid(next)...)
		},
		create: func(ctx context.Context, o controlplane.Object) (controlplane.Object, error) {
			defer s.cfg.Budgets.Reload()
			return s.insert(ctx, res.key(o.GetNamespace(), o.GetName()), o)
		},
		delete: func(ctx context.Context, key controlplane.Key, d deletion) (controlplane.Object, bool, error) {
			defer s.cfg.Budgets.Reload()
			return s.removePlain(ctx, res, key, d)
		},
	}
	return res
}

// affordable refuses a pod, or a size, that a spent budget forbids. old is nil for a new pod; what doesn't grow isn't
// judged.
func (s *Server) affordable(next, old *corev1.Pod) error {
	if s.cfg.Budgets == nil || !s.cfg.Budgets.Closed(next.Namespace) {
		return nil
	}
	if old != nil {
		held, err := controlplane.PodDemand(old)
		if err != nil {
			return err
		}
		if controlplane.SpecDemand(next).Fits(held) {
			return nil
		}
	}
	if err := s.cfg.Budgets.Spent(next.Namespace); err != nil {
		return apierrors.NewForbidden(corev1.Resource("pods"), next.Name, err)
	}
	return nil
}

// RecordBudget makes an event about a budget.
func (s *Server) RecordBudget(ctx context.Context, about controlplane.Object, kind, reason, message string) {
	gvk := swellVersion.WithKind("Budget")
	if _, ok := about.(*v1alpha1.AccountBudget); ok {
		gvk.Kind = "AccountBudget"
	}
	s.recordAbout(ctx, "budgets", corev1.ObjectReference{
		Kind: gvk.Kind, APIVersion: swellVersion.String(), Namespace: about.GetNamespace(), Name: about.GetName(), UID: about.GetUID(), ResourceVersion: about.GetResourceVersion(),
	}, kind, reason, message)
}

// budgetTable has a column for whose budget it is, if that has a name.
func budgetTable(whose string, of func(controlplane.Object) (*v1alpha1.BudgetSpec, *v1alpha1.BudgetStatus)) table {
	t := table{columns: []metav1.TableColumnDefinition{nameColumn()}}
	if whose != "" {
		t.columns = append(t.columns, column(whose, "Whose budget it is."))
	}
	t.columns = append(t.columns,
		column("State", "Within, Spent, Denying or Stopping; Unknown until the first look."),
		column("Spent", "What the present month has cost."),
		column("Amount", "What a month may cost."),
		column("Percent", "Spent of the amount."),
		column("Forecast", "What the month will have cost, as it has gone on so far."),
		column("Hard-Stop", "None, Deny or DenyAndStop, once all of it is spent."),
		ageColumn(),
		wide("Per-Hour", "What runs now costs, at list."),
		wide("Zone", "Whose months."),
		wide("Crossed", "Thresholds that were reached."),
	)
	t.row = func(o controlplane.Object) metav1.TableRow {
		spec, st := of(o.DeepCopyObject().(controlplane.Object))
		var crossed []string
		for _, c := range st.Crossed {
			crossed = append(crossed, c.Text())
		}
		cells := []any{o.GetName()}
		if b, ok := o.(*v1alpha1.AccountBudget); ok {
			cells = append(cells, b.Spec.Account)
		}
		return metav1.TableRow{Cells: append(cells, string(st.State), orNone(st.Spent), spec.Amount+" "+spec.Currency, orNone(st.Percent), orNone(st.Forecast),
			string(spec.HardStop), since(o.GetCreationTimestamp()), orNone(st.PerHour), spec.TimeZone, orNone(strings.Join(crossed, ",")))}
	}
	return t
}
