package focus

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"
)

// BenchmarkExport makes rows of charges: of each pod two SKUs for a day, in one charge each.
func BenchmarkExport(b *testing.B) {
	for _, format := range []string{"csv", "parquet"} {
		b.Run(format, func(b *testing.B) {
			s := october(b)
			c := s.charges[2]
			var w Writer
			var err error
			if format == "csv" {
				w, err = NewCSV(io.Discard, Columns(Version14, CostAndUsage))
			} else {
				w, err = NewParquet(io.Discard, Columns(Version14, CostAndUsage), nil)
			}
			if err != nil {
				b.Fatal(err)
			}
			o := s.opts
			o.Version = Version14
			e := NewExporter(o, w)
			b.ReportAllocs()
			for i := range b.N {
				seg := *c.Segment
				seg.PodUID = fmt.Sprint("uid-", i)
				of := c
				of.Segment = &seg
				if err := e.Add(&of); err != nil {
					b.Fatal(err)
				}
			}
			if err := e.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkValidate reads and checks a day's rows.
func BenchmarkValidate(b *testing.B) {
	s := october(b)
	o := s.opts
	o.Version, o.Granularity = Version14, BySegment
	charges := s.charges
	s.charges = nil
	for i := range 2000 {
		c := charges[2+i%2]
		c.From += int64(time.Duration(i%3600) * time.Second / time.Millisecond)
		seg := *c.Segment
		seg.Sequence = int64(i)
		c.Segment = &seg
		s.charges = append(s.charges, c)
	}
	file := s.csv(b, o)
	b.ReportAllocs()
	rows := 0
	for b.Loop() {
		table, err := OpenCSV(bytes.NewReader(file))
		if err != nil {
			b.Fatal(err)
		}
		r, err := Validate(table, Version14, CostAndUsage)
		if err != nil || r.Musts > 0 {
			b.Fatal(err, r)
		}
		rows += r.Rows
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}
