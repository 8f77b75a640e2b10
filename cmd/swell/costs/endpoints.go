package costs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/controlplane/apiserver"
)

// book is where corrections and adjustments are kept.
type book interface {
	facts
	Correct(context.Context, ledger.Correction) error
	Corrections(context.Context, ledger.Filter) ([]ledger.Correction, error)
	Adjust(context.Context, ledger.Adjustment) error
}

var _ book = (*ledger.Ledger)(nil)

// AddTo adds the endpoints of the engine itself: verify, prices, corrections, adjustments.
func (e *Engine) AddTo(a *API) {
	a.Handle("verify", e.serveVerify, http.MethodGet)
	a.Handle("prices", e.servePrices, http.MethodGet)
	a.Handle("corrections", e.serveCorrections, http.MethodGet, http.MethodPost)
	a.Handle("adjustments", e.serveAdjustments, http.MethodGet, http.MethodPost)
}

// WriteJSON answers a value.
func WriteJSON(w http.ResponseWriter, code int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(data, '\n')) // whoever asked may be gone
	return nil
}

// ReadJSON reads a request's body, strictly.
func ReadJSON(r *http.Request, v any) error {
	const most = 1 << 20
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, most))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return apierrors.NewBadRequest("body: " + err.Error())
	}
	return nil
}

func (e *Engine) serveVerify(w http.ResponseWriter, r *http.Request, b apiserver.BillingRequest) error {
	q, err := e.queryOf(r, b)
	if err != nil {
		return err
	}
	v, err := e.Verify(r.Context(), q)
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, v)
}

// queryOf is what a request's parameters choose: from, to, month and zone, account, pod and uid, and the namespace of
// its path.
func (e *Engine) queryOf(r *http.Request, b apiserver.BillingRequest) (Query, error) {
	v := r.URL.Query()
	p, err := PeriodOf(v, e.Now())
	if err != nil {
		return Query{}, err
	}
	q := Query{From: p.From, To: p.To, Project: b.Namespace, Account: v.Get("account"), Pod: v.Get("pod"), UID: v.Get("uid")}
	if err := q.Check(); err != nil {
		return q, apierrors.NewBadRequest(err.Error())
	}
	return q, nil
}

func (e *Engine) serveCorrections(w http.ResponseWriter, r *http.Request, b apiserver.BillingRequest) error {
	l := e.cfg.Ledger.(book)
	if r.Method != http.MethodPost {
		q, err := e.queryOf(r, b)
		if err != nil {
			return err
		}
		list, err := l.Corrections(r.Context(), q.filter())
		if err != nil {
			return err
		}
		out := []v1alpha1.BillCorrection{}
		for i := range list {
			out = append(out, correctionOf(&list[i]))
		}
		return WriteJSON(w, http.StatusOK, map[string]any{"items": out})
	}
	var in v1alpha1.BillCorrection
	if err := ReadJSON(r, &in); err != nil {
		return err
	}
	if b.Namespace != "" {
		return apierrors.NewBadRequest("corrections are recorded for the whole ledger: POST to billing/corrections without a namespace")
	}
	c, err := e.correction(r.Context(), &in, b.User.Name)
	if err != nil {
		return err
	}
	if err := l.Correct(r.Context(), *c); err != nil {
		return refusal(err)
	}
	return WriteJSON(w, http.StatusCreated, correctionOf(c))
}

// correction is what a request says, with what it leaves as it was.
func (e *Engine) correction(ctx context.Context, in *v1alpha1.BillCorrection, by string) (*ledger.Correction, error) {
	c := &ledger.Correction{ID: usagev1.ID{PodUID: in.Segment.PodUID, Generation: in.Segment.Generation, Sequence: in.Segment.Sequence}, Void: in.Void, Reason: in.Reason, By: by}
	if in.By != "" || in.At != "" {
		return nil, apierrors.NewBadRequest("by and at are who asks, and when: leave them out")
	}
	differs := in.CPUMilli != nil || in.MemoryBytes != nil || in.Start != "" || in.End != "" || in.Class != "" || in.QoS != "" || in.NoBurst
	if in.Void == differs {
		return nil, apierrors.NewBadRequest("want either void, or what the segment should have said")
	}
	if in.Void {
		return c, nil
	}
	err := e.cfg.Ledger.Each(ctx, ledger.Filter{UID: c.ID.PodUID}, func(s *usagev1.Segment) error {
		if s.ID == c.ID && !s.Open() {
			is := *s
			c.Segment = &is
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s := c.Segment
	if s == nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("segment: no segment %s is recorded; one that is still open, or void, can't be corrected so", c.ID))
	}
	for field, bound := range map[string]struct {
		text string
		at   *time.Time
	}{"start": {in.Start, &s.Start}, "end": {in.End, &s.End}} {
		if bound.text == "" {
			continue
		}
		if *bound.at, err = time.Parse(time.RFC3339, bound.text); err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("%s: %q: want a time such as 2026-10-31T15:04:05.250Z", field, bound.text))
		}
	}
	if in.CPUMilli != nil {
		s.CPUMilli = *in.CPUMilli
	}
	if in.MemoryBytes != nil {
		s.MemoryBytes = *in.MemoryBytes
	}
	if in.Class != "" {
		s.ComputeClass = in.Class
	}
	if in.QoS != "" {
		s.QoS = in.QoS
	}
	if in.NoBurst {
		s.Burst = usagev1.Burst{}
	}
	for _, b := range e.cfg.Books.All() {
		if _, err := b.Rates(s.ComputeClass, s.QoS, s.Region); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	}
	return c, nil
}

func correctionOf(c *ledger.Correction) v1alpha1.BillCorrection {
	out := v1alpha1.BillCorrection{Segment: v1alpha1.BillSegmentID{PodUID: c.ID.PodUID, Generation: c.ID.Generation, Sequence: c.ID.Sequence},
		Void: c.Void, Reason: c.Reason, By: c.By}
	if !c.At.IsZero() {
		out.At = c.At.UTC().Format(time.RFC3339)
	}
	if s := c.Segment; s != nil {
		out.CPUMilli, out.MemoryBytes, out.Class, out.QoS = &s.CPUMilli, &s.MemoryBytes, s.ComputeClass, s.QoS
		out.Start, out.End, out.NoBurst = stamp(s.Start), stamp(s.End), s.Burst == usagev1.Burst{}
	}
	return out
}

func (e *Engine) serveAdjustments(w http.ResponseWriter, r *http.Request, b apiserver.BillingRequest) error {
	l := e.cfg.Ledger.(book)
	if r.Method != http.MethodPost {
		q, err := e.queryOf(r, b)
		if err != nil {
			return err
		}
		list, err := l.Adjustments(r.Context(), q.From, q.To)
		if err != nil {
			return err
		}
		out := []v1alpha1.BillAdjustment{}
		for i := range list {
			if a := &list[i]; (q.Project == "" || a.Project == q.Project) && (q.Account == "" || a.Account == q.Account) {
				out = append(out, adjustmentOf(a))
			}
		}
		return WriteJSON(w, http.StatusOK, map[string]any{"items": out})
	}
	var in v1alpha1.BillAdjustment
	if err := ReadJSON(r, &in); err != nil {
		return err
	}
	if b.Namespace != "" && in.Project != b.Namespace {
		return apierrors.NewBadRequest(fmt.Sprintf("project: %q: want %s, whose path this is", in.Project, b.Namespace))
	}
	a := ledger.Adjustment{ID: in.ID, Account: in.Account, Project: in.Project, At: e.Now(), Reason: in.Reason, By: b.User.Name}
	var err error
	if a.Amount, err = billing.ParseMoney(in.Amount); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	if in.At != "" {
		if a.At, err = time.Parse(time.RFC3339, in.At); err != nil {
			return apierrors.NewBadRequest(fmt.Sprintf("at: %q: want a time such as 2026-10-31T15:04:05Z", in.At))
		}
	}
	if a.Project != "" {
		of := e.cfg.Account(a.Project)
		if a.Account != "" && a.Account != of {
			return apierrors.NewBadRequest(fmt.Sprintf("account: %q: project %s is of account %s", a.Account, a.Project, of))
		}
		a.Account = of
	} else if a.Account == "" {
		a.Account = DefaultAccount
	}
	if err := l.Adjust(r.Context(), a); err != nil {
		return refusal(err)
	}
	return WriteJSON(w, http.StatusCreated, adjustmentOf(&a))
}

func adjustmentOf(a *ledger.Adjustment) v1alpha1.BillAdjustment {
	return v1alpha1.BillAdjustment{ID: a.ID, Account: a.Account, Project: a.Project, At: stamp(a.At), Amount: a.Amount.String(), Reason: a.Reason, By: a.By}
}

// refusal is what a ledger answered: what is wrong with what it was asked is the client's.
func refusal(err error) error {
	var store *ledger.StoreError
	if errors.As(err, &store) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return apierrors.NewBadRequest(err.Error())
}
