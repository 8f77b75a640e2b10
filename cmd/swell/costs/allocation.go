package costs

import (
	"errors"
	"net/http"

	"swell.dev/swell/billing/opencost"
	"swell.dev/swell/controlplane/apiserver"
)

// clusterName is what OpenCost's clients are told as the cluster: one control plane is one.
const clusterName = "swell"

// serveAllocation answers as OpenCost does, errors included.
func (e *Engine) serveAllocation(w http.ResponseWriter, r *http.Request, b apiserver.BillingRequest) error {
	refuse := func(err error) error { return opencost.WriteError(w, http.StatusBadRequest, err.Error()) }
	q := e.fix(Query{Project: b.Namespace})
	request, err := opencost.Parse(r.URL.Query(), q.now)
	if err != nil {
		return refuse(err)
	}
	q.From, q.To, q.Cuts = request.Window.Start, request.Window.End, request.Cuts()
	if first := e.earliest(); q.From.Before(first) && q.To.After(first) { // nothing has a price before
		q.From = first
	}
	if err := q.Check(); err != nil {
		return refuse(err)
	}
	a := opencost.New(request, clusterName)
	var many opencost.TooManyError
	switch err := e.Charges(r.Context(), q, a.Add); {
	case errors.As(err, &many):
		return refuse(err)
	case err != nil:
		return err
	}
	return a.Write(w)
}
