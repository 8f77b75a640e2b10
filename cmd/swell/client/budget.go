package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/table"
)

func (a *app) newBudgetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "budget",
		Aliases: []string{"budgets"},
		Short:   "Say what a project or an account may cost in a month",
		Long: `Say what a project (a namespace) or an account (all namespaces with its label swell.dev/account) may
cost in a calendar month, be told when thresholds are reached, and have it stopped there.`,
		Example: `  swell budget ls -A
  swell budget set monthly 1500 -n shop
  swell budget set monthly 1500 -n shop --hard-stop Deny
  swell budget set everything 20000 --account acme --threshold 80 --threshold 100:forecast
  swell budget rm monthly -n shop`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.newBudgetListCommand(), a.newBudgetSetCommand(), a.newBudgetRemoveCommand())
	return cmd
}

// budgetPath is where budgets of a namespace, or of accounts, are.
func budgetPath(namespace string, account bool, name ...string) string {
	path := group
	if account {
		path += "/accountbudgets"
	} else if namespace == "" {
		path += "/budgets"
	} else {
		path += "/namespaces/" + namespace + "/budgets"
	}
	return strings.Join(append([]string{path}, name...), "/")
}

func (a *app) newBudgetListCommand() *cobra.Command {
	var all, accounts bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List budgets and what is spent of them",
		Example: "  swell budget ls\n  swell budget ls -A\n  swell budget ls --accounts",
		Args:    takes(),
	}
	c := a.addConnection(cmd)
	c.addNamespace(a, cmd)
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "budgets of all namespaces")
	cmd.Flags().BoolVar(&accounts, "accounts", false, "budgets of accounts instead")
	out := addFormat(cmd, formatJSON, formatYAML, formatName)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
		namespace := s.namespace
		if all {
			namespace = ""
		}
		// What is of accounts has a field more, and is read into the same: an account is empty elsewhere.
		list := &v1alpha1.AccountBudgetList{}
		if err := fetch(ctx, s.CoreV1().RESTClient().Get().AbsPath(budgetPath(namespace, accounts)), "budgets", list); err != nil {
			return err
		}
		w := cmd.OutOrStdout()
		switch {
		case out.structured() && !accounts:
			plain := &v1alpha1.BudgetList{TypeMeta: list.TypeMeta, ListMeta: list.ListMeta}
			for i := range list.Items {
				b := &list.Items[i]
				plain.Items = append(plain.Items, v1alpha1.Budget{TypeMeta: b.TypeMeta, ObjectMeta: b.ObjectMeta, Spec: b.Spec.BudgetSpec, Status: b.Status})
			}
			return out.print(w, plain)
		case out.structured():
			return out.print(w, list)
		case out.value == formatName:
			for i := range list.Items {
				fmt.Fprintln(w, budgetKind(accounts)+"/"+list.Items[i].Name)
			}
			return nil
		case len(list.Items) == 0:
			fmt.Fprintln(cmd.ErrOrStderr(), "no budgets; `swell budget set NAME AMOUNT` makes one")
			return nil
		}
		return printBudgets(w, list.Items, all, accounts)
	})
	return cmd
}

func budgetKind(account bool) string {
	if account {
		return "accountbudget"
	}
	return "budget"
}

func printBudgets(w io.Writer, list []v1alpha1.AccountBudget, namespaces, accounts bool) error {
	columns := []table.Column{{Name: "NAME"}, {Name: "STATE"}, {Name: "SPENT", Right: true}, {Name: "AMOUNT", Right: true}, {Name: ""}, {Name: "PERCENT", Right: true},
		{Name: "FORECAST", Right: true}, {Name: "PER-HOUR", Right: true}, {Name: "HARD-STOP"}, {Name: "MONTH"}}
	if accounts {
		columns = append([]table.Column{{Name: "ACCOUNT"}}, columns...)
	} else if namespaces {
		columns = append([]table.Column{{Name: "NAMESPACE"}}, columns...)
	}
	var rows [][]string
	for i := range list {
		b := &list[i]
		month := ""
		if zone, err := time.LoadLocation(b.Spec.TimeZone); err == nil && !b.Status.MonthStart.IsZero() {
			month = b.Status.MonthStart.In(zone).Format("2006-01")
		}
		row := []string{b.Name, string(b.Status.State), b.Status.Spent, b.Spec.Amount, b.Spec.Currency, b.Status.Percent, b.Status.Forecast, b.Status.PerHour, string(b.Spec.HardStop), month}
		if accounts {
			row = append([]string{b.Spec.Account}, row...)
		} else if namespaces {
			row = append([]string{b.Namespace}, row...)
		}
		rows = append(rows, row)
	}
	return table.New(columns...).Print(w, rows...)
}

func (a *app) newBudgetSetCommand() *cobra.Command {
	var account, stop, zone string
	var thresholds []string
	var grace time.Duration
	cmd := &cobra.Command{
		Use:   "set NAME AMOUNT",
		Short: "Make a budget, or change one",
		Long: `Make a budget of the namespace, or of an account, or change the one of that name: what isn't named
stays as it is. Administrators only. A budget with --hard-stop Deny has creates and larger sizes
refused once it is spent; with DenyAndStop pods are ended after --grace.`,
		Example: `  swell budget set monthly 1500 -n shop --hard-stop Deny --zone Europe/Berlin
  swell budget set everything 20000 --account acme`,
		Args: takes("NAME", "AMOUNT"),
	}
	c := a.addConnection(cmd)
	c.addNamespace(a, cmd)
	f := cmd.Flags()
	f.StringVar(&account, "account", "", "a budget of this account, not of the namespace")
	f.StringVar(&stop, "hard-stop", "", "once it is spent: None, Deny or DenyAndStop (default None)")
	f.DurationVar(&grace, "grace", 0, "how long pods go on that DenyAndStop ends (default 5m)")
	f.StringVar(&zone, "zone", "", "time zone of the months (default UTC)")
	f.StringArrayVar(&thresholds, "threshold", nil, "percentage to be told at, 80 or 80:forecast; may be repeated (default 50, 80, 100)")
	_ = cmd.RegisterFlagCompletionFunc("hard-stop", cobra.FixedCompletions([]string{string(v1alpha1.HardStopNone), string(v1alpha1.HardStopDeny), string(v1alpha1.HardStopEnd)}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		ofAccount := account != ""
		path := budgetPath(s.namespace, ofAccount, args[0])
		b := &v1alpha1.AccountBudget{}
		err := fetch(ctx, s.CoreV1().RESTClient().Get().AbsPath(path), "budget", b)
		verb, done := http.MethodPut, "changed"
		if apierrors.IsNotFound(err) {
			verb, done, path = http.MethodPost, "made", budgetPath(s.namespace, ofAccount)
		} else if err != nil {
			return err
		}
		b.Kind, b.APIVersion, b.Name = map[bool]string{false: "Budget", true: "AccountBudget"}[ofAccount], v1alpha1.Group+"/"+v1alpha1.Version, args[0]
		b.Spec.Amount, b.Spec.Account = args[1], account
		b.Spec.TimeZone = cmp.Or(zone, b.Spec.TimeZone)
		if stop != "" {
			b.Spec.HardStop = v1alpha1.HardStop(stop)
			if b.Spec.HardStop != v1alpha1.HardStopEnd {
				b.Spec.GraceSeconds = nil
			}
		}
		if cmd.Flags().Changed("grace") {
			b.Spec.GraceSeconds = new(int64(grace / time.Second))
		}
		if len(thresholds) > 0 {
			if b.Spec.Thresholds, err = parseThresholds(thresholds); err != nil {
				return wrong(cmd, "--threshold %v", err)
			}
		}
		body, err := json.Marshal(b)
		if err != nil {
			return err
		}
		request := s.CoreV1().RESTClient().Verb(verb).AbsPath(path).SetHeader("Content-Type", "application/json").Param("fieldManager", fieldManager).Body(body)
		if err := fetch(ctx, request, "budget", b); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s/%s %s: %s %s a month, hard stop %s\n", budgetKind(ofAccount), b.Name, done, b.Spec.Amount, b.Spec.Currency, b.Spec.HardStop)
		return nil
	})
	return cmd
}

func parseThresholds(list []string) ([]v1alpha1.BudgetThreshold, error) {
	var out []v1alpha1.BudgetThreshold
	for _, text := range list {
		number, of, _ := strings.Cut(text, ":")
		percent, err := strconv.ParseInt(strings.TrimSuffix(number, "%"), 10, 32)
		t := v1alpha1.BudgetThreshold{Percent: int32(percent), Of: v1alpha1.BudgetActual}
		switch {
		case strings.EqualFold(of, string(v1alpha1.BudgetForecast)):
			t.Of = v1alpha1.BudgetForecast
		case of != "" && !strings.EqualFold(of, string(v1alpha1.BudgetActual)):
			err = fmt.Errorf("%q", of)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: want a percentage such as 80, or 80:forecast", text)
		}
		out = append(out, t)
	}
	return out, nil
}

func (a *app) newBudgetRemoveCommand() *cobra.Command {
	var account bool
	cmd := &cobra.Command{
		Use:     "rm NAME…",
		Aliases: []string{"delete"},
		Short:   "Remove budgets; what they stopped may go on at once",
		Example: "  swell budget rm monthly -n shop\n  swell budget rm everything --accounts",
		Args:    takes("NAME…"),
	}
	c := a.addConnection(cmd)
	c.addNamespace(a, cmd)
	cmd.Flags().BoolVar(&account, "accounts", false, "budgets of accounts, not of the namespace")
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		for _, name := range args {
			if err := fetch(ctx, s.CoreV1().RESTClient().Delete().AbsPath(budgetPath(s.namespace, account, name)), "budget", &metav1.Status{}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s/%s removed\n", budgetKind(account), name)
		}
		return nil
	})
	return cmd
}
