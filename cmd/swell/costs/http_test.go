package costs

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"swell.dev/swell/controlplane/apiserver"
)

// TestReadersTakeTurns: so many reports are worked out at once and no more; who gives up waiting is gone, and who
// writes doesn't wait.
func TestReadersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var api API
		running, end := 0, make(chan struct{})
		api.Handle("slow", func(http.ResponseWriter, *http.Request, apiserver.BillingRequest) error {
			running++
			<-end
			running--
			return nil
		}, http.MethodGet)
		api.Handle("write", func(http.ResponseWriter, *http.Request, apiserver.BillingRequest) error { return nil }, http.MethodPost)
		serve := func(ctx context.Context, method, endpoint string) error {
			return api.Serve(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, method, "/", nil), apiserver.BillingRequest{Endpoint: endpoint})
		}
		for range mostReaders + 2 {
			go func() {
				if err := serve(t.Context(), http.MethodGet, "slow"); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait() // so that one writes running at a time
		}
		if running != mostReaders {
			t.Errorf("%d run at once, want %d", running, mostReaders)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := serve(ctx, http.MethodGet, "slow"); !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up was answered %v", err)
		}
		if err := serve(t.Context(), http.MethodPost, "write"); err != nil {
			t.Error(err)
		}
		for i := range mostReaders + 2 {
			end <- struct{}{}
			synctest.Wait()
			if want := min(mostReaders, mostReaders+1-i); running != want {
				t.Errorf("after %d ended %d run, want %d", i+1, running, want)
			}
		}
	})
}
