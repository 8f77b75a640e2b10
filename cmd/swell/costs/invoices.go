package costs

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/focus"
	"swell.dev/swell/billing/ledger"
	"swell.dev/swell/controlplane/apiserver"
)

// closer records invoices.
type closer interface {
	CloseInvoice(context.Context, ledger.Invoice) error
}

var invoicesResource = schema.GroupResource{Group: v1alpha1.Group, Resource: "billing/invoices"}

// AddInvoices adds the endpoints of invoices: GET lists them, POST closes a month, GET of an id has its lines.
func (e *Engine) AddInvoices(a *API, c closer) {
	a.Handle("invoices", func(w http.ResponseWriter, r *http.Request, b apiserver.BillingRequest) error {
		if err := wholeAccounts(b); err != nil {
			return err
		}
		if r.Method == http.MethodPost {
			return e.closeInvoices(w, r, c)
		}
		return e.listInvoices(w, r)
	}, http.MethodGet, http.MethodPost)
	a.Handle("invoices/", func(w http.ResponseWriter, r *http.Request, b apiserver.BillingRequest) error {
		if err := wholeAccounts(b); err != nil {
			return err
		}
		return e.showInvoice(w, r, strings.TrimPrefix(b.Endpoint, "invoices/"))
	}, http.MethodGet)
}

// wholeAccounts refuses a namespace: an account may have others beside it.
func wholeAccounts(b apiserver.BillingRequest) error {
	if b.Namespace != "" {
		return apierrors.NewBadRequest("invoices are of whole accounts: want the address without namespaces/" + b.Namespace)
	}
	return nil
}

func (e *Engine) listInvoices(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	if err := only(v, "account"); err != nil {
		return err
	}
	invoices, err := e.cfg.Ledger.Invoices(r.Context())
	if err != nil {
		return err
	}
	list := v1alpha1.InvoiceList{Items: []v1alpha1.Invoice{}}
	for i := range invoices {
		if account := v.Get("account"); account == "" || account == invoices[i].Account {
			list.Items = append(list.Items, invoiceOf(&invoices[i]))
		}
	}
	return WriteJSON(w, http.StatusOK, &list)
}

func (e *Engine) showInvoice(w http.ResponseWriter, r *http.Request, id string) error {
	if err := only(r.URL.Query()); err != nil {
		return err
	}
	invoices, err := e.cfg.Ledger.Invoices(r.Context())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(invoices, func(i ledger.Invoice) bool { return i.ID == id })
	if i < 0 {
		return apierrors.NewNotFound(invoicesResource, id)
	}
	lines, err := e.invoiceLines(r.Context(), &invoices[i])
	if err != nil {
		return err
	}
	out := invoiceOf(&invoices[i])
	for _, l := range lines.Lines() {
		out.Lines = append(out.Lines, v1alpha1.InvoiceLine{ID: l.ID, Category: l.Category, Description: l.Description, Amount: l.Billed.String()})
	}
	return WriteJSON(w, http.StatusOK, &out)
}

// invoiceLines works the lines of a closed invoice out again.
func (e *Engine) invoiceLines(ctx context.Context, i *ledger.Invoice) (*focus.InvoiceLines, error) {
	lines := &focus.InvoiceLines{}
	err := e.Statement(ctx, Query{From: i.From, To: i.To, Account: i.Account}, func(c *billing.Charge) error {
		if c.Invoice == i.ID {
			lines.Add(c)
		}
		return nil
	})
	return lines, err
}

// closeInvoices closes a month of an account, or of all that were charged anything in it and have no invoice of it.
func (e *Engine) closeInvoices(w http.ResponseWriter, r *http.Request, c closer) error {
	v := r.URL.Query()
	if err := only(v, "month", "zone", "account", "force", "dryRun"); err != nil {
		return err
	}
	if v.Get("month") == "" {
		return &BadQuery{"month", "", "a month such as 2026-10"}
	}
	period, err := PeriodOf(v, e.Now())
	if err != nil {
		return err
	}
	if period.To.After(e.Now()) {
		return &BadQuery{"month", v.Get("month"), "a month that is over"}
	}
	force, err := boolean(v, "force")
	if err != nil {
		return err
	}
	if d := v.Get("dryRun"); d != "" && d != "All" {
		return &BadQuery{"dryRun", d, "All"}
	}
	known, err := e.cfg.Ledger.Invoices(r.Context())
	if err != nil {
		return err
	}
	accounts := []string{v.Get("account")}
	if accounts[0] == "" {
		if accounts, err = e.payers(r.Context(), period); err != nil {
			return err
		}
	}
	list := v1alpha1.InvoiceList{Items: []v1alpha1.Invoice{}}
	for _, account := range accounts {
		if last := lastOf(known, account); last != nil && last.To.After(period.From) {
			if v.Get("account") == "" && !last.From.After(period.From) {
				continue // it has its invoice
			}
			return apierrors.NewConflict(invoicesResource, v.Get("month")+"-"+account,
				errors.New("account "+account+" is invoiced up to "+last.To.UTC().Format(time.RFC3339)+", by "+last.ID))
		}
		i, err := e.Draft(r.Context(), account, period.From, period.To, force)
		var unsettled *UnsettledError
		if errors.As(err, &unsettled) {
			return apierrors.NewConflict(invoicesResource, v.Get("month")+"-"+account, unsettled)
		}
		if err != nil {
			return err
		}
		i.ID = v.Get("month") + "-" + account
		if v.Get("dryRun") == "" {
			if err := c.CloseInvoice(r.Context(), i); err != nil {
				return refusal(err)
			}
		} else {
			i.ID = ""
		}
		list.Items = append(list.Items, invoiceOf(&i))
	}
	return WriteJSON(w, http.StatusOK, &list)
}

// payers are the accounts that are charged anything in a period, or have something to correct.
func (e *Engine) payers(ctx context.Context, p Period) ([]string, error) {
	accounts := map[string]bool{}
	err := e.Statement(ctx, Query{From: p.From, To: p.To}, func(c *billing.Charge) error {
		accounts[c.Account] = true
		return nil
	})
	return sortedKeys(accounts), err
}

func lastOf(invoices []ledger.Invoice, account string) *ledger.Invoice {
	var last *ledger.Invoice
	for i := range invoices {
		if invoices[i].Account == account && (last == nil || invoices[i].To.After(last.To)) {
			last = &invoices[i]
		}
	}
	return last
}

func invoiceOf(i *ledger.Invoice) v1alpha1.Invoice {
	return v1alpha1.Invoice{ID: i.ID, Account: i.Account, From: i.From.UTC(), To: i.To.UTC(), Currency: i.Currency, Total: i.Total.String(), Closed: i.Closed.UTC(), Through: i.Through}
}
