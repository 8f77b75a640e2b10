package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestCommittedIsThereAfterACrash is what everybody who uses the server relies on.
func TestCommittedIsThereAfterACrash(t *testing.T) {
	s, err := Start(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	url, err := s.CreateDatabase(t.Context(), "odd name")
	if err != nil {
		t.Fatal(err)
	}
	for want := range 3 {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if _, err := conn.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS t (i int)"); err != nil {
			t.Fatal(err)
		}
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM t").Scan(&n); err != nil || n != want {
			t.Errorf("%d rows, want %d (%v)", n, want, err)
		}
		if _, err := conn.Exec(t.Context(), "INSERT INTO t VALUES (1)"); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := conn.Close(t.Context()); err == nil {
			t.Log("the connection of before the crash was closed without an error")
		}
	}
}
