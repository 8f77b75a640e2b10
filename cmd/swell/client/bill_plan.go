package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/table"
)

const plansPath = group + "/savingsplans"

func (a *app) newBillPlanCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "plan",
		Aliases: []string{"plans"},
		Short:   "Buy, list, renew and return savings plans",
		Long: `Buy, list, renew and return savings plans: a commitment to spend an amount in each day (or hour),
which use draws down at a discount. What an interval leaves is lost. A plan that is bought doesn't
change; it can be returned within its window. Administrators buy.`,
		Example: `  swell bill recommend
  swell bill plan buy year --offer day-1y --commitment 120 --zone Asia/Shanghai --dry-run
  swell bill plan buy year --offer day-1y --commitment 120 --zone Asia/Shanghai
  swell bill plan ls
  swell bill plan renew year
  swell bill plan return year`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.newPlanBuyCommand(), a.newPlanListCommand(), a.newPlanShowCommand(), a.newPlanRenewCommand(), a.newPlanReturnCommand())
	return cmd
}

// purchase is the flags of what is bought.
type purchase struct {
	spec   v1alpha1.SavingsPlanSpec
	hourly bool
	off    []string
	dryRun bool
}

func (p *purchase) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.spec.Offer, "offer", "", "offer of the price book")
	f.StringVar(&p.spec.Commitment, "commitment", "", "to spend in each interval, such as 120.50")
	f.StringVar(&p.spec.TimeZone, "zone", "", "time zone whose midnights begin days (default: the offer's)")
	f.StringVar(&p.spec.StartDate, "start", "", "first day, such as 2027-01-31 (default tomorrow)")
	f.Int32Var(&p.spec.TermDays, "days", 0, "term in calendar days, without an offer")
	f.BoolVar(&p.hourly, "hourly", false, "a plan of hours rather than days, without an offer")
	f.StringArrayVar(&p.off, "discount", nil, "discount without an offer, such as 55% or 30%:class=performance,resource=vcpu; may be repeated")
	f.StringVar(&p.spec.Scope.Account, "scope-account", "", "cover this account's use only")
	f.StringVar(&p.spec.Scope.Project, "scope-project", "", "cover this namespace's use only")
	f.StringVar(&p.spec.Scope.ComputeClass, "scope-class", "", "cover this compute class only")
	f.BoolVar(&p.dryRun, "dry-run", false, "buy nothing; show what it would have saved and may lose")
}

// plan is what is sent.
func (p *purchase) plan(name string) (*v1alpha1.SavingsPlan, error) {
	out := &v1alpha1.SavingsPlan{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.Group + "/" + v1alpha1.Version, Kind: "SavingsPlan"}, Spec: p.spec}
	out.Name = name
	if p.hourly {
		out.Spec.Interval = v1alpha1.SavingsHour
	}
	for _, text := range p.off {
		d, err := parseDiscount(text)
		if err != nil {
			return nil, err
		}
		out.Spec.Discounts = append(out.Spec.Discounts, d)
	}
	return out, nil
}

func parseDiscount(text string) (v1alpha1.SavingsDiscount, error) {
	discount, of, _ := strings.Cut(text, ":")
	d := v1alpha1.SavingsDiscount{Discount: discount}
	fields := map[string]*string{"class": &d.ComputeClass, "resource": &d.Resource, "model": &d.Model, "region": &d.Region}
	for part := range strings.SplitSeq(of, ",") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		if fields[name] == nil || value == "" {
			return d, fmt.Errorf("--discount %q: want a percentage, and class=, resource=, model= or region= after a colon", text)
		}
		*fields[name] = value
	}
	return d, nil
}

func (a *app) newPlanBuyCommand() *cobra.Command {
	var p purchase
	cmd := &cobra.Command{
		Use:   "buy NAME",
		Short: "Buy a savings plan",
		Long: `Buy a savings plan, on the terms of an offer of the price book or on others that are named. It
starts at the next midnight of its zone unless --start names a later day, and ends at a midnight.
--dry-run shows what it would have done to what was used so far, and the risk of loss.`,
		Example: `  swell bill plan buy year --offer day-1y --commitment 120 --dry-run
  swell bill plan buy team --discount 30% --days 90 --commitment 12.5 --scope-project shop`,
		Args: takes("NAME"),
	}
	c := a.addConnection(cmd)
	p.add(cmd)
	out := addFormat(cmd, formatJSON, formatYAML)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		plan, err := p.plan(args[0])
		if err != nil {
			return wrong(cmd, "%v", err)
		}
		return buy(ctx, s, cmd, out, plan, p.dryRun)
	})
	return cmd
}

func (a *app) newPlanRenewCommand() *cobra.Command {
	var p purchase
	var as string
	cmd := &cobra.Command{
		Use:   "renew NAME",
		Short: "Queue a plan that follows one",
		Long: `Queue a plan that follows another one: it starts when that ends, on the same terms and with the same
commitment and scope unless others are named. A plan is renewed once.`,
		Example: "  swell bill plan renew year\n  swell bill plan renew year --as year-2 --commitment 150 --dry-run",
		Args:    takes("NAME"),
	}
	c := a.addConnection(cmd)
	p.add(cmd)
	cmd.Flags().StringVar(&as, "as", "", "name of the new plan (default NAME-renewal)")
	out := addFormat(cmd, formatJSON, formatYAML)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		plan, err := p.plan(cmp.Or(as, args[0]+"-renewal"))
		if err != nil {
			return wrong(cmd, "%v", err)
		}
		plan.Spec.Renews = args[0]
		return buy(ctx, s, cmd, out, plan, p.dryRun)
	})
	return cmd
}

func buy(ctx context.Context, s *session, cmd *cobra.Command, out *format, plan *v1alpha1.SavingsPlan, dryRun bool) error {
	body, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	request := s.CoreV1().RESTClient().Post().AbsPath(plansPath).SetHeader("Content-Type", "application/json").Param("fieldManager", fieldManager).Body(body)
	if dryRun {
		request = request.Param("dryRun", metav1.DryRunAll)
	}
	bought := &v1alpha1.SavingsPlan{}
	if err := fetch(ctx, request, "savings plan", bought); err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	if out.structured() {
		return out.print(w, bought)
	}
	if dryRun {
		fmt.Fprintln(w, "nothing is bought")
		printPlan(w, bought)
		return nil
	}
	fmt.Fprintf(w, "savingsplan/%s bought: %s %s per %s from %s for %d days\n", bought.Name, bought.Spec.Commitment, bought.Spec.Currency,
		strings.ToLower(string(bought.Spec.Interval)), bought.Spec.StartDate, bought.Spec.TermDays)
	if until := bought.Status.ReturnableUntil; !until.IsZero() {
		fmt.Fprintf(w, "it can be returned until %s\n", instantText(until))
	}
	return nil
}

func instantText(t metav1.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

func (a *app) newPlanListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List savings plans and how much of them is used",
		Example: "  swell bill plan ls", Args: takes(),
	}
	c := a.addConnection(cmd)
	out := addFormat(cmd, formatJSON, formatYAML, formatName)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
		list := &v1alpha1.SavingsPlanList{}
		if err := fetch(ctx, s.CoreV1().RESTClient().Get().AbsPath(plansPath), "savings plans", list); err != nil {
			return err
		}
		w := cmd.OutOrStdout()
		switch {
		case out.structured():
			return out.print(w, list)
		case out.value == formatName:
			for i := range list.Items {
				fmt.Fprintln(w, "savingsplan/"+list.Items[i].Name)
			}
			return nil
		case len(list.Items) == 0:
			fmt.Fprintln(cmd.ErrOrStderr(), "no savings plans; `swell bill recommend` says whether one would pay")
			return nil
		}
		columns := []table.Column{{Name: "NAME"}, {Name: "PHASE"}, {Name: "COMMITMENT", Right: true}, {Name: ""}, {Name: "PER"}, {Name: "DISCOUNT", Right: true},
			{Name: "START"}, {Name: "DAYS", Right: true}, {Name: "USED", Right: true}, {Name: "SCOPE"}, {Name: "RENEWS"}}
		var rows [][]string
		for i := range list.Items {
			p := &list.Items[i]
			used := ""
			if u := p.Status.Utilisation; u != nil {
				used = u.Percent
			}
			rows = append(rows, []string{p.Name, string(p.Status.Phase), p.Spec.Commitment, p.Spec.Currency, strings.ToLower(string(p.Spec.Interval)), discountsText(p.Spec.Discounts),
				p.Spec.StartDate, fmt.Sprint(p.Spec.TermDays), used, scopeText(p.Spec.Scope), p.Spec.Renews})
		}
		return table.New(columns...).Print(w, rows...)
	})
	return cmd
}

func (a *app) newPlanShowCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Short: "Show one savings plan", Example: "  swell bill plan show year", Args: takes("NAME")}
	c := a.addConnection(cmd)
	out := addFormat(cmd, formatJSON, formatYAML)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		p := &v1alpha1.SavingsPlan{}
		if err := fetch(ctx, s.CoreV1().RESTClient().Get().AbsPath(plansPath+"/"+args[0]), "savings plan", p); err != nil {
			return err
		}
		if out.structured() {
			return out.print(cmd.OutOrStdout(), p)
		}
		printPlan(cmd.OutOrStdout(), p)
		return nil
	})
	return cmd
}

func (a *app) newPlanReturnCommand() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use: "return NAME", Short: "Return a plan within its window: it counts as never bought",
		Example: "  swell bill plan return year", Args: takes("NAME"),
	}
	c := a.addConnection(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only see whether it can be returned")
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		request := s.CoreV1().RESTClient().Post().AbsPath(plansPath + "/" + args[0] + "/return")
		done := "returned"
		if dryRun {
			request, done = request.Param("dryRun", metav1.DryRunAll), "could be returned"
		}
		if err := fetch(ctx, request, "savings plan", &v1alpha1.SavingsPlan{}); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "savingsplan/%s %s\n", args[0], done)
		return nil
	})
	return cmd
}

func discountsText(list []v1alpha1.SavingsDiscount) string {
	var out []string
	for _, d := range list {
		text := d.Discount
		for _, part := range []string{d.ComputeClass, d.Resource, d.Model, d.Region} {
			if part != "" {
				text += " " + part
			}
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func scopeText(s v1alpha1.SavingsScope) string {
	var out []string
	for _, p := range []struct{ name, value string }{{"account", s.Account}, {"project", s.Project}, {"class", s.ComputeClass}} {
		if p.value != "" {
			out = append(out, p.name+"="+p.value)
		}
	}
	return cmp.Or(strings.Join(out, ","), "all")
}

// printPlan writes a line for each thing that there is to say of a plan.
func printPlan(w io.Writer, p *v1alpha1.SavingsPlan) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-14s%s\n", name, fmt.Sprintf(format, args...))
	}
	s, st := &p.Spec, &p.Status
	line("plan", "%s", p.Name)
	line("phase", "%s", st.Phase)
	line("commitment", "%s %s per %s", s.Commitment, s.Currency, strings.ToLower(string(s.Interval)))
	line("discount", "%s", discountsText(s.Discounts))
	line("covers", "%s", scopeText(s.Scope))
	line("from", "%s (%s)", instantText(st.StartTime), s.TimeZone)
	line("until", "%s, %d days", instantText(st.EndTime), s.TermDays)
	if s.Renews != "" {
		line("renews", "%s", s.Renews)
	}
	switch {
	case !st.ReturnedAt.IsZero():
		line("returned", "%s", instantText(st.ReturnedAt))
	case !st.ReturnableUntil.IsZero():
		line("returnable", "until %s", instantText(st.ReturnableUntil))
	}
	if u := st.Utilisation; u != nil {
		line("used", "%s of %s %s in the last %d intervals (%s); %s lost", u.Used, u.Committed, s.Currency, u.Intervals, u.Percent, u.Unused)
	}
	if st.NotForecastReason != "" {
		line("forecast", "none: %s", st.NotForecastReason)
	}
	if st.Forecast != nil {
		printForecast(line, st.Forecast, s.Currency)
	}
}

func printForecast(line func(name, format string, args ...any), f *v1alpha1.SavingsForecast, currency string) {
	line("history", "%d days until %s", f.Days, instantText(f.To))
	line("would save", "%s of %s %s (%s), with %s of the commitment used", f.Saving, f.List, currency, f.SavingPercent, f.Utilisation)
	if f.OutOfSamplePercent != "" {
		line("to expect", "%s: what commitments saved that were chosen by the weeks before; %s more was paid than with hindsight", f.OutOfSamplePercent, f.RegretPercent)
	}
	line("worst month", "%s (%s), from %s", f.WorstSaving, f.WorstPercent, f.WorstFrom)
	line("may lose", "in %s of terms drawn from the history it costs more than list", f.ChanceToLose)
	if f.Tests > 0 {
		line("lost", "in %d of %d tests out of sample", f.TestsLost, f.Tests)
	}
	line("best", "%s %s", f.Best, currency)
}

func (a *app) newBillRecommendCommand() *cobra.Command {
	var offer, zone string
	var scope v1alpha1.SavingsScope
	var days int
	cmd := &cobra.Command{
		Use:   "recommend",
		Short: "Show which savings plans would have paid",
		Long: `Show for each offer of the price book the commitment that would have saved most on what was used,
after the plans that there are; what was saved by commitments that were chosen by the weeks before
(to expect), the worst month, and the chance to lose.`,
		Example: "  swell bill recommend\n  swell bill recommend --offer day-1y --days 180 --scope-project shop",
		Args:    takes(),
	}
	c := a.addConnection(cmd)
	f := cmd.Flags()
	f.StringVar(&offer, "offer", "", "this offer only")
	f.IntVar(&days, "days", 90, "how much of the past to learn from")
	f.StringVar(&zone, "zone", "", "time zone whose midnights begin days (default: the offer's)")
	f.StringVar(&scope.Account, "scope-account", "", "use of this account only")
	f.StringVar(&scope.Project, "scope-project", "", "use of this namespace only")
	f.StringVar(&scope.ComputeClass, "scope-class", "", "use of this compute class only")
	out := addFormat(cmd, formatJSON, formatYAML)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
		request := s.CoreV1().RESTClient().Get().AbsPath(group+"/billing/recommend").Param("days", fmt.Sprint(days))
		for _, p := range []struct{ name, value string }{{"offer", offer}, {"zone", zone}, {"account", scope.Account}, {"project", scope.Project}, {"class", scope.ComputeClass}} {
			if p.value != "" {
				request = request.Param(p.name, p.value)
			}
		}
		list := &v1alpha1.SavingsRecommendationList{}
		if err := fetch(ctx, request, "recommendations of savings plans", list); err != nil {
			return err
		}
		if out.structured() {
			return out.print(cmd.OutOrStdout(), list)
		}
		if len(list.Items) == 0 {
			fmt.Fprintln(cmd.ErrOrStderr(), "nothing to recommend: there is no whole day of use yet, or the price book has no offers")
			return nil
		}
		return printSavings(cmd.OutOrStdout(), list.Items)
	})
	return cmd
}

func printSavings(w io.Writer, list []v1alpha1.SavingsRecommendation) error {
	columns := []table.Column{{Name: "OFFER"}, {Name: "COMMITMENT", Right: true}, {Name: ""}, {Name: "PER"}, {Name: "SAVED", Right: true}, {Name: "OF-LIST", Right: true},
		{Name: "TO-EXPECT", Right: true}, {Name: "WORST-MONTH", Right: true}, {Name: "MAY-LOSE", Right: true}, {Name: "USED", Right: true}, {Name: "HISTORY", Right: true}}
	var rows [][]string
	for i := range list {
		r := &list[i]
		f := &r.Forecast
		rows = append(rows, []string{r.Offer, r.Commitment, r.Currency, strings.ToLower(string(r.Interval)), f.Saving, f.SavingPercent, cmp.Or(f.OutOfSamplePercent, "?"),
			f.WorstPercent, f.ChanceToLose, f.Utilisation, fmt.Sprintf("%d days", f.Days)})
	}
	return table.New(columns...).Print(w, rows...)
}
