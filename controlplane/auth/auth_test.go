package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"swell.dev/swell/controlplane"
	"swell.dev/swell/internal/pki"
)

// server answers who asked, over TLS as the control plane serves it.
type server struct {
	*httptest.Server
	ca  *pki.CA
	dir string
}

func serve(t *testing.T, tokens string) *server {
	t.Helper()
	s := &server{dir: t.TempDir()}
	path := filepath.Join(s.dir, "tokens.csv")
	if err := os.WriteFile(path, []byte(tokens), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := NewTokenFile(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if s.ca, err = pki.Open(s.dir); err != nil {
		t.Fatal(err)
	}
	cert, err := s.ca.Server("server", []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	users := NewAuthenticator(file)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, err := users.Authenticate(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		w.Header().Set("User", u.Name+"|"+u.UID+"|"+strings.Join(u.Groups, ","))
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: s.ca.Pool(), ClientAuth: tls.VerifyClientCertIfGiven}
	s.Config.ErrorLog = discard
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// ask answers who the server takes us for, or why it doesn't.
func (s *server) ask(t *testing.T, cert *tls.Certificate, header string) (user string, status int, err error) {
	t.Helper()
	config := &tls.Config{RootCAs: s.ca.Pool()}
	if cert != nil { // whatever authorities the server names
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	req, err := http.NewRequest(http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != "" {
		req.Header.Set("Authorization", header)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	return resp.Header.Get("User"), resp.StatusCode, nil
}

func TestCertificates(t *testing.T) {
	s := serve(t, "")
	admin, err := s.ca.Client("admin", "root", []string{GroupAdmins, "b"})
	if err != nil {
		t.Fatal(err)
	}
	if user, _, err := s.ask(t, &admin, ""); err != nil || user != "root||b,swell:admins,system:authenticated" {
		t.Errorf("an administrator is %q, %v", user, err)
	}
	csr, key, err := pki.NewRequest("n1")
	if err != nil {
		t.Fatal(err)
	}
	certPEM, _, err := s.ca.SignNode(csr, "n1")
	if err != nil {
		t.Fatal(err)
	}
	node := pairOf(t, certPEM, key)
	if user, _, err := s.ask(t, &node, ""); err != nil || user != "system:node:n1||system:nodes,system:authenticated" {
		t.Errorf("a node is %q, %v", user, err)
	}
	nameless, err := s.ca.Client("nameless", "", []string{GroupAdmins})
	if err != nil {
		t.Fatal(err)
	}
	if user, status, err := s.ask(t, &nameless, ""); err != nil || status != http.StatusUnauthorized {
		t.Errorf("nobody is %q, %d, %v", user, status, err)
	}
	if user, status, err := s.ask(t, nil, ""); err != nil || status != http.StatusUnauthorized {
		t.Errorf("without anything: %q, %d, %v", user, status, err)
	}
}

// A certificate that isn't good gets nowhere: not even to be somebody without rights.
func TestCertificatesThatAreNot(t *testing.T) {
	s := serve(t, "secret,bob,1\n")
	authority, err := pki.LoadPair(filepath.Join(s.dir, "ca"))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := pki.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := foreign.Client("admin", "root", []string{GroupAdmins})
	if err != nil {
		t.Fatal(err)
	}
	ours, err := s.ca.Server("server", []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	year := 365 * 24 * time.Hour
	good := issue(t, authority, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), x509.ExtKeyUsageClientAuth)
	expired := issue(t, authority, time.Now().Add(-year), time.Now().Add(-time.Minute), x509.ExtKeyUsageClientAuth)
	early := issue(t, authority, time.Now().Add(time.Hour), time.Now().Add(year), x509.ExtKeyUsageClientAuth)
	// What a user's own key has signed.
	admin, err := s.ca.Client("admin", "root", nil)
	if err != nil {
		t.Fatal(err)
	}
	child := issue(t, admin, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), x509.ExtKeyUsageClientAuth)
	child.Certificate = append(child.Certificate, admin.Certificate...)
	if user, _, err := s.ask(t, &good, ""); err != nil || user == "" {
		t.Fatalf("the means of this test don't work: %q, %v", user, err)
	}
	for name, cert := range map[string]tls.Certificate{
		"of another authority": stranger, "expired": expired, "not valid yet": early, "a server's": ours, "signed by a user": child,
	} {
		for _, header := range []string{"", "Bearer secret"} {
			if user, status, err := s.ask(t, &cert, header); err == nil || !strings.Contains(err.Error(), "remote error: tls:") {
				t.Errorf("a certificate %s: %q, %d, %v", name, user, status, err)
			}
		}
	}
}

func TestTokens(t *testing.T) {
	s := serve(t, "s3cret,alice,u1,\"swell:viewers, b\"\nother,bob,u2\n")
	const alice, bob = "alice|u1|swell:viewers,b,system:authenticated", "bob|u2|system:authenticated"
	for header, want := range map[string]string{
		"Bearer s3cret": alice, "bearer s3cret": alice, "BEARER  s3cret ": alice, "Bearer other": bob,
		"Bearer": "", "Bearer ": "", "Bearer s3cre": "", "Bearer s3cret2": "", "Bearer S3CRET": "", "Bearer alice": "", "Basic s3cret": "", "s3cret": "", "Bearer s3cret other": "",
	} {
		user, status, err := s.ask(t, nil, header)
		if err != nil || user != want || (want == "") != (status == http.StatusUnauthorized) {
			t.Errorf("%q: %q, %d, %v; want %q", header, user, status, err, want)
		}
	}
	admin, err := s.ca.Client("admin", "root", nil)
	if err != nil {
		t.Fatal(err)
	}
	if user, _, err := s.ask(t, &admin, "Bearer wrong"); err != nil || user != "root||system:authenticated" {
		t.Errorf("a certificate counts first: %q, %v", user, err)
	}
}

func TestWithoutTokens(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer x")
	if u, err := NewAuthenticator(nil).Authenticate(r); err != ErrUnauthenticated {
		t.Errorf("%v, %v", u, err)
	}
	// A certificate that TLS hasn't verified says nothing.
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: pkix.Name{CommonName: "root", Organization: []string{GroupAdmins}}}}}
	if u, err := NewAuthenticator(nil).Authenticate(r); err != ErrUnauthenticated {
		t.Errorf("unverified: %v, %v", u, err)
	}
}

func TestAuthorize(t *testing.T) {
	pods := func(verb, ns string) controlplane.Attributes {
		return controlplane.Attributes{Verb: verb, Resource: "pods", Namespace: ns}
	}
	sub := func(verb, subresource string) controlplane.Attributes {
		return controlplane.Attributes{Verb: verb, Resource: "pods", Subresource: subresource, Namespace: "a", Name: "p"}
	}
	of := func(verb, resource, ns, name string) controlplane.Attributes {
		return controlplane.Attributes{Verb: verb, Resource: resource, Namespace: ns, Name: name}
	}
	joinToken := controlplane.Attributes{Verb: "create", Group: "swell.dev", Resource: "jointokens"}
	everything := []controlplane.Attributes{
		pods("get", "a"), pods("list", ""), pods("watch", "a"), pods("create", "a"), pods("deletecollection", "a"), sub("create", "exec"), sub("get", "log"),
		sub("patch", "resize"), of("get", "secrets", "a", "s"), of("list", "secrets", "", ""), of("update", "nodes", "", "n"), of("get", "nodes", "", "n"),
		of("get", "namespaces", "a", "a"), of("delete", "namespaces", "a", "a"), of("create", "namespaces", "", ""), joinToken, pods("get", "b"),
		of("create", "selfsubjectaccessreviews", "", ""), {Verb: "get", Path: "/apis"}, {Verb: "get", Path: "/debug/pprof/heap"},
		{Verb: "get", Path: "/metrics"},
		of("create", "resourcequotas", "a", ""), of("get", "resourcequotas", "a", "q"), of("delete", "limitranges", "a", "l"), of("list", "limitranges", "a", ""),
		of("get", "billing", "a", "report"), of("create", "billing", "a", "invoices"), of("get", "billing", "", "report"),
		of("create", "budgets", "a", ""), of("get", "budgets", "a", "b"), of("create", "savingsplans", "", ""), {Verb: "create", Resource: "savingsplans", Subresource: "return", Name: "p"},
		of("get", "accountbudgets", "", "b"), of("list", "savingsplans", "", ""),
	}
	allowed := func(indices ...int) []int { return indices }
	for _, c := range []struct {
		name   string
		groups []string
		want   []int // of everything
	}{
		{"administrators", []string{GroupAdmins}, allowed(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33)},
		{"viewers", []string{GroupViewers}, allowed(0, 1, 2, 6, 11, 12, 16, 17, 18, 20, 22, 24, 25, 27, 29, 32, 33)},
		{"editors", []string{"swell:editors:a"}, allowed(0, 2, 3, 4, 5, 6, 7, 8, 11, 12, 17, 18, 22, 24, 25, 29)},
		{"editors of nothing", []string{"swell:editors:", "swell:editors"}, allowed(17, 18)},
		{"editors of another", []string{"swell:editors:b"}, allowed(11, 16, 17, 18)},
		{"editors who view", []string{"swell:editors:b", GroupViewers}, allowed(0, 1, 2, 6, 11, 12, 16, 17, 18, 20, 22, 24, 25, 27, 29, 32, 33)},
		{"nodes", []string{GroupNodes}, nil},
		{"nodes who view", []string{GroupNodes, GroupViewers, "swell:editors:a"}, nil},
		{"anybody known", []string{"system:authenticated", "system:masters"}, allowed(17, 18)},
		{"nobody's groups", nil, allowed(17, 18)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i, a := range everything {
				ok, reason := Authorize(controlplane.User{Name: "u", Groups: c.groups}, a)
				if ok != slices.Contains(c.want, i) {
					t.Errorf("%+v: %v", a, ok)
				}
				if ok == (reason != "") {
					t.Errorf("%+v: %v, because %q", a, ok, reason)
				}
			}
		})
	}
}

func TestViewersDoNotReachIn(t *testing.T) {
	for _, sub := range []string{"exec", "attach", "portforward"} {
		for _, verb := range []string{"get", "create", "list", "watch"} {
			if ok, _ := Authorize(controlplane.User{Groups: []string{GroupViewers}}, controlplane.Attributes{Verb: verb, Resource: "pods", Subresource: sub, Namespace: "a"}); ok {
				t.Errorf("%s %s", verb, sub)
			}
		}
	}
}

// issue makes a certificate with a key of its own, as an authority would that doesn't look at the time.
func issue(t *testing.T, by tls.Certificate, from, until time.Time, use x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root", Organization: []string{GroupAdmins}},
		NotBefore: from, NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{use}, BasicConstraintsValid: true,
	}, by.Leaf, key.Public(), by.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
