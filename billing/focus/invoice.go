package focus

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"swell.dev/swell/billing"
)

// InvoiceLines sums the charges of one invoice by its lines: what each project used of each SKU, each plan, each
// adjustment.
type InvoiceLines struct {
	lines map[string]*InvoiceLine
}

// InvoiceLine is one of them.
type InvoiceLine struct {
	ID          string // unique within the invoice
	Category    string // FOCUS's ChargeCategory
	Description string
	Billed      billing.Money
	grain       map[string]string
}

// Add takes a charge of the invoice. What a plan covers costs nothing more and is no line.
func (l *InvoiceLines) Add(c *billing.Charge) {
	if c.Billed.IsZero() {
		return
	}
	k := rowKey{kind: c.Kind, project: c.Project, item: c.Item, plan: c.Plan, adjustment: c.Adjustment}
	id := detailID(&k)
	line := l.lines[id]
	if line == nil {
		line = &InvoiceLine{ID: id}
		switch c.Kind {
		case billing.Usage:
			line.Category = "Usage"
			line.Description = fmt.Sprintf("%s, project %s", c.Item.ID, c.Project)
			line.grain = map[string]string{"SubAccountId": c.Project, "SkuPriceId": c.Item.ID}
		case billing.Adjustment:
			line.Category = "Adjustment"
			line.Description = "Adjustment " + c.Adjustment
			line.grain = map[string]string{"x_SwellAdjustmentId": c.Adjustment}
		default:
			line.Category = "Purchase"
			line.Description = "Savings plan " + c.Plan.Name
			line.grain = map[string]string{"ResourceId": c.Plan.UID}
		}
		if l.lines == nil {
			l.lines = map[string]*InvoiceLine{}
		}
		l.lines[id] = line
	}
	line.Billed = line.Billed.Plus(c.Billed)
}

// Total is what the lines are together, exactly.
func (l *InvoiceLines) Total() billing.Money {
	var sum billing.Money
	for _, line := range l.lines {
		sum = sum.Plus(line.Billed)
	}
	return sum
}

// Lines are sorted by their ids.
func (l *InvoiceLines) Lines() []*InvoiceLine {
	sorted := make([]*InvoiceLine, 0, len(l.lines))
	for _, line := range l.lines {
		sorted = append(sorted, line)
	}
	slices.SortFunc(sorted, func(a, b *InvoiceLine) int { return strings.Compare(a.ID, b.ID) })
	return sorted
}

// WriteInvoice writes an invoice's lines to the invoice detail dataset.
func WriteInvoice(o Options, v Invoice, lines *InvoiceLines, out Writer) error {
	o.fill()
	l := layoutOf(o.Version, InvoiceDetail)
	for _, line := range lines.Lines() {
		row := make(Row, len(l.columns))
		set := func(name string, v Value) { l.set(row, name, v) }
		set("BilledCost", num(line.Billed))
		set("BillingAccountId", str(v.Account))
		set("BillingCurrency", str(v.Currency))
		set("BillingPeriodStart", at(v.From))
		set("BillingPeriodEnd", at(v.To))
		set("ChargeCategory", str(line.Category))
		for _, name := range []string{"InvoiceDetailCreated", "InvoiceDetailLastUpdated", "InvoiceIssueDate"} {
			set(name, at(v.Closed.UnixMilli()))
		}
		set("InvoiceDetailDescription", str(line.Description))
		set("InvoiceDetailGrain", str(encode(line.grain)))
		set("InvoiceDetailId", str(line.ID))
		set("InvoiceId", str(v.ID))
		set("InvoiceIssueStatus", str("Issued"))
		set("InvoiceIssuerName", str(o.Provider))
		set("PaymentTerms", str("Due on receipt"))
		set("ReferenceInvoiceId", str(v.ID))
		if err := out.Write(row); err != nil {
			return err
		}
	}
	return nil
}

// WritePeriods writes the months that touch [from, to) to the billing period dataset, and closes the writer. A month
// is closed when all accounts that were charged anything in it have their invoice.
func WritePeriods(o Options, from, to int64, charged func(from, to int64) []string, now time.Time, out Writer) error {
	o.fill()
	l := layoutOf(o.Version, BillingPeriod)
	for ms := from; ms < to; {
		start, end := o.month(ms)
		status, updated := "Closed", start
		accounts := charged(start, end)
		for _, a := range accounts {
			closed, ok := o.invoiced(a, start)
			if !ok {
				status = "Open"
			}
			updated = max(updated, closed.UnixMilli())
		}
		if status == "Open" || (len(accounts) == 0 && now.UnixMilli() < end) {
			status, updated = "Open", max(start, min(end, now.UnixMilli()))
		}
		row := make(Row, len(l.columns))
		l.set(row, "BillingPeriodCreated", at(start))
		l.set(row, "BillingPeriodEnd", at(end))
		l.set(row, "BillingPeriodLastUpdated", at(updated))
		l.set(row, "BillingPeriodStart", at(start))
		l.set(row, "BillingPeriodStatus", str(status))
		l.set(row, "InvoiceIssuerName", str(o.Provider))
		if err := out.Write(row); err != nil {
			return err
		}
		ms = end
	}
	return out.Close()
}
