package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"swell.dev/swell/billing/focus"
)

func (a *app) newBillFOCUSCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "focus",
		Short: "Export bills in FOCUS's form, and check such files",
		Long:  `Bills in the form of FOCUS, the FinOps Open Cost and Usage Specification, versions 1.2 and 1.4.`,
		Args:  takes(),
	}
	cmd.AddCommand(a.newFOCUSExportCommand(), a.newFOCUSMetadataCommand(), a.newFOCUSValidateCommand())
	return cmd
}

// focusFlags say which dataset is meant.
type focusFlags struct {
	version, dataset, granularity, provider string
	columns                                 []string
	period                                  billPeriod
	namespace                               string
}

func (f *focusFlags) addDataset(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.version, "version", focus.Version14.String(), "version of FOCUS: 1.2 or 1.4")
	cmd.Flags().StringVar(&f.dataset, "dataset", focus.CostAndUsage.String(), "cost-and-usage; of 1.4 contract-commitment, invoice-detail or billing-period")
	_ = cmd.RegisterFlagCompletionFunc("version", cobra.FixedCompletions([]string{"1.2", "1.4"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("dataset", cobra.FixedCompletions([]string{
		focus.CostAndUsage.String(), focus.ContractCommitment.String(), focus.InvoiceDetail.String(), focus.BillingPeriod.String(),
	}, cobra.ShellCompDirectiveNoFileComp))
}

// check finds what is wrong before anybody is asked.
func (f *focusFlags) check(cmd *cobra.Command) (focus.Version, focus.Dataset, error) {
	v, err := focus.ParseVersion(f.version)
	if err != nil {
		return 0, 0, wrong(cmd, "--version: %v", err)
	}
	d, err := focus.ParseDataset(f.dataset, v)
	if err != nil {
		return 0, 0, wrong(cmd, "--dataset: %v", err)
	}
	if f.granularity != "" {
		if _, err := focus.ParseGranularity(f.granularity); err != nil {
			return 0, 0, wrong(cmd, "--granularity: %v", err)
		}
	}
	return v, d, nil
}

func (f *focusFlags) values() url.Values {
	v := f.period.values()
	for name, value := range map[string]string{"version": f.version, "dataset": f.dataset, "granularity": f.granularity, "provider": f.provider, "columns": strings.Join(f.columns, ",")} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

func (a *app) newFOCUSExportCommand() *cobra.Command {
	var flags focusFlags
	var format, file string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write a FOCUS dataset as CSV or Parquet",
		Long: `Write a FOCUS dataset. Rows of cost-and-usage are what a pod used of an SKU in a day (or an
hour, or a segment between two changes of size), at list or covered by a savings plan, and what
plans and operators charge; what became known of an invoiced month afterwards is in a later one,
as a correction. Everything is exact: unit price × quantity is the cost, to the last place.
The present month is exported unless --from, --to or --month say otherwise.`,
		Example: `  swell bill focus export --month 2026-10 -O october.csv
  swell bill focus export --version 1.2 --month 2026-10 --format parquet -O october.parquet
  swell bill focus export --dataset contract-commitment`,
		Args: takes(),
	}
	c := a.addConnection(cmd)
	flags.addDataset(cmd)
	flags.period.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&flags.namespace, "namespace", "n", "", "of one project (default: all)")
	f.StringVar(&flags.granularity, "granularity", "", "a row is for a day, an hour or a segment (default day)")
	f.StringVar(&flags.provider, "provider", "", "name of who provides and invoices (default "+focus.DefaultProvider+")")
	f.StringSliceVar(&flags.columns, "columns", nil, "only these columns (default: all)")
	f.StringVar(&format, "format", "", "csv or parquet (default: by the file's name, or csv)")
	f.StringVarP(&file, "out", "O", "-", "`file` to write; - is standard output")
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
		if _, _, err := flags.check(cmd); err != nil {
			return err
		}
		switch {
		case format == "" && strings.HasSuffix(file, ".parquet"):
			format = "parquet"
		case format == "":
			format = "csv"
		case format != "csv" && format != "parquet":
			return wrong(cmd, "--format %q: want csv or parquet", format)
		}
		v := flags.values()
		v.Set("format", format)
		request := s.CoreV1().RESTClient().Get().AbsPath(billingPath(flags.namespace, "focus"))
		for name := range v {
			request = request.Param(name, v.Get(name))
		}
		body, err := request.Stream(ctx)
		if err != nil {
			return err
		}
		defer body.Close()
		if file == "-" {
			_, err := io.Copy(cmd.OutOrStdout(), body)
			return err
		}
		return writeWhole(file, body)
	})
	return cmd
}

// writeWhole writes a file that is there whole or not at all.
func writeWhole(file string, from io.Reader) (err error) {
	out, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = out.Close()
			_ = os.Remove(out.Name())
			err = fmt.Errorf("%s: %w", file, err)
		}
	}()
	if _, err = io.Copy(out, from); err != nil {
		return err
	}
	if err = out.Chmod(0o644); err != nil {
		return err
	}
	if err = out.Close(); err != nil {
		return err
	}
	return os.Rename(out.Name(), file)
}

func (a *app) newFOCUSMetadataCommand() *cobra.Command {
	var flags focusFlags
	cmd := &cobra.Command{
		Use:   "metadata",
		Short: "Print FOCUS's metadata of a dataset: who made it, its columns, how recent it is",
		Args:  takes(),
	}
	c := a.addConnection(cmd)
	flags.addDataset(cmd)
	flags.period.add(cmd)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
		if _, _, err := flags.check(cmd); err != nil {
			return err
		}
		request := s.CoreV1().RESTClient().Get().AbsPath(billingPath("", "focus/metadata"))
		v := flags.values()
		for name := range v {
			request = request.Param(name, v.Get(name))
		}
		body, err := request.Do(ctx).Raw()
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(body)
		return err
	})
	return cmd
}

func (a *app) newFOCUSValidateCommand() *cobra.Command {
	var flags focusFlags
	cmd := &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a file against FOCUS's rules",
		Long: `Check a CSV or Parquet file against the rules that FOCUS has for a dataset, whoever wrote it, and
print where it breaks them. Exits with 1 if it breaks one that isn't a mere recommendation.
Nothing is sent anywhere.`,
		Example: `  swell bill focus validate october.csv
  swell bill focus validate october.parquet --version 1.2 -o json`,
		Args: takes("FILE"),
	}
	flags.addDataset(cmd)
	out := addFormat(cmd, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		v, d, err := flags.check(cmd)
		if err != nil {
			return err
		}
		report, err := validateFile(args[0], v, d)
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if err := printReport(cmd.OutOrStdout(), out, report, v, d); err != nil {
			return err
		}
		if report.Musts > 0 {
			return &ExitError{Code: 1}
		}
		return nil
	}
	return cmd
}

// validateFile tells Parquet by its first four bytes.
func validateFile(name string, v focus.Version, d focus.Dataset) (*focus.Report, error) {
	f, err := os.Open(name)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			return nil, path.Err
		}
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	var table focus.Table
	if magic, _ := in.Peek(4); string(magic) == "PAR1" {
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		table, err = focus.OpenParquet(f, info.Size())
		if err != nil {
			return nil, err
		}
	} else if table, err = focus.OpenCSV(in); err != nil {
		return nil, err
	}
	return focus.Validate(table, v, d)
}

// focusReport is a validation as JSON.
type focusReport struct {
	Version    string           `json:"version"`
	Dataset    string           `json:"dataset"`
	Rows       int              `json:"rows"`
	Musts      int              `json:"musts"`
	Shoulds    int              `json:"shoulds"`
	Violations []focusViolation `json:"violations"`
}

type focusViolation struct {
	Row     int    `json:"row,omitempty"`
	Column  string `json:"column"`
	Rule    string `json:"rule"`
	Problem string `json:"problem"`
}

func printReport(w io.Writer, out *format, r *focus.Report, v focus.Version, d focus.Dataset) error {
	if out.structured() {
		report := focusReport{v.String(), d.ID(), r.Rows, r.Musts, r.Shoulds, []focusViolation{}}
		for _, x := range r.Violations {
			report.Violations = append(report.Violations, focusViolation{x.Row, x.Column, x.Rule, x.Problem})
		}
		return out.print(w, report)
	}
	for _, x := range r.Violations {
		if _, err := fmt.Fprintln(w, x); err != nil {
			return err
		}
	}
	if more := r.Musts + r.Shoulds - len(r.Violations); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	verdict := "keeps all rules"
	if r.Musts > 0 {
		verdict = fmt.Sprintf("breaks rules in %d places", r.Musts)
	}
	if r.Shoulds > 0 {
		verdict += fmt.Sprintf(", and recommendations in %d", r.Shoulds)
	}
	_, err := fmt.Fprintf(w, "FOCUS %s, %s: %d rows, %s\n", v, d.ID(), r.Rows, verdict)
	return err
}
