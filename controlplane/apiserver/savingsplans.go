package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

const savingsPlansResource = "savingsplans"

// Sales sells savings plans. Its zero value sells none.
type Sales struct {
	// Complete fills in what a plan leaves open: what its offer and the plan that it renews (nil: none) say, and when
	// it starts and ends if it is bought at a time.
	Complete func(p, renewed *v1alpha1.SavingsPlan, bought time.Time)
	// Validate answers what is wrong with a complete plan.
	Validate func(*v1alpha1.SavingsPlan) field.ErrorList
	// Forecast answers what a plan would have done to the use so far. Nil: there is none.
	Forecast func(context.Context, *v1alpha1.SavingsPlan) (*v1alpha1.SavingsForecast, error)
	// MayReturn answers why a plan can't be returned, for reasons beyond its window. Nil: there are none.
	MayReturn func(context.Context, *v1alpha1.SavingsPlan) error
	// Changed tells that a plan was bought or returned. Nil: nobody wants to know.
	Changed func()

	buying *sync.Mutex // so that no plan is renewed twice
}

// savingsPlans are bought by being created. They are records of money: what was bought isn't changed and doesn't go.
func (s *Server) savingsPlans() *resource {
	s.cfg.Sales.buying = &sync.Mutex{}
	return &resource{
		gvk: swellVersion.WithKind("SavingsPlan"), plural: savingsPlansResource, singular: "savingsplan", short: []string{"svp"},
		verbs: allVerbs, types: textTypes, serve: s.serveStored, table: savingsPlanTable,
		subresources: []subresource{{
			name: "return", gvk: swellVersion.WithKind("SavingsPlan"), methods: []string{http.MethodPost}, verbs: []string{"create"}, types: textTypes, serve: s.returnPlan,
		}},
		rules: &rules{
			new:     func() controlplane.Object { return &v1alpha1.SavingsPlan{} },
			newList: func() runtime.Object { return &v1alpha1.SavingsPlanList{} },
			prepare: func(o controlplane.Object) {
				p := o.(*v1alpha1.SavingsPlan)
				p.Status = v1alpha1.SavingsPlanStatus{}
				s.cfg.Sales.Complete(p, s.savingsPlan(p.Spec.Renews), p.CreationTimestamp.Time)
			},
			prepareUpdate: func(nextObj, oldObj controlplane.Object) {
				next, old := nextObj.(*v1alpha1.SavingsPlan), oldObj.(*v1alpha1.SavingsPlan).DeepCopy()
				next.Status = old.Status
				keepUnsaid(&next.Spec, &old.Spec)
			},
			validate: func(o controlplane.Object) field.ErrorList {
				p := o.(*v1alpha1.SavingsPlan)
				return append(append(validateMeta(o, validation.NameIsDNSSubdomain), s.cfg.Sales.Validate(p)...), s.validateRenewal(p)...)
			},
			validateUpdate: func(next, old controlplane.Object) field.ErrorList {
				return append(validateMetaUpdate(next, old), boughtFields(next.(*v1alpha1.SavingsPlan), old.(*v1alpha1.SavingsPlan))...)
			},
			preview: func(ctx context.Context, o controlplane.Object) controlplane.Object {
				return s.forecastPlan(ctx, o.(*v1alpha1.SavingsPlan))
			},
			create: s.buyPlan,
			delete: func(_ context.Context, key controlplane.Key, d deletion) (controlplane.Object, bool, error) {
				p := s.savingsPlan(key.Name)
				if p == nil {
					return nil, false, fmt.Errorf("%s: %w", key, controlplane.ErrNotFound)
				}
				why := "it is a record of what was bought, and bills are made from it"
				if p.Status.ReturnedAt.IsZero() && time.Now().Before(p.Status.ReturnableUntil.Time) {
					why += "; it can be returned until " + p.Status.ReturnableUntil.UTC().Format(time.RFC3339) + " (POST to its subresource return)"
				}
				return nil, false, apierrors.NewForbidden(swellVersion.WithResource(savingsPlansResource).GroupResource(), key.Name, errors.New(why))
			},
		},
	}
}

// savingsPlan answers a stored plan, nil if there is none of that name.
func (s *Server) savingsPlan(name string) *v1alpha1.SavingsPlan {
	if name == "" {
		return nil
	}
	o, ok := s.cfg.Store.Get(controlplane.Key{Resource: savingsPlansResource, Name: name})
	if !ok {
		return nil
	}
	return o.(*v1alpha1.SavingsPlan)
}

func (s *Server) validateRenewal(p *v1alpha1.SavingsPlan) field.ErrorList {
	if p.Spec.Renews == "" {
		return nil
	}
	at := field.NewPath("spec", "renews")
	renewed := s.savingsPlan(p.Spec.Renews)
	switch {
	case renewed == nil:
		return field.ErrorList{field.NotFound(at, p.Spec.Renews)}
	case !renewed.Status.ReturnedAt.IsZero():
		return field.ErrorList{field.Invalid(at, p.Spec.Renews, "was returned: there is nothing to renew")}
	}
	list, _ := s.cfg.Store.List(savingsPlansResource, "")
	for _, o := range list {
		if other := o.(*v1alpha1.SavingsPlan); other.Spec.Renews == p.Spec.Renews && other.Status.ReturnedAt.IsZero() {
			return field.ErrorList{field.Invalid(at, p.Spec.Renews, "is renewed by "+other.Name+" already")}
		}
	}
	return nil
}

func (s *Server) buyPlan(ctx context.Context, o controlplane.Object) (controlplane.Object, error) {
	s.cfg.Sales.buying.Lock()
	defer s.cfg.Sales.buying.Unlock()
	p := o.(*v1alpha1.SavingsPlan)
	if errs := s.validateRenewal(p); len(errs) > 0 { // somebody was quicker
		return nil, apierrors.NewInvalid(swellVersion.WithKind("SavingsPlan").GroupKind(), p.Name, errs)
	}
	defer s.plansChanged()
	return s.insert(ctx, controlplane.Key{Resource: savingsPlansResource, Name: p.Name}, p)
}

func (s *Server) plansChanged() {
	if s.cfg.Sales.Changed != nil {
		s.cfg.Sales.Changed()
	}
}

// forecastPlan tells in the answer of a dry run what the plan would have done, or why that isn't known.
func (s *Server) forecastPlan(ctx context.Context, p *v1alpha1.SavingsPlan) *v1alpha1.SavingsPlan {
	out := p.DeepCopy()
	if s.cfg.Sales.Forecast == nil {
		out.Status.NotForecastReason = "this control plane makes no forecasts"
		return out
	}
	f, err := s.cfg.Sales.Forecast(ctx, p)
	if err != nil {
		out.Status.NotForecastReason = err.Error()
		return out
	}
	out.Status.Forecast = f
	return out
}

// returnPlan is POST savingsplans/NAME/return.
func (s *Server) returnPlan(q *request) error {
	dryRun := q.r.URL.Query().Get("dryRun") == metav1.DryRunAll
	if p := s.savingsPlan(q.name); p != nil && s.cfg.Sales.MayReturn != nil {
		if err := s.cfg.Sales.MayReturn(q.r.Context(), p); err != nil {
			return apierrors.NewForbidden(q.groupResource(), p.Name, err)
		}
	}
	out, err := s.modify(q.r.Context(), q.key(), dryRun, func(current controlplane.Object) (controlplane.Object, error) {
		p, now := current.(*v1alpha1.SavingsPlan), metav1.Now().Rfc3339Copy()
		refuse := func(format string, args ...any) (controlplane.Object, error) {
			return nil, apierrors.NewForbidden(q.groupResource(), p.Name, fmt.Errorf(format, args...))
		}
		switch until := p.Status.ReturnableUntil; {
		case !p.Status.ReturnedAt.IsZero():
			return refuse("it was returned at %s", p.Status.ReturnedAt.UTC().Format(time.RFC3339))
		case until.IsZero():
			return refuse("it was sold without a window in which it could be returned")
		case !now.Before(&until):
			return refuse("it could be returned until %s", until.UTC().Format(time.RFC3339))
		}
		next := p.DeepCopy()
		next.Status.ReturnedAt, next.Status.Phase = now, v1alpha1.SavingsPlanReturned
		return next, nil
	})
	if err != nil {
		return err
	}
	if !dryRun {
		s.plansChanged()
	}
	return q.respond(s, http.StatusOK, out)
}

// keepUnsaid takes over each field of old that next doesn't set: an update need not repeat what the server filled in.
func keepUnsaid[T any](next, old *T) {
	n, o := reflect.ValueOf(next).Elem(), reflect.ValueOf(old).Elem()
	for i := range n.NumField() {
		if n.Field(i).IsZero() {
			n.Field(i).Set(o.Field(i))
		}
	}
}

// boughtFields answers each field of the spec that an update would change.
func boughtFields(next, old *v1alpha1.SavingsPlan) field.ErrorList {
	var errs field.ErrorList
	n, o := reflect.ValueOf(next.Spec), reflect.ValueOf(old.Spec)
	for i := range n.NumField() {
		if v := n.Field(i).Interface(); !equality.Semantic.DeepEqual(v, o.Field(i).Interface()) {
			name, _, _ := strings.Cut(n.Type().Field(i).Tag.Get("json"), ",")
			errs = append(errs, field.Invalid(field.NewPath("spec", name), v, "is fixed: a plan that is bought doesn't change; buy another one"))
		}
	}
	return errs
}

var savingsPlanTable = table{
	columns: []metav1.TableColumnDefinition{
		nameColumn(),
		column("Phase", "Queued, Active, Ended or Returned."),
		column("Commitment", "To spend in each interval, drawn down at the discount."),
		column("Per", "The interval: a day or an hour."),
		column("Discount", "On the list price; the largest of several."),
		column("Start", "The first day."),
		column("Days", "How many."),
		column("Used", "Of the commitments of the last seven days."),
		ageColumn(),
		wide("Offer", "Of the price book."),
		wide("Scope", "Whose use it covers."),
		wide("Zone", "Whose midnights begin days."),
		wide("Renews", "The plan that it follows."),
	},
	row: func(o controlplane.Object) metav1.TableRow {
		p := o.(*v1alpha1.SavingsPlan)
		used := none
		if u := p.Status.Utilisation; u != nil {
			used = u.Percent
		}
		discount := none
		for _, d := range p.Spec.Discounts {
			if discount == none || len(d.Discount) > len(discount) || len(d.Discount) == len(discount) && d.Discount > discount {
				discount = d.Discount
			}
		}
		return metav1.TableRow{Cells: []any{
			p.Name, string(p.Status.Phase), p.Spec.Commitment + " " + p.Spec.Currency, strings.ToLower(string(p.Spec.Interval)), discount, p.Spec.StartDate,
			int64(p.Spec.TermDays), used, since(p.CreationTimestamp), orNone(p.Spec.Offer), scopeText(p.Spec.Scope), p.Spec.TimeZone, orNone(p.Spec.Renews),
		}}
	},
}

func scopeText(s v1alpha1.SavingsScope) string {
	var parts []string
	for _, p := range []struct{ name, value string }{{"account", s.Account}, {"project", s.Project}, {"class", s.ComputeClass}} {
		if p.value != "" {
			parts = append(parts, p.name+"="+p.value)
		}
	}
	if parts == nil {
		return "all"
	}
	return strings.Join(parts, ",")
}
