package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// External names an etcd cluster that runs elsewhere. It is spoken to over TLS only.
type External struct {
	Endpoints []string // https://HOST:PORT
	CAFile    string   // PEM; empty: the host's trusted roots
	CertFile  string   // PEM of the client certificate; empty: none
	KeyFile   string
	Timeout   time.Duration // of the first contact; default 10 s
}

// Connect connects to an external etcd and makes sure that it answers. The caller closes the client.
func Connect(ctx context.Context, cfg External) (*clientv3.Client, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("etcd: at least one endpoint is required")
	}
	names := strings.Join(cfg.Endpoints, ",")
	for _, e := range cfg.Endpoints {
		if !strings.HasPrefix(e, "https://") {
			return nil, fmt.Errorf("etcd: endpoint %q: want https://HOST:PORT", e)
		}
	}
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, fmt.Errorf("etcd %s: %w", names, err)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  tlsConfig,
		DialTimeout:          cfg.Timeout,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
		MaxCallSendMsgSize:   MaxRequestBytes,
		Logger:               zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd %s: %w", names, err)
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	if _, err := client.Get(ctx, "swell"); err != nil { // any key: a linearizable read needs the cluster's quorum
		client.Close()
		return nil, fmt.Errorf("etcd %s: doesn't answer: check the addresses and certificates: %w", names, err)
	}
	return client, nil
}

func (cfg External) tls() (*tls.Config, error) {
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return nil, errors.New("a client certificate needs both its file and its key's")
	}
	info := transport.TLSInfo{TrustedCAFile: cfg.CAFile, CertFile: cfg.CertFile, KeyFile: cfg.KeyFile}
	out, err := info.ClientConfig()
	if err != nil {
		return nil, err
	}
	out.MinVersion = tls.VersionTLS12
	return out, nil
}
