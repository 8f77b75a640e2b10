package client

import (
	"fmt"
	"io"
	"time"

	"swell.dev/swell/billing"
	"swell.dev/swell/billing/plan"
	"swell.dev/swell/internal/table"
)

// simulated is the answer as JSON has it: money as exact decimals, shares as fractions of the list cost.
type simulated struct {
	Zone         string          `json:"zone"`
	From         time.Time       `json:"from"`
	To           time.Time       `json:"to"`
	Days         int             `json:"days"`
	PriceBook    string          `json:"priceBook"`
	Currency     string          `json:"currency"`
	List         billing.Money   `json:"list"`
	PeakCapacity wayCost         `json:"peakCapacity"` // the peak's size kept all the time, at list
	Plans        []simulatedPlan `json:"plans"`
}

type wayCost struct {
	Cost   billing.Money `json:"cost"`
	Saving float64       `json:"saving"`
}

type simulatedPlan struct {
	Offer        string          `json:"offer"`
	Interval     string          `json:"interval"`
	Commitment   billing.Money   `json:"commitment"` // per interval
	Cost         billing.Money   `json:"cost"`
	Saving       float64         `json:"saving"`
	Utilisation  float64         `json:"utilisation"`
	OutOfSample  *simulatedTests `json:"outOfSample,omitempty"`
	Worst        simulatedWorst  `json:"worst"`
	ChanceToLose float64         `json:"chanceToLose"`
	PeakCapacity wayCost         `json:"peakCapacity"` // with this plan
}

type simulatedTests struct {
	Train   int           `json:"trainDays"`
	Test    int           `json:"testDays"`
	Windows int           `json:"windows"`
	Lost    int           `json:"windowsLost"`
	List    billing.Money `json:"list"`
	Cost    billing.Money `json:"cost"`
	Saving  float64       `json:"saving"`
	Regret  float64       `json:"regret"`
}

type simulatedWorst struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Saving float64   `json:"saving"`
}

func simulatedOf(s *plan.Simulation, book *billing.Book, zone *time.Location) *simulated {
	in := func(ms int64) time.Time { return time.UnixMilli(ms).In(zone) }
	way := func(cost billing.Money) wayCost {
		o := plan.Outcome{List: s.List, Cost: cost}
		return wayCost{cost, o.Saving()}
	}
	out := &simulated{Zone: zone.String(), From: in(s.From), To: in(s.To), Days: s.Days, PriceBook: book.Version, Currency: book.Currency,
		List: s.List, PeakCapacity: way(s.Peak)}
	for i := range s.Plans {
		p := &s.Plans[i]
		// What the plan may not cover costs list with it and without.
		cost := s.List.Minus(p.InSample.Saved())
		line := simulatedPlan{Offer: p.Candidate.Offer.Name, Interval: p.Candidate.Offer.Interval.String(), Commitment: p.Commitment,
			Cost: cost, Saving: way(cost).Saving, Utilisation: p.InSample.Utilisation(), ChanceToLose: p.ChanceToLose,
			Worst: simulatedWorst{in(p.Worst.From), in(p.Worst.To), p.Worst.Saving()}, PeakCapacity: way(p.Peak)}
		if r := p.Rolling; r != nil {
			line.OutOfSample = &simulatedTests{r.Train, r.Test, r.Windows, r.Lost, r.List, r.Cost, r.Saving(), r.Regret()}
		}
		out.Plans = append(out.Plans, line)
	}
	return out
}

func (s *simulated) table(w io.Writer) error {
	fmt.Fprintf(w, "%d days of %s from %s on, prices of %s in %s\n\n", s.Days, s.Zone, s.From.Format(time.DateOnly), s.PriceBook, s.Currency)
	right := func(name string) table.Column { return table.Column{Name: name, Right: true} }
	t := table.New(table.Column{Name: "WAY"}, right("COMMITMENT"), right("USED"), right("COST"), right("SAVING"), right("OUT OF SAMPLE"),
		right("REGRET"), right("WORST 30 DAYS"), right("CHANCE TO LOSE"))
	rows := [][]string{{"list", "", "", s.List.Fixed(2), "", "", "", "", ""},
		{"peak capacity all day", "", "", s.PeakCapacity.Cost.Fixed(2), shareText(s.PeakCapacity.Saving), "", "", "", ""}}
	tests := ""
	for i := range s.Plans {
		p := &s.Plans[i]
		row := []string{p.Offer, p.Commitment.String() + "/" + p.Interval, shareText(p.Utilisation), p.Cost.Fixed(2), shareText(p.Saving), "", "",
			shareText(p.Worst.Saving), shareText(p.ChanceToLose)}
		if o := p.OutOfSample; o != nil {
			row[5], row[6] = shareText(o.Saving), shareText(o.Regret)
			tests += fmt.Sprintf("%s: held for %d days after %d, %d of %d times at a loss.\n", p.Offer, o.Test, o.Train, o.Lost, o.Windows)
		}
		rows = append(rows, row, []string{"  peak capacity with it", "", "", p.PeakCapacity.Cost.Fixed(2), shareText(p.PeakCapacity.Saving), "", "", "", ""})
	}
	if err := t.Print(w, rows...); err != nil {
		return err
	}
	if tests != "" {
		fmt.Fprintf(w, "\nOut of sample:\n%s", tests)
	}
	return nil
}

func shareText(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }
