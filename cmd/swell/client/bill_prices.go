package client

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing"
	"swell.dev/swell/internal/table"
)

func (a *app) newBillPricesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "prices [BOOK]",
		Short: "Show what things cost, or a price book that Swell ships",
		Long: `Show the prices that are in force, and those that will be. With the name of a price book that
Swell ships (` + strings.Join(billing.Shipped(), ", ") + `) its file is printed, to begin one's own with.`,
		Example: `  swell bill prices
  swell bill prices acs > prices.yaml    # for swell up --price-file prices.yaml`,
		Args: takes("[BOOK]"), ValidArgs: billing.Shipped(),
	}
	c := a.addConnection(cmd)
	out := addFormat(cmd, formatJSON, formatYAML)
	show := a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
		var list v1alpha1.PriceBookList
		if err := fetch(ctx, s.CoreV1().RESTClient().Get().AbsPath(billingPath("", "prices")), "prices", &list); err != nil {
			return err
		}
		if out.structured() {
			return out.print(cmd.OutOrStdout(), &list)
		}
		return printPrices(cmd.OutOrStdout(), &list)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return show(cmd, args)
		}
		book, err := billing.ShippedBook(args[0])
		if err != nil {
			return wrong(cmd, "%v", err)
		}
		_, err = cmd.OutOrStdout().Write(book.Text)
		return err
	}
	return cmd
}

func printPrices(w io.Writer, list *v1alpha1.PriceBookList) error {
	var rows [][]string
	for _, b := range list.Items {
		state := ""
		if b.InForce {
			state = "in force"
		}
		for _, p := range b.Prices {
			unit := strings.TrimSuffix(p.Unit, "s")
			rows = append(rows, []string{b.Version, b.Effective, state, p.Item, p.PerHour, fmt.Sprintf("%s a %s", list.Currency, unit)})
		}
	}
	return table.New(table.Column{Name: "VERSION"}, table.Column{Name: "FROM"}, table.Column{Name: ""}, table.Column{Name: "ITEM"},
		table.Column{Name: "PRICE", Right: true}, table.Column{Name: ""}).Print(w, rows...)
}
