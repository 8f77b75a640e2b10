package client

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/table"
)

func (a *app) newBillInvoiceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invoice",
		Short: "Close months, and list what was invoiced",
		Args:  takes(),
	}
	cmd.AddCommand(a.newInvoiceCloseCommand(), a.newInvoiceListCommand(), a.newInvoiceShowCommand())
	return cmd
}

func (a *app) newInvoiceCloseCommand() *cobra.Command {
	var month, zone, account string
	var force, dry bool
	cmd := &cobra.Command{
		Use:   "close --month MONTH",
		Short: "Close a month: from then on its bill stays as it is",
		Long: `Close a month of an account, or of all that were charged anything in it and have no invoice of
it. A closed month's bill doesn't change any more: what becomes known of it afterwards is a
correction in the account's next invoice. A month can be closed when it is over and what began in
it is recorded. For administrators.`,
		Example: `  swell bill invoice close --month 2026-10 --dry-run
  swell bill invoice close --month 2026-10 --account retail`,
		Args: takes(),
	}
	c := a.addConnection(cmd)
	f := cmd.Flags()
	f.StringVar(&month, "month", "", "the month, such as 2026-10")
	f.StringVar(&zone, "zone", "", "time zone whose month is meant, such as Europe/Berlin (default UTC)")
	f.StringVar(&account, "account", "", "of one account (default: all)")
	f.BoolVar(&force, "force", false, "even if facts are still to be expected: they will be corrections")
	f.BoolVar(&dry, "dry-run", false, "show what the invoices would come to")
	out := addFormat(cmd, formatJSON, formatYAML)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
		if month == "" {
			return wrong(cmd, "--month is missing")
		}
		v := url.Values{"month": {month}}
		for name, value := range map[string]string{"zone": zone, "account": account} {
			if value != "" {
				v.Set(name, value)
			}
		}
		if force {
			v.Set("force", "true")
		}
		if dry {
			v.Set("dryRun", "All")
		}
		list := &v1alpha1.InvoiceList{}
		if err := fetchInvoices(ctx, s.CoreV1().RESTClient().Post(), "invoices", v, list); err != nil {
			return err
		}
		if len(list.Items) == 0 && !out.structured() {
			fmt.Fprintln(cmd.ErrOrStderr(), "nothing to close: no account was charged anything in", month, "that has no invoice of it")
			return nil
		}
		return printInvoices(cmd.OutOrStdout(), out, list)
	})
	return cmd
}

func (a *app) newInvoiceListCommand() *cobra.Command {
	var account string
	cmd := &cobra.Command{Use: "ls", Short: "List closed invoices", Args: takes()}
	c := a.addConnection(cmd)
	cmd.Flags().StringVar(&account, "account", "", "of one account (default: all)")
	out := addFormat(cmd, formatJSON, formatYAML)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
		v := url.Values{}
		if account != "" {
			v.Set("account", account)
		}
		list := &v1alpha1.InvoiceList{}
		if err := fetchInvoices(ctx, s.CoreV1().RESTClient().Get(), "invoices", v, list); err != nil {
			return err
		}
		if len(list.Items) == 0 && !out.structured() {
			fmt.Fprintln(cmd.ErrOrStderr(), "no invoices: no month is closed yet")
			return nil
		}
		return printInvoices(cmd.OutOrStdout(), out, list)
	})
	return cmd
}

func (a *app) newInvoiceShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show ID", Short: "Show an invoice line by line", Args: takes("ID")}
	c := a.addConnection(cmd)
	out := addFormat(cmd, formatJSON, formatYAML)
	cmd.ValidArgsFunction = a.completeFirst(c, func(ctx context.Context, s *session, _ []string) ([]string, error) {
		list := &v1alpha1.InvoiceList{}
		err := fetchInvoices(ctx, s.CoreV1().RESTClient().Get(), "invoices", nil, list)
		var ids []string
		for i := range list.Items {
			ids = append(ids, list.Items[i].ID)
		}
		return ids, err
	})
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		invoice := &v1alpha1.Invoice{}
		if err := fetchInvoices(ctx, s.CoreV1().RESTClient().Get(), "invoices/"+url.PathEscape(args[0]), nil, invoice); err != nil {
			return err
		}
		if out.structured() {
			return out.print(cmd.OutOrStdout(), invoice)
		}
		var rows [][]string
		for _, l := range invoice.Lines {
			rows = append(rows, []string{l.Description, l.Category, l.Amount, invoice.Currency})
		}
		rows = append(rows, []string{"total", "", invoice.Total, invoice.Currency})
		return table.New(table.Column{Name: "LINE"}, table.Column{Name: "CATEGORY"}, table.Column{Name: "AMOUNT", Right: true}, table.Column{Name: ""}).
			Print(cmd.OutOrStdout(), rows...)
	})
	return cmd
}

func fetchInvoices(ctx context.Context, request *rest.Request, endpoint string, v url.Values, answer any) error {
	request = request.AbsPath(billingPath("", endpoint))
	for name := range v {
		request = request.Param(name, v.Get(name))
	}
	return fetch(ctx, request, "invoices", answer)
}

func printInvoices(w io.Writer, out *format, list *v1alpha1.InvoiceList) error {
	if out.structured() {
		return out.print(w, list)
	}
	var rows [][]string
	for i := range list.Items {
		v := &list.Items[i]
		id, closed := v.ID, v.Closed.UTC().Format(time.RFC3339)
		if id == "" {
			id, closed = "(draft)", ""
		}
		rows = append(rows, []string{id, v.Account, v.From.UTC().Format(time.RFC3339), v.To.UTC().Format(time.RFC3339), v.Total, v.Currency, closed, strconv.FormatInt(v.Through, 10)})
	}
	return table.New(table.Column{Name: "INVOICE"}, table.Column{Name: "ACCOUNT"}, table.Column{Name: "FROM"}, table.Column{Name: "TO"},
		table.Column{Name: "TOTAL", Right: true}, table.Column{Name: ""}, table.Column{Name: "CLOSED"}, table.Column{Name: "THROUGH", Right: true}).Print(w, rows...)
}
