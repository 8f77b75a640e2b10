// Package pki is a certificate authority in a directory: made at first start, it issues the server's,
// the administrator's and the nodes' certificates. Keys are ECDSA P-256, in files of mode 0600.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// How long certificates are valid, and when one is issued anew.
const (
	caValidity   = 10 * 365 * 24 * time.Hour
	leafValidity = 365 * 24 * time.Hour
	renewBefore  = 30 * 24 * time.Hour
	backdate     = 5 * time.Minute // clocks of hosts differ
)

// CA issues certificates.
type CA struct {
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
	now  func() time.Time
}

// Open loads the authority in a directory, or makes one. One whose key is gone isn't replaced: everything
// that trusts it would be locked out.
func Open(dir string) (*CA, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	ca := &CA{dir: dir, now: time.Now}
	if _, err := os.Stat(filepath.Join(dir, "ca.crt")); errors.Is(err, fs.ErrNotExist) {
		return ca, ca.create()
	}
	cert, key, err := loadPair(filepath.Join(dir, "ca"))
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	if !cert.IsCA {
		return nil, fmt.Errorf("pki: %s isn't the certificate of an authority", filepath.Join(dir, "ca.crt"))
	}
	ca.cert, ca.key = cert, key
	return ca, nil
}

func (ca *CA) create() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	serial, err := serialNumber()
	if err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	now := ca.now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "swell-ca"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caValidity),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	ca.key = key
	return SavePair(filepath.Join(ca.dir, "ca"), der, key)
}

// PEM is the authority's certificate.
func (ca *CA) PEM() []byte { return certPEM(ca.cert.Raw) }

// Pool verifies what the authority has issued.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// Hash identifies the authority: "sha256:" and the hex digest of its certificate in DER.
func (ca *CA) Hash() string { return Hash(ca.cert.Raw) }

// Hash answers "sha256:" and the hex digest of a certificate in DER.
func Hash(der []byte) string {
	sum := sha256.Sum256(der)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Server answers the certificate for a server under a name in the directory. It is issued anew when it
// isn't valid for all the hosts (names or addresses) or ends soon.
func (ca *CA) Server(name string, hosts []string) (tls.Certificate, error) {
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "swell-" + name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if h != "" {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	return ca.pair(name, template, func(c *x509.Certificate) bool {
		return !slices.ContainsFunc(hosts, func(h string) bool { return h != "" && c.VerifyHostname(h) != nil })
	})
}

// Client answers the certificate of a user under a name in the directory.
func (ca *CA) Client(name, user string, groups []string) (tls.Certificate, error) {
	groups = slices.Sorted(slices.Values(groups)) // as a certificate holds them
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return ca.pair(name, template, func(c *x509.Certificate) bool {
		return c.Subject.CommonName == user && slices.Equal(c.Subject.Organization, groups)
	})
}

func (ca *CA) pair(name string, template *x509.Certificate, valid func(*x509.Certificate) bool) (tls.Certificate, error) {
	path := filepath.Join(ca.dir, name)
	cert, key, err := loadPair(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return tls.Certificate{}, fmt.Errorf("pki: %w", err)
	}
	if err == nil && cert.CheckSignatureFrom(ca.cert) == nil && ca.now().Before(cert.NotAfter.Add(-renewBefore)) && valid(cert) {
		return tls.Certificate{Certificate: [][]byte{cert.Raw, ca.cert.Raw}, PrivateKey: key, Leaf: cert}, nil
	}
	fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("pki: %w", err)
	}
	der, err := ca.issue(template, fresh.Public())
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := SavePair(path, der, fresh); err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("pki: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der, ca.cert.Raw}, PrivateKey: fresh, Leaf: leaf}, nil
}

func (ca *CA) issue(template *x509.Certificate, public crypto.PublicKey) ([]byte, error) {
	var err error
	if template.SerialNumber, err = serialNumber(); err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	now := ca.now()
	template.NotBefore, template.NotAfter = now.Add(-backdate), now.Add(leafValidity)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, public, ca.key)
	if err != nil {
		return nil, fmt.Errorf("pki: %w", err)
	}
	return der, nil
}

// What Kubernetes puts before a node's name, and the group that all nodes are in.
const (
	NodePrefix = "system:node:"
	NodeGroup  = "system:nodes"
)

// CheckRequest answers why SignNode would refuse a request.
func CheckRequest(csrDER []byte) error {
	_, err := requestedKey(csrDER)
	return err
}

func requestedKey(csrDER []byte) (*ecdsa.PublicKey, error) {
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	public, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, fmt.Errorf("certificate request: key is %T, want ECDSA P-256", csr.PublicKey)
	}
	return public, nil
}

// SignNode answers a certificate in a node's own name, whatever name the request asks for.
func (ca *CA) SignNode(csrDER []byte, node string) (certificate, authority []byte, err error) {
	public, err := requestedKey(csrDER)
	if err != nil {
		return nil, nil, err
	}
	der, err := ca.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: NodePrefix + node, Organization: []string{NodeGroup}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, public)
	if err != nil {
		return nil, nil, err
	}
	return certPEM(der), ca.PEM(), nil
}

func serialNumber() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
