package client

import (
	"context"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/table"
)

// billPeriod are the flags that choose a period of billing.
type billPeriod struct{ from, to, month, zone, account string }

func (p *billPeriod) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.from, "from", "", "begin there: a day, or a time in RFC 3339 (default: the present month)")
	f.StringVar(&p.to, "to", "", "end before that day or time")
	f.StringVar(&p.month, "month", "", "a month instead, such as 2026-10")
	f.StringVar(&p.zone, "zone", "", "time zone whose days and months are meant, such as Europe/Berlin (default UTC)")
	f.StringVar(&p.account, "account", "", "of one account")
}

// values are the parameters of a query.
func (p *billPeriod) values() url.Values {
	v := url.Values{}
	for name, value := range map[string]string{"from": p.from, "to": p.to, "month": p.month, "zone": p.zone, "account": p.account} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// billingPath is where an endpoint of billing is, of a namespace or (empty) of all.
func billingPath(namespace, endpoint string) string {
	if namespace != "" {
		return group + "/namespaces/" + namespace + "/billing/" + endpoint
	}
	return group + "/billing/" + endpoint
}

func (a *app) newBillVerifyCommand() *cobra.Command {
	var period billPeriod
	var pod string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that bills are right, or show where they aren't",
		Long: `Work bills out again from the recorded segments, by other means than bills are made by, and
compare: each segment's charges with its size × time × price, metered time with when pods ran,
commitments with what they bought and left, and closed invoices with what they come to.
Exits with 1 if anything isn't right.`,
		Example: `  swell bill verify
  swell bill verify -n shop --month 2026-10
  swell bill verify --from 2026-11-01 --to 2026-11-02 -o json`,
		Args: takes(),
	}
	c := a.addConnection(cmd)
	namespace := cmd.Flags().StringP("namespace", "n", "", "of one project (default: all)")
	cmd.Flags().StringVar(&pod, "pod", "", "of one pod, by name")
	period.add(cmd)
	out := addFormat(cmd, formatJSON, formatYAML)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
		request := s.CoreV1().RESTClient().Get().AbsPath(billingPath(*namespace, "verify"))
		v := period.values()
		if pod != "" {
			v.Set("pod", podName(pod))
		}
		for name := range v {
			request = request.Param(name, v.Get(name))
		}
		var answer v1alpha1.BillVerification
		if err := fetch(ctx, request, "verification", &answer); err != nil {
			return err
		}
		if out.structured() {
			if err := out.print(cmd.OutOrStdout(), &answer); err != nil {
				return err
			}
		} else if err := printVerification(cmd.OutOrStdout(), &answer); err != nil {
			return err
		}
		if !answer.OK {
			return fmt.Errorf("the bill isn't right in %d places", answer.FindingsTotal)
		}
		return nil
	})
	return cmd
}

func printVerification(w io.Writer, v *v1alpha1.BillVerification) error {
	fmt.Fprintf(w, "%s to %s: %d segments and %d charges, %d ended pods, %d intervals of savings plans, %d invoices\n",
		v.From, v.To, v.Segments, v.Charges, v.Lifecycles, v.PlanIntervals, v.Invoices)
	rows := [][]string{
		{"list", v.List, v.Currency, "what the charges come to without plans"},
		{"exact", v.Exact, v.Currency, "the segments' size × time × price, worked out apart"},
		{"rounding", v.Rounding, v.Currency, "list less exact: each quantity is rounded once, to 1e-9 hours"},
		{"billed", v.Billed, v.Currency, "with plans and adjustments"},
		{"effective", v.Effective, v.Currency, "with commitments laid onto use"},
	}
	if err := table.New(table.Column{Name: "SUM"}, table.Column{Name: "AMOUNT", Right: true}, table.Column{Name: ""}, table.Column{Name: ""}).Print(w, rows...); err != nil {
		return err
	}
	if v.OK {
		fmt.Fprintln(w, "nothing is missing, and nothing is there twice")
		return nil
	}
	rows = nil
	for _, f := range v.Findings {
		rows = append(rows, []string{f.Kind, f.Project, f.Pod, f.Segment, f.From, f.To, f.Message})
	}
	if err := table.New(table.Column{Name: "FOUND"}, table.Column{Name: "PROJECT"}, table.Column{Name: "POD"}, table.Column{Name: "SEGMENT"},
		table.Column{Name: "FROM"}, table.Column{Name: "TO"}, table.Column{Name: "WHAT"}).Print(w, rows...); err != nil {
		return err
	}
	if more := v.FindingsTotal - int64(len(v.Findings)); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	return nil
}
