package costs

import (
	"time"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/report"
	"swell.dev/swell/internal/fixed"
)

func reportJSON(r *report.Report) *v1alpha1.BillReport {
	q := &r.Query
	out := &v1alpha1.BillReport{
		APIVersion: v1alpha1.Group + "/" + v1alpha1.Version, Kind: "BillReport", From: stampIn(q.From, q.Zone), To: stampIn(q.To, q.Zone), Zone: q.Zone.String(),
		Step: q.Step.String(), By: []string{}, Currency: r.Currency, Rows: rowsJSON(r), Total: sumsJSON(&r.Total, r.Total.Effective), Charges: r.Charges, LeftOut: r.LeftOut,
	}
	for _, d := range q.By {
		out.By = append(out.By, d.String())
	}
	for _, m := range q.Match {
		for _, v := range m.Values {
			out.Filter = append(out.Filter, m.Of.String()+"="+v)
		}
	}
	if q.Labels != nil {
		out.LabelSelector = q.Labels.String()
	}
	return out
}

func rowsJSON(r *report.Report) []v1alpha1.BillReportRow {
	out := []v1alpha1.BillReportRow{}
	zone := r.Query.Zone
	for i := range r.Rows {
		row := &r.Rows[i]
		out = append(out, v1alpha1.BillReportRow{
			From: stampIn(time.UnixMilli(row.Period.From), zone), To: stampIn(time.UnixMilli(row.Period.To), zone),
			Key: row.Key, Others: row.Others, BillReportSums: sumsJSON(&row.Sums, r.Total.Effective),
		})
	}
	return out
}

func sumsJSON(s *report.Sums, whole billing.Money) v1alpha1.BillReportSums {
	return v1alpha1.BillReportSums{
		Seconds: fixed.Thousandths(s.Millis), VCPUHours: s.Quantity[billing.CPU].Hours(), MemoryGiBHours: s.Quantity[billing.Memory].Hours(),
		GPUHours: s.Quantity[billing.GPU].Hours(), GPUMemoryGiBHours: s.Quantity[billing.GPUMemory].Hours(), StorageGiBHours: s.Quantity[billing.Storage].Hours(),
		List: s.List.String(), Billed: s.Billed.String(), Effective: s.Effective.String(), Saving: s.Saving().String(), Burst: s.Burst.String(),
		Share: report.Share(s.Effective, whole),
	}
}

func overviewJSON(o *report.Overview) *v1alpha1.BillOverview {
	zone := o.Report.Query.Zone
	before := &o.Before.Query
	out := &v1alpha1.BillOverview{
		Plans: []v1alpha1.BillPlanUse{}, Projects: moversJSON(o.Projects), Workloads: moversJSON(o.Workloads), Resized: []v1alpha1.BillPodSizes{},
		Resizes: o.Resized.Resizes, Steps: rowsJSON(o.ByProject),
		Before: v1alpha1.BillBefore{From: stampIn(before.From, zone), To: stampIn(before.To, zone), Total: sumsJSON(&o.Before.Total, billing.Money{})},
	}
	for i := range o.Plans {
		p := &o.Plans[i]
		out.Plans = append(out.Plans, v1alpha1.BillPlanUse{
			Plan: p.Plan.Name, Day: p.Day.Format(time.DateOnly), Commitment: p.Commitment.String(), Used: p.Used.String(), Unused: p.Unused.String(),
			Utilisation: p.Utilisation(), List: p.List.String(),
		})
	}
	for i := range o.Resized.Pods {
		p := &o.Resized.Pods[i]
		pod := v1alpha1.BillPodSizes{Project: p.Project, Pod: p.Pod, UID: p.UID, Resizes: p.Resizes}
		for _, s := range p.Sizes {
			pod.Sizes = append(pod.Sizes, v1alpha1.BillPodSize{
				From: stampIn(time.UnixMilli(s.From), zone), To: stampIn(time.UnixMilli(s.To), zone), CPUMilli: s.CPUMilli, MemoryBytes: s.MemoryBytes, GPUMilli: s.GPUMilli,
			})
		}
		out.Resized = append(out.Resized, pod)
	}
	return out
}

func moversJSON(all []report.Mover) []v1alpha1.BillMover {
	out := []v1alpha1.BillMover{}
	for i := range all {
		m := &all[i]
		out = append(out, v1alpha1.BillMover{Name: m.Name, Now: m.Now.String(), Before: m.Before.String(), Change: m.Change().String()})
	}
	return out
}

func stampIn(t time.Time, zone *time.Location) string {
	return t.In(zone).Format("2006-01-02T15:04:05.999Z07:00")
}
