package role

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/internal/pki"
)

// identity is a node's certificate, kept in a directory and renewed before it ends.
type identity struct {
	dir     string
	node    string
	address string
	log     *slog.Logger

	mu   sync.Mutex // guards cert
	cert tls.Certificate
	pool *x509.CertPool
}

// joinConfig says how a node gets its first certificate.
type joinConfig struct {
	Address string // host:port of the control plane's node endpoint
	Token   string
	CAHash  string // sha256:… as `swell nodes token` prints it
}

// join answers the node's identity: the one it has, or a new one by the token.
func join(ctx context.Context, dir, node string, cfg joinConfig, log *slog.Logger) (*identity, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("node certificate: %w", err)
	}
	id := &identity{dir: dir, node: node, address: cfg.Address, log: log}
	err := id.load()
	if err == nil {
		return id, id.speaksFor(node)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if cfg.Token == "" || cfg.CAHash == "" {
		return nil, errors.New("this node hasn't joined yet: give --token and --ca-hash, as printed by `swell nodes token`")
	}
	conn, err := grpc.NewClient(cfg.Address, grpc.WithTransportCredentials(credentials.NewTLS(pinned(cfg.CAHash))))
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", cfg.Address, err)
	}
	defer conn.Close()
	return id, id.request(func(csr []byte) (*nodev1.JoinResponse, error) {
		return nodev1.NewFleetClient(conn).Join(ctx, &nodev1.JoinRequest{NodeName: node, Token: cfg.Token, CsrDer: csr})
	})
}

// speaksFor refuses a certificate that is another node's: the control plane would.
func (id *identity) speaksFor(node string) error {
	if name := strings.TrimPrefix(id.cert.Leaf.Subject.CommonName, pki.NodePrefix); name != node {
		return fmt.Errorf("--node-name %s: this host has joined as %q, whose certificate is in %s: leave the name, or remove that folder and join anew", node, name, id.dir)
	}
	return nil
}

// pinned trusts exactly the authority whose certificate has this hash.
func pinned(caHash string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // replaced by the check below
		VerifyConnection: func(state tls.ConnectionState) error {
			for _, ca := range state.PeerCertificates {
				if pki.Hash(ca.Raw) != caHash {
					continue
				}
				pool := x509.NewCertPool()
				pool.AddCert(ca)
				_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, DNSName: state.ServerName})
				return err
			}
			return fmt.Errorf("the server's authority isn't the one with --ca-hash %s", caHash)
		},
	}
}

func (id *identity) path(name string) string { return filepath.Join(id.dir, name) }

// request makes a key, has it certified and keeps both. The key is kept first: a certificate without it
// would be of no use.
func (id *identity) request(certify func(csr []byte) (*nodev1.JoinResponse, error)) error {
	csr, key, err := pki.NewRequest(id.node)
	if err != nil {
		return err
	}
	res, err := certify(csr)
	if err != nil {
		return fmt.Errorf("join %s: %w", id.address, err)
	}
	block, _ := pem.Decode(res.CertificatePem)
	if block == nil {
		return fmt.Errorf("join %s: the answer holds no certificate", id.address)
	}
	if err := pki.SavePair(id.path("node"), block.Bytes, key); err != nil {
		return err
	}
	if err := pki.WriteFile(id.path("ca.crt"), res.CaPem); err != nil {
		return err
	}
	return id.load()
}

func (id *identity) load() error {
	pair, err := pki.LoadPair(id.path("node"))
	if err != nil {
		return fmt.Errorf("node certificate: %w", err)
	}
	ca, err := pki.LoadCertificate(id.path("ca.crt"))
	if err != nil {
		return fmt.Errorf("node certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	id.mu.Lock()
	id.cert, id.pool = pair, pool
	id.mu.Unlock()
	return nil
}

// tls is what the node dials with: always its newest certificate.
func (id *identity) tls() *tls.Config {
	id.mu.Lock()
	defer id.mu.Unlock()
	return &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: id.pool,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			id.mu.Lock()
			defer id.mu.Unlock()
			cert := id.cert
			return &cert, nil
		},
	}
}

// A certificate is renewed when a third of its life is left; a failed attempt is repeated.
const renewRetry = time.Hour

// keep renews the certificate until ctx ends.
func (id *identity) keep(ctx context.Context) {
	for {
		id.mu.Lock()
		leaf := id.cert.Leaf
		id.mu.Unlock()
		wait := time.Until(leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / 3))
		timer := time.NewTimer(max(wait, 0))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := id.renew(ctx); err != nil {
			id.log.Warn("node certificate not renewed", "valid until", leaf.NotAfter, "cause", err)
			timer := time.NewTimer(renewRetry)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
		}
	}
}

func (id *identity) renew(ctx context.Context) error {
	conn, err := grpc.NewClient(id.address, grpc.WithTransportCredentials(credentials.NewTLS(id.tls())))
	if err != nil {
		return err
	}
	defer conn.Close()
	return id.request(func(csr []byte) (*nodev1.JoinResponse, error) {
		return nodev1.NewFleetClient(conn).Renew(ctx, &nodev1.RenewRequest{CsrDer: csr})
	})
}
