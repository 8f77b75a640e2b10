package costs

import (
	"net/http"
	"time"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane/apiserver"
)

// servePrices answers the versions of the price book.
func (e *Engine) servePrices(w http.ResponseWriter, _ *http.Request, _ apiserver.BillingRequest) error {
	out := v1alpha1.PriceBookList{Currency: e.cfg.Books.Currency()}
	now := e.cfg.Books.At(e.Now().UnixMilli())
	for _, b := range e.cfg.Books.All() {
		book := v1alpha1.PriceBook{Version: b.Version, Effective: b.Effective.UTC().Format(time.RFC3339), InForce: b == now, Text: string(b.Text)}
		for _, i := range b.Items() {
			book.Prices = append(book.Prices, v1alpha1.BookPrice{Item: i.ID, PerHour: i.Price.String(), Unit: i.SKU.Resource.Unit()})
		}
		out.Items = append(out.Items, book)
	}
	return WriteJSON(w, http.StatusOK, out)
}
