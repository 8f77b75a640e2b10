package e2e

import (
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/internal/postgres"
)

// TestLedgerInPostgres keeps the ledger in a PostgreSQL, which crashes while pods run, as Swell does: what they are
// billed is what they ran.
func TestLedgerInPostgres(t *testing.T) {
	server, err := postgres.Start(t.Context(), filepath.Join(binDir, ".."))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	where, err := server.CreateDatabase(t.Context(), "swell")
	if err != nil {
		t.Fatal(err)
	}
	in := newRole(t, "up", filepath.Join(t.TempDir(), "data"), "--capacity", capacity, "--ledger", where, "--ledger-retention", "800d")
	start(t, in)
	c, err := in.Client()
	if err != nil {
		t.Fatal(err)
	}
	importBusybox(t, in)
	const ns = metav1.NamespaceDefault
	known := map[string]identity{"before": identify(create(t, c, ns, shellPod("before", "exec sleep 100000")))}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	known["after"] = identify(create(t, c, ns, shellPod("after", "exec sleep 100000")))
	killAndBill(t, in, c, known)
}
