package client

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/fixed"
	"swell.dev/swell/internal/table"
)

func (a *app) newBillCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "bill [POD]",
		Short: "Show what pods have cost so far",
		Long: `Show what pods have cost so far: one line for each interval between changes of size, and a
total. The last line of a pod that runs is still growing.`,
		Example: `  swell bill
  swell bill web -o json
  swell bill -A`,
		Args: takes("[POD]"),
	}
	c := a.addConnection(cmd)
	c.addNamespace(a, cmd)
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "pods of all namespaces")
	out := addFormat(cmd, formatJSON, formatYAML, formatName)
	cmd.ValidArgsFunction = a.completeFirst(c, billNames)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		namespace := s.namespace
		if all {
			namespace = ""
		}
		list, err := bills(ctx, s, namespace)
		if err != nil {
			return err
		}
		if len(args) > 0 {
			name := podName(args[0])
			list.Items = slices.DeleteFunc(list.Items, func(b v1alpha1.Bill) bool { return b.Name != name })
			if len(list.Items) == 0 {
				return apierrors.NewNotFound(schema.GroupResource{Group: v1alpha1.Group, Resource: "bills"}, name)
			}
		}
		if out.structured() {
			return out.print(cmd.OutOrStdout(), list)
		}
		if len(list.Items) == 0 {
			fmt.Fprintln(cmd.ErrOrStderr(), "no bills: nothing has run yet")
			return nil
		}
		return printBills(cmd.OutOrStdout(), out, list.Items, all)
	})
	cmd.AddCommand(a.newBillSimulateCommand(), a.newBillVerifyCommand(), a.newBillPricesCommand(), a.newBillCorrectCommand(), a.newBillAdjustCommand(), a.newBillReportCommand(),
		a.newBillFOCUSCommand(), a.newBillInvoiceCommand(), a.newBillPlanCommand(), a.newBillRecommendCommand())
	return cmd
}

func bills(ctx context.Context, s *session, namespace string) (*v1alpha1.BillList, error) {
	path := []string{group}
	if namespace != "" {
		path = append(path, "namespaces", namespace)
	}
	list := &v1alpha1.BillList{}
	return list, fetch(ctx, s.CoreV1().RESTClient().Get().AbsPath(append(path, "bills")...), "bills", list)
}

func billNames(ctx context.Context, s *session, _ []string) ([]string, error) {
	list, err := bills(ctx, s, s.namespace)
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range list.Items {
		out = append(out, list.Items[i].Name)
	}
	return slices.Compact(out), nil
}

// printBills writes the bills as one table, so that their columns stand under each other.
func printBills(w io.Writer, out *format, bills []v1alpha1.Bill, namespaces bool) error {
	if out.value == formatName {
		for i := range bills {
			fmt.Fprintln(w, "pod/"+bills[i].Name)
		}
		return nil
	}
	columns := []table.Column{{Name: "POD"}, {Name: "CPU", Right: true}, {Name: "MEMORY", Right: true}, {Name: "CLASS"}, {Name: "FROM"},
		{Name: "SECONDS", Right: true}}
	shown := shownQuantities(bills)
	for _, q := range shown {
		columns = append(columns, table.Column{Name: q.column, Right: true})
	}
	columns = append(columns, table.Column{Name: "COST", Right: true}, table.Column{Name: ""})
	if namespaces {
		columns = append([]table.Column{{Name: "NAMESPACE"}}, columns...)
	}
	var rows [][]string
	add := func(b *v1alpha1.Bill, t *v1alpha1.BillTotal, row ...string) {
		row = append(row, fixed.Thousandths(t.Milliseconds))
		for _, q := range shown {
			row = append(row, fixed.Thousandths(q.of(t)))
		}
		row = append(row, fixed.Round(t.Cost, 6), b.Currency)
		if namespaces {
			row = append([]string{b.Namespace}, row...)
		}
		rows = append(rows, row)
	}
	for i := range bills {
		b := &bills[i]
		for j := range b.Lines {
			l := &b.Lines[j]
			class := l.ComputeClass
			if l.QoS == v1alpha1.QoSBestEffort {
				class += "/" + l.QoS
			}
			cpu, memory := cpuText(l.CPUMilli), memoryText(l.MemoryBytes)
			if l.Billed != nil {
				cpu, memory = changed(cpu, cpuText(l.Billed.CPUMilli)), changed(memory, memoryText(l.Billed.MemoryBytes))
			}
			from := l.Start.UTC().Format(time.RFC3339)
			if l.Minimum {
				from = "to the minimum"
			}
			add(b, &l.BillTotal, b.Name, cpu, memory, class, from)
			if l.Burst != (v1alpha1.BillBurst{}) {
				add(b, &l.Burst.BillTotal, b.Name, "", "", "", "of it bursts")
			}
		}
		add(b, &b.Total, b.Name, "", "", "", "total")
	}
	return table.New(columns...).Print(w, rows...)
}

// changed shows what a size is billed as, if that is another one.
func changed(size, billed string) string {
	if size == billed {
		return size
	}
	return size + "→" + billed
}

// quantity is a column of bills.
type quantity struct {
	column string
	always bool
	of     func(*v1alpha1.BillTotal) int64
}

var quantities = []quantity{
	{"VCPU-SECONDS", true, func(t *v1alpha1.BillTotal) int64 { return t.VCPUMilliseconds }},
	{"GIB-SECONDS", true, func(t *v1alpha1.BillTotal) int64 { return t.GiBMilliseconds }},
	{"GPU-SECONDS", false, func(t *v1alpha1.BillTotal) int64 { return t.GPUMilliseconds }},
	{"GPU-GIB-SECONDS", false, func(t *v1alpha1.BillTotal) int64 { return t.GPUGiBMilliseconds }},
	{"STORAGE-GIB-SECONDS", false, func(t *v1alpha1.BillTotal) int64 { return t.StorageGiBMilliseconds }},
}

// shownQuantities leaves out what none of the bills has.
func shownQuantities(bills []v1alpha1.Bill) []quantity {
	return slices.DeleteFunc(slices.Clone(quantities), func(q quantity) bool {
		return !q.always && !slices.ContainsFunc(bills, func(b v1alpha1.Bill) bool { return q.of(&b.Total) != 0 })
	})
}
