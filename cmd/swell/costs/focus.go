package costs

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"swell.dev/swell/billing"
	"swell.dev/swell/billing/focus"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/controlplane/apiserver"
)

// AddFOCUS adds the endpoints of FOCUS exports: focus, and focus/metadata. swell is the program's version.
func (e *Engine) AddFOCUS(a *API, swell string) {
	a.Handle("focus", func(w http.ResponseWriter, r *http.Request, b apiserver.BillingRequest) error {
		x, err := e.focusExport(r.URL.Query(), b, swell)
		if err != nil {
			return err
		}
		return x.serve(w, r)
	}, http.MethodGet)
	a.Handle("focus/metadata", func(w http.ResponseWriter, r *http.Request, b apiserver.BillingRequest) error {
		x, err := e.focusExport(r.URL.Query(), b, swell)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(x.metadata()) // whoever asked may be gone
		return nil
	}, http.MethodGet)
}

// focusExport is one request for an export.
type focusExport struct {
	e       *Engine
	swell   string
	opts    focus.Options
	dataset focus.Dataset
	period  Period
	query   Query
	columns *focus.Selection
	parquet bool
}

var focusParameters = []string{"version", "dataset", "granularity", "format", "from", "to", "month", "zone", "account", "provider", "columns"}

func (e *Engine) focusExport(v url.Values, b apiserver.BillingRequest, swell string) (*focusExport, error) {
	if err := only(v, focusParameters...); err != nil {
		return nil, err
	}
	x := &focusExport{e: e, swell: swell}
	or := func(name, standard string) string {
		if s := v.Get(name); s != "" {
			return s
		}
		return standard
	}
	var err error
	if x.opts.Version, err = focus.ParseVersion(or("version", "1.4")); err != nil {
		return nil, apierrors.NewBadRequest("query parameter version: " + err.Error())
	}
	if x.dataset, err = focus.ParseDataset(or("dataset", focus.CostAndUsage.String()), x.opts.Version); err != nil {
		return nil, apierrors.NewBadRequest("query parameter dataset: " + err.Error())
	}
	if x.opts.Granularity, err = focus.ParseGranularity(or("granularity", focus.Daily.String())); err != nil {
		return nil, apierrors.NewBadRequest("query parameter granularity: " + err.Error())
	}
	switch format := or("format", "csv"); format {
	case "csv":
	case "parquet":
		x.parquet = true
	default:
		return nil, &BadQuery{"format", format, "csv or parquet"}
	}
	var names []string
	if v.Get("columns") != "" {
		names = strings.Split(v.Get("columns"), ",")
	}
	if x.columns, err = focus.Select(focus.Columns(x.opts.Version, x.dataset), names); err != nil {
		return nil, apierrors.NewBadRequest("query parameter columns: " + err.Error())
	}
	if x.period, err = PeriodOf(v, e.Now()); err != nil {
		return nil, err
	}
	if b.Namespace != "" && (x.dataset == focus.InvoiceDetail || x.dataset == focus.BillingPeriod) {
		return nil, wholeAccounts(b)
	}
	x.opts.Zone, x.opts.Provider, x.opts.Currency = x.period.Zone, v.Get("provider"), e.cfg.Books.Currency()
	if book := e.cfg.Books.At(e.Now().UnixMilli()); book != nil {
		x.opts.Offers = book.Offers
	}
	x.query = e.fix(Query{From: x.period.From, To: x.period.To, Project: b.Namespace, Account: v.Get("account"), Cuts: x.cuts()})
	if err := x.query.Check(); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return x, nil
}

// cuts are the bounds that rows don't cross.
func (x *focusExport) cuts() []int64 {
	switch x.opts.Granularity {
	case focus.Hourly:
		return x.period.Hours()
	case focus.Daily:
		return x.period.Days()
	}
	return x.period.Months()
}

func (x *focusExport) metadata() []byte {
	return focus.MetadataOf(x.opts.Version, x.dataset, x.swell, x.e.Now(), x.complete()).MarshalIndent()
}

// complete: nothing but corrections will be added to the period.
func (x *focusExport) complete() bool { return !x.period.To.After(x.e.Now()) }

func (x *focusExport) serve(w http.ResponseWriter, r *http.Request) error {
	invoices, err := x.e.cfg.Ledger.Invoices(r.Context())
	if err != nil {
		return err
	}
	x.opts.Invoices = focusInvoices(invoices)
	kind, ending := "text/csv; charset=utf-8", "csv"
	if x.parquet {
		kind, ending = "application/vnd.apache.parquet", "parquet"
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", "attachment; filename="+strconv.Quote("swell-focus-"+x.opts.Version.String()+"-"+x.dataset.String()+"."+ending))
	if r.Method == http.MethodHead {
		return nil
	}
	buffered := bufio.NewWriterSize(w, 64<<10)
	if err := x.export(r.Context(), invoices, buffered); err != nil {
		return err
	}
	return buffered.Flush()
}

func focusInvoices(list []ledger.Invoice) []focus.Invoice {
	out := make([]focus.Invoice, 0, len(list))
	for i := range list {
		v := &list[i]
		out = append(out, focus.Invoice{ID: v.ID, Account: v.Account, From: v.From.UnixMilli(), To: v.To.UnixMilli(), Currency: v.Currency, Total: v.Total, Closed: v.Closed})
	}
	return out
}

func (x *focusExport) export(ctx context.Context, invoices []ledger.Invoice, w io.Writer) error {
	var out focus.Writer
	var err error
	if x.parquet {
		out, err = focus.NewParquet(w, x.columns.Columns, map[string]string{"focus.metadata": string(x.metadata())})
	} else {
		out, err = focus.NewCSV(w, x.columns.Columns)
	}
	if err != nil {
		return err
	}
	out = x.columns.Of(out)
	switch x.dataset {
	case focus.ContractCommitment:
		return focus.WriteCommitments(x.opts, x.plans(), x.e.Now(), out)
	case focus.InvoiceDetail:
		return x.details(ctx, invoices, out)
	case focus.BillingPeriod:
		charged, err := x.charged(ctx)
		if err != nil {
			return err
		}
		return focus.WritePeriods(x.opts, x.query.From.UnixMilli(), x.query.To.UnixMilli(), charged, x.e.Now(), out)
	}
	rows := focus.NewExporter(x.opts, out)
	if err := x.e.Statement(ctx, x.query, rows.Add); err != nil {
		return err
	}
	return rows.Close()
}

// plans are those of the query's project and account whose time touches the period.
func (x *focusExport) plans() []*billing.Plan {
	var out []*billing.Plan
	for _, p := range x.query.plans {
		account, project := x.e.payer(p)
		if (x.query.Project == "" || x.query.Project == project) && (x.query.Account == "" || x.query.Account == account) &&
			p.Start.Before(x.query.To) && p.End.After(x.query.From) {
			out = append(out, p)
		}
	}
	return out
}

// details writes the lines of the invoices that begin in the period.
func (x *focusExport) details(ctx context.Context, invoices []ledger.Invoice, out focus.Writer) error {
	of := focusInvoices(invoices)
	for i := range invoices {
		v := &invoices[i]
		if v.From.Before(x.query.From) || !v.From.Before(x.query.To) || (x.query.Account != "" && x.query.Account != v.Account) {
			continue
		}
		lines, err := x.e.invoiceLines(ctx, v)
		if err != nil {
			return err
		}
		if err := focus.WriteInvoice(x.opts, of[i], lines, out); err != nil {
			return err
		}
	}
	return out.Close()
}

// charged answers the accounts that were charged anything, by month.
func (x *focusExport) charged(ctx context.Context) (func(from, to int64) []string, error) {
	months := map[int64]map[string]bool{}
	q := x.query
	q.Cuts = x.period.Months()
	err := x.e.Charges(ctx, q, func(c *billing.Charge) error {
		y, m, _ := time.UnixMilli(c.From).In(x.period.Zone).Date()
		month := billing.Midnight(y, m, 1, x.period.Zone).UnixMilli()
		if months[month] == nil {
			months[month] = map[string]bool{}
		}
		months[month][c.Account] = true
		return nil
	})
	return func(from, _ int64) []string { return sortedKeys(months[from]) }, err
}
