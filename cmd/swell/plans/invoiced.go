package plans

import (
	"fmt"
	"slices"
	"time"

	"swell.dev/swell/billing/ledger"
)

// Invoiced answers an error if an invoice of one of the accounts (none: of any) has closed time after since: what it
// was made of can't be changed any more by who a project belongs to or by which plans there are.
func Invoiced(invoices []ledger.Invoice, since time.Time, accounts ...string) error {
	for _, i := range invoices {
		if (len(accounts) == 0 || slices.Contains(accounts, i.Account)) && i.To.After(since) {
			return fmt.Errorf("invoice %s of account %s has closed the time until %s", i.ID, i.Account, i.To.UTC().Format(time.RFC3339))
		}
	}
	return nil
}
