package client

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"swell.dev/swell/billing"
	"swell.dev/swell/billing/plan"
)

// simulation is what swell bill simulate was asked.
type simulation struct {
	trace, prices, zone string
	offers, discounts   []string
	options             plan.Options
}

func (a *app) newBillSimulateCommand() *cobra.Command {
	var s simulation
	cmd := &cobra.Command{
		Use:   "simulate --trace FILE",
		Short: "Show what savings plans would do for a demand",
		Long: `Show what a demand costs at list, with the best commitment of savings plans by the hour and by the
day, and with the capacity of its peak kept all the time, as a fixed fleet would. No server is asked.

The trace is a CSV with the columns time, vcpu, gib and, if there are several, class. A row holds until
the next row's time, the last one for as long as the one before it. Times are RFC 3339, Unix seconds, or
such as "2026-11-27 18:00" in the zone. Whole days of the zone count.

COST is with the commitment that is best for the whole trace, known afterwards. OUT OF SAMPLE is what
saves who doesn't know what comes: every --test days the commitment is chosen anew, as the best for the
--train days before. REGRET is what hindsight would have saved more. CHANCE TO LOSE is the share of 2,000
terms, drawn from the trace's days, in which the plan costs more than list.`,
		Example: `  swell bill simulate --trace demand.csv --zone Asia/Shanghai
  swell bill simulate --trace demand.csv --discount 28% --discount 55%
  swell bill simulate --trace demand.csv --offer day-1y -o json`,
		Args: takes(),
	}
	f := cmd.Flags()
	f.StringVar(&s.trace, "trace", "", "CSV `file` of the demand; - is standard input")
	f.StringVar(&s.prices, "price-file", billing.DefaultBook, "prices and offers: a `file`, a folder of files, or one of "+strings.Join(billing.Shipped(), ", "))
	f.StringVar(&s.zone, "zone", "", "time `zone` of days and of times without one, such as Asia/Shanghai (default UTC, or the offers' own)")
	f.StringArrayVar(&s.offers, "offer", nil, "offer of the price file; may be repeated (default all)")
	f.StringArrayVar(&s.discounts, "discount", nil, "plans by the hour and by the day at this `percentage` instead of offers; may be repeated")
	f.IntVar(&s.options.Train, "train", 0, "`days` to learn a commitment from (default 28, or half of a shorter trace)")
	f.IntVar(&s.options.Test, "test", 0, "`days` to hold it for (default 28, or half of a shorter trace)")
	out := addFormat(cmd, "table", formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := s.validate(); err != nil {
			return &UsageError{cmd.CommandPath(), err}
		}
		result, err := s.run(cmd.InOrStdin())
		if err != nil {
			return err
		}
		if out.structured() {
			return out.print(cmd.OutOrStdout(), result)
		}
		return result.table(cmd.OutOrStdout())
	}
	return cmd
}

func (s *simulation) validate() error {
	switch {
	case s.trace == "":
		return errors.New("--trace is missing: want a CSV file with the columns time,vcpu,gib[,class]")
	case s.options.Train < 0:
		return fmt.Errorf("--train %d: want a number of days", s.options.Train)
	case s.options.Test < 0:
		return fmt.Errorf("--test %d: want a number of days", s.options.Test)
	case len(s.offers) > 0 && len(s.discounts) > 0:
		return errors.New("--offer and --discount: want one or the other")
	}
	return nil
}

func (s *simulation) run(stdin io.Reader) (*simulated, error) {
	books, err := billing.LoadBooks(s.prices)
	if err != nil {
		return nil, err
	}
	book := books.All()[len(books.All())-1]
	candidates, err := s.candidates(book)
	if err != nil {
		return nil, err
	}
	zone, err := s.oneZone(candidates)
	if err != nil {
		return nil, err
	}
	in := stdin
	if s.trace != "-" {
		file, err := os.Open(s.trace)
		if err != nil {
			return nil, fmt.Errorf("trace: %w", err)
		}
		defer file.Close()
		in = file
	}
	trace, err := plan.ReadTrace(s.trace, in, zone)
	if err != nil {
		return nil, err
	}
	result, err := plan.Simulate(trace, func(class string) (cpu, memory *billing.Item, err error) {
		rates, err := book.Rates(class, "default", "")
		if err != nil {
			return nil, nil, err
		}
		return rates.CPU, rates.Memory, nil
	}, candidates, zone, s.options)
	if err != nil {
		return nil, err
	}
	return simulatedOf(result, book, zone), nil
}

func (s *simulation) candidates(book *billing.Book) (out []plan.Candidate, err error) {
	for _, d := range s.discounts {
		discount, err := billing.ParseDiscount(d)
		if err != nil {
			return nil, fmt.Errorf("--discount: %w", err)
		}
		for _, interval := range []billing.Interval{billing.Hour, billing.Day} {
			out = append(out, plan.Candidate{Offer: billing.Offer{Name: fmt.Sprintf("%s-%s", interval, d), Interval: interval,
				Discounts: []billing.PlanDiscount{{Discount: discount}}}})
		}
	}
	var names []string
	for _, o := range book.Offers {
		names = append(names, o.Name)
		if len(s.discounts) == 0 && (len(s.offers) == 0 || slices.Contains(s.offers, o.Name)) {
			out = append(out, plan.Candidate{Offer: o})
		}
	}
	for _, name := range s.offers {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("--offer %q: price book %s offers %s", name, book.Version, orNone(names))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("price book %s has no offers: want --discount, such as --discount 55%%", book.Version)
	}
	return out, nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// oneZone is the zone of all candidates' days, which become comparable by it.
func (s *simulation) oneZone(candidates []plan.Candidate) (*time.Location, error) {
	var zone *time.Location
	if s.zone != "" {
		z, err := time.LoadLocation(s.zone)
		if err != nil || s.zone == "Local" {
			return nil, fmt.Errorf("--zone %q: want a name of the time zone database, such as Asia/Shanghai", s.zone)
		}
		zone = z
	}
	for i := range candidates {
		own := candidates[i].Offer.Zone
		switch {
		case own == nil:
		case zone == nil:
			zone = own
		case zone.String() != own.String():
			return nil, fmt.Errorf("offer %s has days of %s, others of %s: want --offer for those of one zone", candidates[i].Offer.Name, own, zone)
		}
	}
	if zone == nil {
		zone = time.UTC
	}
	return zone, nil
}
