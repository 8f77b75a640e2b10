package plans

import (
	"testing"

	"swell.dev/swell/billing/ledger"
)

func TestInvoiced(t *testing.T) {
	invoices := []ledger.Invoice{{ID: "a-2027-03", Account: "a", To: at(t, "2027-04-01T00:00:00Z")}, {ID: "b-2027-02", Account: "b", To: at(t, "2027-03-01T00:00:00Z")}}
	for _, c := range []struct {
		since    string
		accounts []string
		refused  bool
	}{
		{"2027-03-31T23:59:59Z", []string{"a", "c"}, true},
		{"2027-04-01T00:00:00Z", []string{"a", "c"}, false}, // it began when the invoice's time was over
		{"2027-03-15T00:00:00Z", []string{"b", "c"}, false},
		{"2027-02-15T00:00:00Z", []string{"c", "b"}, true},
		{"2027-02-15T00:00:00Z", []string{"c"}, false},
		{"2027-03-15T00:00:00Z", nil, true},
		{"2027-04-15T00:00:00Z", nil, false},
		{"0001-01-01T00:00:00Z", []string{"b"}, true},
	} {
		if err := Invoiced(invoices, at(t, c.since), c.accounts...); (err != nil) != c.refused {
			t.Errorf("since %s, %v: %v", c.since, c.accounts, err)
		}
	}
}
