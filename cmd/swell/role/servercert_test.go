package role

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"swell.dev/swell/internal/pki"
)

// TestServerCertificate is issued anew while the server runs, before it ends.
func TestServerCertificate(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca, err := pki.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		c, err := newServerCertificate(ca, []string{"swell.example"})
		if err != nil {
			t.Fatal(err)
		}
		first, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		for time.Until(first.Leaf.NotAfter) > 40*24*time.Hour {
			<-time.After(24 * time.Hour) // of fake time
		}
		if same, err := c.get(nil); err != nil || !same.Leaf.Equal(first.Leaf) {
			t.Errorf("issued anew with 40 days left: %v", err)
		}
		<-time.After(20 * 24 * time.Hour)
		next, err := c.get(nil)
		if err != nil || !next.Leaf.NotAfter.After(first.Leaf.NotAfter.Add(300*24*time.Hour)) {
			t.Errorf("with 20 days left it is valid until %v, %v", next.Leaf.NotAfter, err)
		}
	})
}

func TestHostsOf(t *testing.T) {
	got, err := hostsOf([]string{"192.0.2.1:6443", "127.0.0.1:6444"}, []string{"swell.example"})
	if want := []string{"localhost", "127.0.0.1", "::1", "swell.example", "192.0.2.1", "127.0.0.1"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := hostsOf([]string{"nonsense"}, nil); err == nil {
		t.Error("an address without a port was taken")
	}
	if got, err := hostsOf([]string{"0.0.0.0:6443"}, nil); err != nil || len(got) < 4 {
		t.Errorf("a server on all interfaces is only reached by %v, %v", got, err)
	}
}
