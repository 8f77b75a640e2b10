package client

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/table"
)

func (a *app) newBillCorrectCommand() *cobra.Command {
	var in v1alpha1.BillCorrection
	var cpu, memory string
	cmd := &cobra.Command{
		Use:   "correct POD-UID/GENERATION/SEQUENCE",
		Short: "Say what a recorded segment should have said",
		Long: `Say what a recorded segment should have said, or that it should not have been. The segment
stays as it was recorded; the newest correction counts from now on, and what it changes in a
period that is invoiced is in the next invoice. For administrators.`,
		Example: `  swell bill correct 6a0e…/2/3 --void --reason "metered after the host had failed"
  swell bill correct 6a0e…/2/3 --end 2026-11-02T10:00:00Z --reason "ended with its host"`,
		Args: takes("POD-UID/GENERATION/SEQUENCE"),
	}
	c := a.addConnection(cmd)
	f := cmd.Flags()
	f.BoolVar(&in.Void, "void", false, "the segment should not have been")
	f.StringVar(&cpu, "cpu", "", "its CPU, such as 250m or 2")
	f.StringVar(&memory, "memory", "", "its memory, such as 512Mi")
	f.StringVar(&in.Start, "start", "", "its start, RFC 3339")
	f.StringVar(&in.End, "end", "", "its end, RFC 3339")
	f.StringVar(&in.Class, "class", "", "its compute class")
	f.StringVar(&in.QoS, "qos", "", "its quality of service")
	f.BoolVar(&in.NoBurst, "no-burst", false, "it had no burst")
	f.StringVar(&in.Reason, "reason", "", "why")
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		parts := strings.Split(args[0], "/")
		var err error
		if len(parts) == 3 {
			in.Segment.PodUID = parts[0]
			if in.Segment.Generation, err = strconv.ParseInt(parts[1], 10, 64); err == nil {
				in.Segment.Sequence, err = strconv.ParseInt(parts[2], 10, 64)
			}
		}
		if len(parts) != 3 || err != nil {
			return wrong(cmd, "%q: want POD-UID/GENERATION/SEQUENCE, as `swell bill -o json` has them", args[0])
		}
		size, err := sizes(cpu, memory)
		if err != nil {
			return wrong(cmd, "%v", err)
		}
		if q, ok := size[corev1.ResourceCPU]; ok {
			in.CPUMilli = new(q.MilliValue())
		}
		if q, ok := size[corev1.ResourceMemory]; ok {
			in.MemoryBytes = new(q.Value())
		}
		body, err := json.Marshal(&in)
		if err != nil {
			return err
		}
		var answer v1alpha1.BillCorrection
		if err := fetch(ctx, s.CoreV1().RESTClient().Post().AbsPath(billingPath("", "corrections")).SetHeader("Content-Type", "application/json").Body(body), "correction", &answer); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "segment %s corrected\n", args[0])
		return nil
	})
	return cmd
}

func (a *app) newBillAdjustCommand() *cobra.Command {
	var in v1alpha1.BillAdjustment
	cmd := &cobra.Command{
		Use:   "adjust AMOUNT",
		Short: "Give or take money, with a reason",
		Long: `Give (a negative amount) or take money, of a project or of an account as such. It stands on the
bill on its own, once per id. For administrators. Without an amount, those of a period are listed.`,
		Example: `  swell bill adjust --project shop --id outage-2026-11-02 --reason "outage of 2 November" -- -12.50
  swell bill adjust --month 2026-11`,
		Args: takes("[AMOUNT]"),
	}
	c := a.addConnection(cmd)
	f := cmd.Flags()
	f.StringVar(&in.ID, "id", "", "what names it for ever")
	f.StringVar(&in.Project, "project", "", "whose it is")
	f.StringVar(&in.At, "at", "", "when it counts, RFC 3339 (default now)")
	f.StringVar(&in.Reason, "reason", "", "why")
	var period billPeriod
	period.add(cmd)
	out := addFormat(cmd, formatJSON, formatYAML)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			request := s.CoreV1().RESTClient().Get().AbsPath(billingPath(in.Project, "adjustments"))
			v := period.values()
			for name := range v {
				request = request.Param(name, v.Get(name))
			}
			var list struct {
				Items []v1alpha1.BillAdjustment `json:"items"`
			}
			if err := fetch(ctx, request, "adjustments", &list); err != nil {
				return err
			}
			if out.structured() {
				return out.print(cmd.OutOrStdout(), &list)
			}
			var rows [][]string
			for _, i := range list.Items {
				rows = append(rows, []string{i.ID, i.Account, i.Project, i.At, i.Amount, i.By, i.Reason})
			}
			return table.New(table.Column{Name: "ID"}, table.Column{Name: "ACCOUNT"}, table.Column{Name: "PROJECT"}, table.Column{Name: "AT"},
				table.Column{Name: "AMOUNT", Right: true}, table.Column{Name: "BY"}, table.Column{Name: "REASON"}).Print(cmd.OutOrStdout(), rows...)
		}
		in.Amount, in.Account = args[0], period.account
		body, err := json.Marshal(&in)
		if err != nil {
			return err
		}
		var answer v1alpha1.BillAdjustment
		if err := fetch(ctx, s.CoreV1().RESTClient().Post().AbsPath(billingPath("", "adjustments")).SetHeader("Content-Type", "application/json").Body(body), "adjustment", &answer); err != nil {
			return err
		}
		if out.structured() {
			return out.print(cmd.OutOrStdout(), &answer)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "adjustment %s of %s recorded for account %s\n", answer.ID, answer.Amount, answer.Account)
		return nil
	})
	return cmd
}
