package role

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"swell.dev/swell/internal/pki"
)

// certificateCheck is how often a running server looks whether its certificate is to be issued anew.
const certificateCheck = time.Hour

// serverCertificate is the server's certificate, issued anew before it ends, also while the server runs.
type serverCertificate struct {
	ca    *pki.CA
	hosts []string

	mu      sync.Mutex // guards the rest
	cert    tls.Certificate
	checked time.Time
}

func newServerCertificate(ca *pki.CA, hosts []string) (*serverCertificate, error) {
	c := &serverCertificate{ca: ca, hosts: hosts}
	_, err := c.get(nil)
	return c, err
}

// get is what tls.Config.GetCertificate wants. A certificate that can't be issued anew serves on.
func (c *serverCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= certificateCheck {
		cert, err := c.ca.Server("server", c.hosts)
		if err != nil && c.cert.Leaf == nil {
			return nil, err
		}
		if c.checked = now; err == nil {
			c.cert = cert
		}
	}
	cert := c.cert
	return &cert, nil
}

// hostsOf answers the names that a server at these addresses is reached by.
func hostsOf(addrs, more []string) ([]string, error) {
	hosts := append([]string{"localhost", "127.0.0.1", "::1"}, more...)
	everywhere := false
	for _, addr := range addrs {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("address %s: %w", addr, err)
		}
		if net.ParseIP(host).IsUnspecified() {
			everywhere = true
		} else {
			hosts = append(hosts, host)
		}
	}
	if !everywhere {
		return hosts, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("addresses of this host: %w", err)
	}
	hosts = append(hosts, name)
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			hosts = append(hosts, n.IP.String())
		}
	}
	return hosts, nil
}
