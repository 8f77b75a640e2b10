package apiserver

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"swell.dev/swell/controlplane"
)

// TestBillingEndpoints: what is asked for and by whom reaches the handler, who has the right to it.
func TestBillingEndpoints(t *testing.T) {
	var asked []controlplane.Attributes
	h := start(t, func(c *Config) {
		c.Authorize = func(u controlplane.User, a controlplane.Attributes) (bool, string) {
			if a.Resource == "billing" {
				asked = append(asked, a)
			}
			return a.Namespace != "others", "not yours"
		}
		c.Billing = func(w http.ResponseWriter, r *http.Request, b BillingRequest) error {
			if b.Endpoint == "wrong" {
				return apierrors.NewBadRequest("from: \"yesteryear\" is no time")
			}
			_, err := fmt.Fprintf(w, "%s of %q for %s, %s", b.Endpoint, b.Namespace, b.User.Name, r.URL.Query().Get("by"))
			return err
		}
	})
	for path, want := range map[string]string{
		"/apis/swell.dev/v1alpha1/billing/report?by=day":                "report of \"\" for admin, day",
		"/apis/swell.dev/v1alpha1/namespaces/team/billing/focus/schema": "focus/schema of \"team\" for admin, ",
		"/allocation?by=x":          "allocation of \"\" for admin, x",
		"/model/allocation/compute": "allocation/compute of \"\" for admin, ",
	} {
		asked = nil
		if a := h.do(http.MethodGet, path, ""); a.code != http.StatusOK || string(a.body) != want {
			t.Errorf("%s: %d %s, want %s", path, a.code, a.body, want)
		}
		if len(asked) != 1 || asked[0].Verb != "get" || asked[0].Group != "swell.dev" || asked[0].Name == "" {
			t.Errorf("%s: authorised as %+v", path, asked)
		}
	}
	for path, want := range map[string]struct {
		code int
		says string
	}{
		"/apis/swell.dev/v1alpha1/billing/wrong":                    {http.StatusBadRequest, "yesteryear"},
		"/apis/swell.dev/v1alpha1/namespaces/others/billing/report": {http.StatusForbidden, "not yours"},
		"/allocations":                     {http.StatusNotFound, ""},
		"/apis/swell.dev/v1alpha1/billing": {http.StatusNotFound, ""},
	} {
		if a := h.do(http.MethodGet, path, ""); a.code != want.code || !strings.Contains(string(a.body), want.says) {
			t.Errorf("%s: %d %s, want %d and %q", path, a.code, a.body, want.code, want.says)
		}
	}
}

// TestBillingBreaksOff: an answer that can't be finished isn't taken for a whole one.
func TestBillingBreaksOff(t *testing.T) {
	h := start(t, func(c *Config) {
		c.Billing = func(w http.ResponseWriter, r *http.Request, b BillingRequest) error {
			_, _ = fmt.Fprint(w, "half of")
			return errors.New("the ledger is gone")
		}
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.http.URL+"/apis/swell.dev/v1alpha1/billing/focus", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer admin")
	resp, err := h.http.Client().Do(req)
	if err != nil {
		return // cut before the answer's head was out
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%q was taken for the whole", body)
	}
}

// TestBillingIsAbsent: without a handler nothing is behind the paths.
func TestBillingIsAbsent(t *testing.T) {
	h := start(t)
	for _, path := range []string{"/apis/swell.dev/v1alpha1/billing/report", "/allocation"} {
		if a := h.do(http.MethodGet, path, ""); a.code != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, a.code, a.body)
		}
	}
}
