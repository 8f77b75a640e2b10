package client

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"swell.dev/swell/billing/report"
)

var (
	reportFormats = []string{"table", "csv", "json", "html"}
	reportSteps   = []string{"none", "hour", "day", "month"}
)

func (a *app) newBillReportCommand() *cobra.Command {
	var period billPeriod
	var namespace, step, selector, format, file string
	var by, filters []string
	var limit int
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Sum up costs by project, workload, label, class, plan and time",
		Long: `Sum up what was charged in a time, by dimensions: ` + strings.Join(report.Dimensions(), ", ") + `.
A dimension hour, day or month is the same as --step. Of many groups the dearest have rows of their own.

BILLED is what has to be paid: plans' commitments, and use that no plan covers. EFFECTIVE is what use
costs when commitments are laid onto what they cover. The HTML report is one page with charts that needs
nothing else; CSV and JSON have amounts with all their places.`,
		Example: `  swell bill report
  swell bill report --month 2026-10 --by project,day --zone Europe/Berlin
  swell bill report --by workload -l team=web --from 2026-11-01
  swell bill report --month 2026-10 -O october.html`,
		Args: takes(),
	}
	c := a.addConnection(cmd)
	f := cmd.Flags()
	f.StringVarP(&namespace, "namespace", "n", "", "of one project (default: all)")
	_ = cmd.RegisterFlagCompletionFunc("namespace", a.complete(c, namespaceNames))
	period.add(cmd)
	f.StringSliceVar(&by, "by", nil, "`dimensions` of the rows (default project)")
	f.StringVar(&step, "step", "", "a row for each: "+strings.Join(reportSteps, ", "))
	f.StringArrayVar(&filters, "filter", nil, "only what has this `DIMENSION=VALUE`; may be repeated: of one dimension any, of several all")
	f.StringVarP(&selector, "selector", "l", "", "only pods with these labels, such as app=web,tier!=test")
	f.IntVar(&limit, "limit", 0, fmt.Sprintf("how many groups have rows of their own (default %d)", report.DefaultLimit))
	f.StringVar(&format, "format", "", "one of "+strings.Join(reportFormats, ", ")+" (default: what the file's name ends in, else table)")
	f.StringVarP(&file, "output-file", "O", "", "write into this `file`")
	_ = cmd.MarkFlagFilename("output-file", "html", "csv", "json", "txt")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(reportFormats, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("step", cobra.FixedCompletions(reportSteps, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(append(report.Dimensions(), reportSteps[1:]...), cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
		if format == "" {
			format = formatOf(file)
		}
		if !slices.Contains(reportFormats, format) {
			return wrong(cmd, "--format %q: want one of %s", format, strings.Join(reportFormats, ", "))
		}
		v := period.values()
		v.Set("format", format)
		if cmd.Flags().Changed("by") {
			v.Set("by", strings.Join(by, ","))
		}
		v["filter"] = filters
		for name, value := range map[string]string{"step": step, "labelSelector": selector} {
			if value != "" {
				v.Set(name, value)
			}
		}
		if cmd.Flags().Changed("limit") {
			v.Set("limit", strconv.Itoa(limit))
		}
		request := s.CoreV1().RESTClient().Get().AbsPath(billingPath(namespace, "report"))
		for name, values := range v {
			for _, value := range values {
				request = request.Param(name, value)
			}
		}
		body, err := request.Stream(ctx)
		if err != nil {
			return err
		}
		defer body.Close()
		if file == "" {
			_, err = io.Copy(cmd.OutOrStdout(), body)
			return err
		}
		return writeFile(file, body)
	})
	return cmd
}

// formatOf answers the format that a file's name stands for.
func formatOf(file string) string {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".html", ".htm":
		return "html"
	case ".csv":
		return "csv"
	case ".json":
		return "json"
	}
	return "table"
}

// writeFile writes all of a stream into a file, or leaves the file as it was.
func writeFile(name string, from io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".swell-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it is gone once it is renamed
	_, err = io.Copy(f, from)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err != nil {
		return fmt.Errorf("file %s: %w", name, err)
	}
	return os.Rename(f.Name(), name)
}
