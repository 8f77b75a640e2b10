package focus

import (
	"fmt"
	"strings"
)

// Version of FOCUS.
type Version uint8

// The versions, as bits: a column or a rule holds in some of them.
const (
	Version12 Version = 1 << iota
	Version14
)

const everyVersion = Version12 | Version14

func (v Version) String() string {
	switch v {
	case Version12:
		return "1.2"
	case Version14:
		return "1.4"
	}
	return fmt.Sprintf("Version(%d)", uint8(v))
}

// ParseVersion knows 1.2 and 1.4.
func ParseVersion(s string) (Version, error) {
	switch s {
	case "1.2":
		return Version12, nil
	case "1.4":
		return Version14, nil
	}
	return 0, fmt.Errorf("FOCUS version %q: want 1.2 or 1.4", s)
}

// Dataset is one of FOCUS's datasets.
type Dataset uint8

// The datasets.
const (
	CostAndUsage Dataset = iota
	ContractCommitment
	InvoiceDetail
	BillingPeriod
)

var datasets = []struct{ id, name string }{
	{"CostAndUsage", "cost-and-usage"},
	{"ContractCommitment", "contract-commitment"},
	{"InvoiceDetail", "invoice-detail"},
	{"BillingPeriod", "billing-period"},
}

// ID is FOCUS's name of the dataset.
func (d Dataset) ID() string { return datasets[d].id }

// String is the name in flags, addresses and files.
func (d Dataset) String() string { return datasets[d].name }

// In reports whether the version has the dataset.
func (d Dataset) In(v Version) bool { return d == CostAndUsage || v == Version14 }

// ParseDataset reads a dataset's name, for a version.
func ParseDataset(s string, v Version) (Dataset, error) {
	var names []string
	for i := range datasets {
		d := Dataset(i)
		if !d.In(v) {
			if s == d.String() {
				return 0, fmt.Errorf("dataset %q: FOCUS %s has none, 1.4 does", s, v)
			}
			continue
		}
		if s == d.String() {
			return d, nil
		}
		names = append(names, d.String())
	}
	return 0, fmt.Errorf("dataset %q: want %s", s, strings.Join(names, ", "))
}
