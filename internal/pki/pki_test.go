package pki

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, dir string) *CA {
	t.Helper()
	ca, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// verify answers why a certificate is not accepted for a use.
func verify(ca *CA, cert *x509.Certificate, use x509.ExtKeyUsage) error {
	_, err := cert.Verify(x509.VerifyOptions{Roots: ca.Pool(), KeyUsages: []x509.ExtKeyUsage{use}})
	return err
}

func TestAuthorityIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	first := open(t, dir)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	again := open(t, dir)
	if first.Hash() != again.Hash() || string(first.PEM()) != string(again.PEM()) {
		t.Error("the authority was replaced by a restart")
	}
	if other := open(t, t.TempDir()); other.Hash() == first.Hash() {
		t.Error("two authorities are one")
	}
	if !first.cert.IsCA || !first.cert.MaxPathLenZero || first.cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		t.Errorf("not an authority for leaves alone: %+v", first.cert)
	}
	block, _ := pem.Decode(first.PEM())
	if Hash(block.Bytes) != first.Hash() || !strings.HasPrefix(first.Hash(), "sha256:") || len(first.Hash()) != len("sha256:")+64 {
		t.Errorf("hash %q", first.Hash())
	}
}

func TestFilesAreTheOwners(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	ca := open(t, dir)
	if _, err := ca.Server("server", []string{"localhost"}); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Client("admin", "root", nil); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 6 {
		t.Fatalf("%v, %v", entries, err) // three pairs and nothing else
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

func TestAuthorityIsNotReplaced(t *testing.T) {
	for name, harm := range map[string]func(dir string) error{
		"no key":      func(dir string) error { return os.Remove(filepath.Join(dir, "ca.key")) },
		"empty key":   func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.key"), nil, 0o600) },
		"no PEM":      func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("x"), 0o600) },
		"another key": func(dir string) error { return copyFile(filepath.Join(dir, "leaf.key"), filepath.Join(dir, "ca.key")) },
		"a leaf": func(dir string) error {
			if err := copyFile(filepath.Join(dir, "leaf.key"), filepath.Join(dir, "ca.key")); err != nil {
				return err
			}
			return copyFile(filepath.Join(dir, "leaf.crt"), filepath.Join(dir, "ca.crt"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := open(t, dir).Client("leaf", "u", nil); err != nil {
				t.Fatal(err)
			}
			if err := harm(dir); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(filepath.Join(dir, "ca.crt"))
			if _, err := Open(dir); err == nil || !strings.HasPrefix(err.Error(), "pki: ") {
				t.Errorf("opened: %v", err)
			}
			if after, err := os.ReadFile(filepath.Join(dir, "ca.crt")); err != nil || string(after) != string(before) {
				t.Errorf("the certificate was touched: %v", err)
			}
		})
	}
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// A crash between the two files of a pair leaves a key alone. It must not hinder the next start.
func TestHalfAPairIsMadeAnew(t *testing.T) {
	dir := t.TempDir()
	ca := open(t, dir)
	if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	if again := open(t, dir); again.Hash() == ca.Hash() {
		t.Error("an authority without its certificate came back")
	}
	ca = open(t, dir)
	first, err := ca.Client("admin", "u", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "admin.crt")); err != nil {
		t.Fatal(err)
	}
	second, err := ca.Client("admin", "u", nil)
	if err != nil || second.Leaf.Equal(first.Leaf) {
		t.Errorf("a certificate without its file: %v", err)
	}
}

func TestServer(t *testing.T) {
	ca := open(t, t.TempDir())
	hosts := []string{"localhost", "127.0.0.1", "::1", "", "swell.example.com"}
	first, err := ca.Server("server", hosts)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{"localhost", "127.0.0.1", "::1", "swell.example.com"} {
		if err := first.Leaf.VerifyHostname(h); err != nil {
			t.Errorf("%s: %v", h, err)
		}
	}
	for _, h := range []string{"", "127.0.0.2", "example.com", "other.swell.example.com"} {
		if first.Leaf.VerifyHostname(h) == nil {
			t.Errorf("%q: is valid", h)
		}
	}
	if err := verify(ca, first.Leaf, x509.ExtKeyUsageServerAuth); err != nil {
		t.Error(err)
	}
	if verify(ca, first.Leaf, x509.ExtKeyUsageClientAuth) == nil {
		t.Error("a server's certificate makes a user")
	}
	same := func(want bool, hosts []string) {
		t.Helper()
		next, err := ca.Server("server", hosts)
		if err != nil || next.Leaf.Equal(first.Leaf) != want {
			t.Errorf("for %q: kept %v, %v; want %v", hosts, next.Leaf.Equal(first.Leaf), err, want)
		}
		first = next
	}
	same(true, hosts)
	same(true, hosts[:2])
	same(false, append(hosts, "10.0.0.1"))
	ca.now = func() time.Time { return first.Leaf.NotAfter.Add(-renewBefore - time.Minute) }
	same(true, hosts)
	ca.now = func() time.Time { return first.Leaf.NotAfter.Add(-renewBefore + time.Minute) }
	same(false, hosts)
}

func TestClient(t *testing.T) {
	dir := t.TempDir()
	ca := open(t, dir)
	first, err := ca.Client("admin", "root", []string{"b", "a"})
	if err != nil {
		t.Fatal(err)
	}
	if s := first.Leaf.Subject; s.CommonName != "root" || strings.Join(s.Organization, ",") != "a,b" {
		t.Errorf("subject %s", s)
	}
	if err := verify(ca, first.Leaf, x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
	if verify(ca, first.Leaf, x509.ExtKeyUsageServerAuth) == nil {
		t.Error("a user's certificate makes a server")
	}
	if first.Leaf.IsCA {
		t.Error("a user may issue certificates")
	}
	if again, err := open(t, dir).Client("admin", "root", []string{"b", "a"}); err != nil || !again.Leaf.Equal(first.Leaf) {
		t.Errorf("not kept over a restart: %v", err)
	}
	if other, err := ca.Client("admin", "root", []string{"a"}); err != nil || other.Leaf.Equal(first.Leaf) {
		t.Errorf("kept with other groups: %v", err)
	}
	// What another authority has issued is not taken over.
	foreign := t.TempDir()
	if _, err := open(t, foreign).Client("admin", "root", []string{"a"}); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"admin.crt", "admin.key"} {
		if err := copyFile(filepath.Join(foreign, f), filepath.Join(dir, f)); err != nil {
			t.Fatal(err)
		}
	}
	ours, err := ca.Client("admin", "root", []string{"a"})
	if err != nil || verify(ca, ours.Leaf, x509.ExtKeyUsageClientAuth) != nil {
		t.Errorf("a foreign certificate is used: %v", err)
	}
}

func TestSignNode(t *testing.T) {
	ca := open(t, t.TempDir())
	csr, key, err := NewRequest("wishes-for-this")
	if err != nil {
		t.Fatal(err)
	}
	certPEM, caPEM, err := ca.SignNode(csr, "n1")
	if err != nil {
		t.Fatal(err)
	}
	if string(caPEM) != string(ca.PEM()) {
		t.Error("another authority's certificate is answered")
	}
	block, _ := pem.Decode(certPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if s := cert.Subject; s.CommonName != "system:node:n1" || strings.Join(s.Organization, ",") != "system:nodes" {
		t.Errorf("subject %s", s)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		t.Error("the certificate is for another key")
	}
	if err := verify(ca, cert, x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
	if verify(ca, cert, x509.ExtKeyUsageServerAuth) == nil || cert.IsCA || len(cert.DNSNames)+len(cert.IPAddresses) > 0 {
		t.Error("a node is more than a client")
	}
}

// What the request asks for beyond its key counts for nothing.
func TestSignNodeGivesNoMoreThanANode(t *testing.T) {
	ca := open(t, t.TempDir())
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "root", Organization: []string{"swell:admins"}}, DNSNames: []string{"localhost"},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, _, err := ca.SignNode(csr, "n1")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(certPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || cert.Subject.CommonName != "system:node:n1" || len(cert.Subject.Organization) != 1 || len(cert.DNSNames) > 0 {
		t.Errorf("%v, %v", cert.Subject, err)
	}
}

func TestSignNodeRefuses(t *testing.T) {
	ca := open(t, t.TempDir())
	good, _, err := NewRequest("n")
	if err != nil {
		t.Fatal(err)
	}
	forged := append([]byte(nil), good...)
	forged[len(forged)-1] ^= 1
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherKind, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, ed)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherCurve, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, p384)
	if err != nil {
		t.Fatal(err)
	}
	for name, csr := range map[string][]byte{"nothing": nil, "noise": []byte("x"), "another's signature": forged, "another kind of key": otherKind, "another curve": otherCurve} {
		if _, _, err := ca.SignNode(csr, "n"); err == nil || !strings.HasPrefix(err.Error(), "certificate request: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWriteFileReplacesAsAWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, content := range []string{"first", "second"} {
		if err := WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != content {
			t.Errorf("%q, %v", b, err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "taken"), nil); err == nil {
		t.Error("a folder was replaced")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := WriteFile(filepath.Join(dir, "none", "f"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
