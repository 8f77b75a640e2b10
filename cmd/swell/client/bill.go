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
	cmd.AddCommand(a.newBillSimulateCommand())
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
		{Name: "SECONDS", Right: true}, {Name: "VCPU-SECONDS", Right: true}, {Name: "GIB-SECONDS", Right: true}, {Name: "COST", Right: true}, {Name: ""}}
	if namespaces {
		columns = append([]table.Column{{Name: "NAMESPACE"}}, columns...)
	}
	var rows [][]string
	add := func(b *v1alpha1.Bill, row ...string) {
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
			add(b, append([]string{b.Name, cpuText(l.CPUMilli), memoryText(l.MemoryBytes), class,
				l.Start.UTC().Format(time.RFC3339)}, amounts(l.BillTotal, b.Currency)...)...)
			if l.Burst != (v1alpha1.BillBurst{}) {
				add(b, append([]string{b.Name, "", "", "", "of it bursts"}, amounts(l.Burst.BillTotal, b.Currency)...)...)
			}
		}
		add(b, append([]string{b.Name, "", "", "", "total"}, amounts(b.Total, b.Currency)...)...)
	}
	return table.New(columns...).Print(w, rows...)
}

func amounts(t v1alpha1.BillTotal, currency string) []string {
	return []string{fixed.Thousandths(t.Milliseconds), fixed.Thousandths(t.VCPUMilliseconds),
		fixed.Thousandths(t.GiBMilliseconds), fixed.Millionths(t.CostMicros), currency}
}
