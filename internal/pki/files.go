package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// loadPair reads path.crt and path.key.
func loadPair(path string) (*x509.Certificate, crypto.Signer, error) {
	cert, err := LoadCertificate(path + ".crt")
	if err != nil {
		return nil, nil, err
	}
	key, err := loadKey(path + ".key")
	if err != nil {
		return nil, nil, err
	}
	public, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || !public.Equal(key.Public()) {
		return nil, nil, fmt.Errorf("%s.crt and %s.key don't belong together", path, path)
	}
	return cert, key, nil
}

// LoadPair reads path.crt and path.key for use in TLS.
func LoadPair(path string) (tls.Certificate, error) {
	cert, key, err := loadPair(path)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// LoadCertificate reads the first certificate of a PEM file.
func LoadCertificate(path string) (*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s: no certificate in PEM", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cert, nil
}

func loadKey(path string) (crypto.Signer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: no key in PEM", path)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// SavePair writes path.key, then path.crt: a crash in between leaves no certificate, and so no pair.
func SavePair(path string, der []byte, key *ecdsa.PrivateKey) error {
	if err := os.Remove(path + ".crt"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("pki: %w", err)
	}
	if err := SaveKey(path+".key", key); err != nil {
		return err
	}
	return WriteFile(path+".crt", certPEM(der))
}

// SaveKey writes a private key.
func SaveKey(path string, key *ecdsa.PrivateKey) error {
	b, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	return WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: b}))
}

// WriteFile replaces a file of mode 0600 as a whole, durably.
func WriteFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("pki: %w", err), os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a new name durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	defer d.Close() //nolint:errcheck // it was only read
	if err := d.Sync(); err != nil {
		return fmt.Errorf("pki: %w", err)
	}
	return nil
}

// NewRequest makes a key and a certificate request for it, as a node does that joins.
func NewRequest(node string) (csrDER []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, fmt.Errorf("pki: %w", err)
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: NodePrefix + node, Organization: []string{NodeGroup}}}
	if csrDER, err = x509.CreateCertificateRequest(rand.Reader, template, key); err != nil {
		return nil, nil, fmt.Errorf("pki: %w", err)
	}
	return csrDER, key, nil
}
