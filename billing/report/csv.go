package report

import (
	"encoding/csv"
	"io"
	"strings"
	"time"
)

// CSV writes the rows with all their places (RFC 4180), and no totals, so that spreadsheets can sum and pivot. A
// cell of text that a spreadsheet would take for a formula has an apostrophe before it.
func (r *Report) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	heading := []string{"from", "to"}
	for _, d := range r.Query.By {
		heading = append(heading, text(d.String()))
	}
	heading = append(heading, "seconds", "vcpu_hours", "memory_gib_hours", "gpu_hours", "gpu_memory_gib_hours", "storage_gib_hours", "list", "billed", "effective", "saving", "burst", "share", "currency")
	if err := out.Write(heading); err != nil {
		return err
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		line := []string{stamp(row.Period.From, r.Query.Zone), stamp(row.Period.To, r.Query.Zone)}
		for _, key := range row.Key {
			if row.Others {
				key = OthersLabel
			}
			line = append(line, text(key))
		}
		line = append(line, seconds(row.Millis))
		for _, q := range row.Quantity {
			line = append(line, q.Hours())
		}
		line = append(line, row.List.String(), row.Billed.String(), row.Effective.String(), row.Saving().String(), row.Burst.String(),
			Share(row.Effective, r.Total.Effective), r.Currency)
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// text keeps a spreadsheet from running what somebody named a pod.
func text(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}

func stamp(ms int64, zone *time.Location) string {
	return time.UnixMilli(ms).In(zone).Format("2006-01-02T15:04:05.999Z07:00")
}
