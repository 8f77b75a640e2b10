package nodes

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/internal/pki"
)

func request(t *testing.T, name string) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	csr, key, err := pki.NewRequest(name)
	if err != nil {
		t.Fatal(err)
	}
	return csr, key
}

// otherKey is a request with a key that no node has.
func otherKey(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func pair(t *testing.T, res *nodev1.JoinResponse, key *ecdsa.PrivateKey) *tls.Certificate {
	t.Helper()
	block, _ := pem.Decode(res.CertificatePem)
	if block == nil {
		t.Fatal("the answer holds no certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key, Leaf: leaf}
}

func TestJoin(t *testing.T) {
	w := newWorld(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "there"}})
	w.tokens["good"], w.tokens["old"] = nil, errors.New("the join token has expired")
	client := w.dial(nil)
	// The request asks for another name than the one it joins under: it gets the latter.
	csr, key := request(t, "victim")
	for _, c := range []struct {
		name string
		in   *nodev1.JoinRequest
		want codes.Code
		says string
	}{
		{"no token", &nodev1.JoinRequest{NodeName: "a", CsrDer: csr}, codes.Unauthenticated, "isn't known"},
		{"a wrong token", &nodev1.JoinRequest{NodeName: "a", Token: "bad", CsrDer: csr}, codes.Unauthenticated, "swell nodes token"},
		{"an expired token", &nodev1.JoinRequest{NodeName: "a", Token: "old", CsrDer: csr}, codes.Unauthenticated, "expired"},
		{"no name", &nodev1.JoinRequest{Token: "good", CsrDer: csr}, codes.InvalidArgument, "node_name"},
		{"a name that is taken", &nodev1.JoinRequest{NodeName: "there", Token: "good", CsrDer: csr}, codes.AlreadyExists, "node there is there already"},
		{"a request that is none, which spends no token", &nodev1.JoinRequest{NodeName: "a", Token: "good", CsrDer: []byte("x")}, codes.InvalidArgument, "csr_der"},
		{"a key of another kind, which spends no token", &nodev1.JoinRequest{NodeName: "a", Token: "good", CsrDer: otherKey(t)}, codes.InvalidArgument, "P-256"},
		{"a name that can't be one", &nodev1.JoinRequest{NodeName: "system:node:a", Token: "good", CsrDer: csr}, codes.InvalidArgument, "node_name"},
	} {
		_, err := client.Join(t.Context(), c.in)
		if status.Code(err) != c.want || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s with %q", c.name, err, c.want, c.says)
		}
	}
	res, err := client.Join(t.Context(), &nodev1.JoinRequest{NodeName: "a", Token: "good", CsrDer: csr})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Join(t.Context(), &nodev1.JoinRequest{NodeName: "b", Token: "good", CsrDer: csr}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a token that was used: %v", err)
	}

	joined := w.dial(pair(t, res, key))
	n := w.open(joined)
	n.send(helloOf("a"))
	if n.next().GetSync() == nil {
		t.Error("the certificate begins no session")
	}
	n = w.open(joined)
	n.send(helloOf("victim"))
	if got := n.end(); got != codes.PermissionDenied {
		t.Errorf("the certificate under another name: %s", got)
	}

	// It is renewed for whom it names.
	csr, key = request(t, "victim")
	if _, err := client.Renew(t.Context(), &nodev1.RenewRequest{CsrDer: csr}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a renewal of nothing: %v", err)
	}
	if _, err := joined.Renew(t.Context(), &nodev1.RenewRequest{CsrDer: []byte("x")}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a renewal without a request: %v", err)
	}
	if res, err = joined.Renew(t.Context(), &nodev1.RenewRequest{CsrDer: csr}); err != nil {
		t.Fatal(err)
	}
	if got := pair(t, res, key).Leaf.Subject; got.CommonName != "system:node:a" {
		t.Errorf("renewed for %s", got)
	}
}
