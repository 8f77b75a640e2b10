package costs

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"swell.dev/swell/billing/report"
	"swell.dev/swell/controlplane/apiserver"
)

// AddReports adds the endpoints that reports are read from: report, and OpenCost's allocation.
func (e *Engine) AddReports(a *API) {
	a.Handle("report", e.serveReport, http.MethodGet)
	a.Handle("allocation", e.serveAllocation, http.MethodGet)
	a.Handle("allocation/compute", e.serveAllocation, http.MethodGet)
}

var (
	reportParameters = []string{"from", "to", "month", "zone", "account", "by", "step", "filter", "labelSelector", "limit", "format", "overview", "timeout"}
	reportFormats    = map[string]string{
		"json": "application/json", "csv": "text/csv; charset=utf-8; header=present", "html": "text/html; charset=utf-8", "table": "text/plain; charset=utf-8",
	}
)

// reportOf reads what a report is asked of and how it is to be written.
func (e *Engine) reportOf(v url.Values, namespace string) (q report.Query, of Query, format string, err error) {
	for name := range v {
		if !slices.Contains(reportParameters, name) {
			return q, of, "", &BadQuery{name, v.Get(name), "one of the parameters " + strings.Join(reportParameters, ", ")}
		}
	}
	if format = v.Get("format"); format == "" {
		format = "json"
	}
	if reportFormats[format] == "" {
		return q, of, "", &BadQuery{"format", format, "one of json, csv, html, table"}
	}
	p, err := PeriodOf(v, e.Now())
	if err != nil {
		return q, of, "", err
	}
	if q, err = report.ParseQuery(v, p.From, p.To, p.Zone); err != nil {
		return q, of, "", apierrors.NewBadRequest(err.Error())
	}
	project := report.MustDimension("project")
	if namespace != "" {
		q.Match = append(q.Match, report.Match{Of: project, Values: []string{namespace}})
	}
	of = Query{From: q.From, To: q.To, Account: v.Get("account")}
	for _, m := range q.Match { // what the ledger needn't read
		if m.Of == project && len(m.Values) == 1 {
			of.Project = m.Values[0]
		}
	}
	if err := of.Check(); err != nil {
		return q, of, "", apierrors.NewBadRequest(err.Error())
	}
	return q, of, format, nil
}

func (e *Engine) serveReport(w http.ResponseWriter, r *http.Request, b apiserver.BillingRequest) error {
	v := r.URL.Query()
	q, of, format, err := e.reportOf(v, b.Namespace)
	if err != nil {
		return err
	}
	overview := format == "html"
	if s := v.Get("overview"); s != "" {
		if format != "json" {
			return &BadQuery{"overview", s, "it with format=json only"}
		}
		if overview, err = strconv.ParseBool(s); err != nil {
			return &BadQuery{"overview", s, "true or false"}
		}
	}
	if overview {
		o, err := e.overview(r.Context(), q, of)
		if err != nil {
			return err
		}
		if format == "html" {
			return writeReport(w, format, q, func(out *bytes.Buffer) error { return o.HTML(out) })
		}
		answer := reportJSON(o.Report)
		answer.Overview = overviewJSON(o)
		return WriteJSON(w, http.StatusOK, answer)
	}
	one, err := e.Report(r.Context(), q, of)
	if err != nil {
		return err
	}
	switch format {
	case "csv":
		return writeReport(w, format, q, func(out *bytes.Buffer) error { return one.CSV(out) })
	case "table":
		return writeReport(w, format, q, func(out *bytes.Buffer) error { return one.Table(out) })
	}
	return WriteJSON(w, http.StatusOK, reportJSON(one))
}

// writeReport answers with a whole document. A page is kept apart from the API that it comes from: whoever opens it
// in a browser has rights there.
func writeReport(w http.ResponseWriter, format string, q report.Query, write func(*bytes.Buffer) error) error {
	var out bytes.Buffer
	if err := write(&out); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", reportFormats[format])
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	switch format {
	case "html":
		h.Set("Content-Security-Policy", "sandbox allow-scripts")
	case "csv":
		day := func(t time.Time) string { return t.In(q.Zone).Format(time.DateOnly) }
		h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="costs-%s-%s.csv"`, day(q.From), day(q.To)))
	}
	_, _ = w.Write(out.Bytes()) // whoever asked may be gone
	return nil
}

// Report sums the charges of a query.
func (e *Engine) Report(ctx context.Context, q report.Query, of Query) (*report.Report, error) {
	a, err := report.NewAccumulator(q)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if of.Cuts, err = q.Cuts(); err != nil {
		return nil, err
	}
	if err := e.Charges(ctx, of, a.Add); err != nil {
		return nil, err
	}
	return a.Report(e.currency())
}

// overview sums the charges of a query, and of the time before.
func (e *Engine) overview(ctx context.Context, q report.Query, of Query) (*report.Overview, error) {
	of = e.fix(of)
	g, err := report.NewGathering(q, of.now)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if of.Cuts, err = g.Cuts(); err != nil {
		return nil, err
	}
	if err := e.Charges(ctx, of, g.Add); err != nil {
		return nil, err
	}
	before := of
	before.From, before.To, before.Cuts = g.Before().From, g.Before().To, nil
	if first := e.earliest(); before.From.Before(first) { // there are no prices for what was before
		before.From = first
	}
	if before.From.Before(before.To) {
		if err := e.Charges(ctx, before, g.AddBefore); err != nil {
			return nil, err
		}
	}
	return g.Overview(e.currency())
}

func (e *Engine) currency() string { return e.cfg.Books.All()[0].Currency }

// earliest is when the first price book begins to hold.
func (e *Engine) earliest() time.Time { return e.cfg.Books.All()[0].Effective }
