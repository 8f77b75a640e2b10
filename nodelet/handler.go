package nodelet

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// maxProbeOutput bounds what is kept of a probe's or hook's answer.
const maxProbeOutput = 10 << 10

// userAgent is what applications know probes by.
const userAgent = "kube-probe/1.37"

// handler asks a container something from outside: a probe or a hook.
type handler struct {
	runtime   Runtime
	id        string // of the container
	ip        string // of the pod
	container *corev1.Container
}

// probe runs one probe. A nil error is a success; message says more.
func (h *handler) probe(ctx context.Context, p *corev1.Probe) (message string, err error) {
	timeout := seconds(p.TimeoutSeconds, 1)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch {
	case p.Exec != nil:
		out, err := h.exec(ctx, p.Exec.Command)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return "", fmt.Errorf("command timed out: %q timed out after %s", strings.Join(p.Exec.Command, " "), timeout)
		}
		return out, err
	case p.HTTPGet != nil:
		return h.http(ctx, p.HTTPGet, true)
	case p.TCPSocket != nil:
		return "", h.tcp(ctx, p.TCPSocket)
	case p.GRPC != nil:
		return "", h.grpc(ctx, p.GRPC)
	}
	return "", errors.New("missing probe handler")
}

// hook runs one lifecycle hook.
func (h *handler) hook(ctx context.Context, l *corev1.LifecycleHandler) error {
	var err error
	switch {
	case l.Exec != nil:
		_, err = h.exec(ctx, l.Exec.Command)
	case l.HTTPGet != nil:
		_, err = h.http(ctx, l.HTTPGet, false)
	case l.TCPSocket != nil:
		err = h.tcp(ctx, l.TCPSocket)
	case l.Sleep != nil:
		timer := time.NewTimer(time.Duration(l.Sleep.Seconds) * time.Second)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
	default:
		err = errors.New("missing lifecycle handler")
	}
	return err
}

// notAskedError is a question that didn't reach the container: the host, not the container, is at fault.
type notAskedError struct{ err error }

func (e *notAskedError) Error() string { return e.err.Error() }
func (e *notAskedError) Unwrap() error { return e.err }

// exec runs a command in the container. A code other than zero is an error that shows its output.
func (h *handler) exec(ctx context.Context, command []string) (string, error) {
	out := &limitedBuffer{left: maxProbeOutput}
	p, err := h.runtime.Exec(ctx, h.id, Exec{Command: command, Stdout: out, Stderr: out})
	if err != nil {
		return "", &notAskedError{err}
	}
	code, err := p.Wait(ctx)
	switch {
	case err != nil:
		return out.String(), &notAskedError{err}
	case code != 0:
		text := out.String()
		if text == "" {
			text = fmt.Sprintf("command %q exited with %d: ", strings.Join(command, " "), code)
		}
		return text, errors.New(text)
	}
	return out.String(), nil
}

// limitedBuffer keeps the first bytes that are written to it. Both streams of a process write to it.
type limitedBuffer struct {
	mu   sync.Mutex // guards the rest
	buf  bytes.Buffer
	left int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	keep := p[:min(len(p), b.left)]
	b.left -= len(keep)
	b.buf.Write(keep)
	return len(p), nil
}

func (b *limitedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// http gets a URL of the pod. Any answer from 200 to 399 is a success.
func (h *handler) http(ctx context.Context, get *corev1.HTTPGetAction, probe bool) (string, error) {
	port, err := h.port(get.Port)
	if err != nil {
		return "", err
	}
	host := get.Host
	if host == "" {
		host = h.ip
	}
	scheme := strings.ToLower(string(get.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	u, err := url.Parse(get.Path)
	if err != nil {
		u = &url.URL{Path: get.Path}
	}
	u.Scheme, u.Host = scheme, net.JoinHostPort(host, strconv.Itoa(port))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	for _, header := range get.HTTPHeaders {
		if strings.EqualFold(header.Name, "Host") {
			req.Host = header.Value
		}
		req.Header.Add(header.Name, header.Value)
	}
	if _, ok := req.Header["User-Agent"]; !ok {
		req.Header.Set("User-Agent", userAgent)
	}
	if _, ok := req.Header["Accept"]; !ok {
		req.Header.Set("Accept", "*/*")
	}
	client := &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			// The pod's certificate is made for its own clients' names, not for its address.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as in Kubernetes
		},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if next.URL.Hostname() != via[0].URL.Hostname() || len(via) >= 10 {
				return http.ErrUseLastResponse // away from the pod: the redirect itself is the answer
			}
			return nil
		},
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProbeOutput))
	if err != nil {
		return "", err
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 400 {
		return string(body), nil
	}
	if probe {
		return string(body), fmt.Errorf("HTTP probe failed with statuscode: %d", resp.StatusCode)
	}
	return string(body), fmt.Errorf("HTTP hook answered status %d", resp.StatusCode)
}

func (h *handler) tcp(ctx context.Context, a *corev1.TCPSocketAction) error {
	port, err := h.port(a.Port)
	if err != nil {
		return err
	}
	host := a.Host
	if host == "" {
		host = h.ip
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return conn.Close()
}

func (h *handler) grpc(ctx context.Context, a *corev1.GRPCAction) error {
	var service string
	if a.Service != nil {
		service = *a.Service
	}
	addr := net.JoinHostPort(h.ip, strconv.Itoa(int(a.Port)))
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent(userAgent))
	if err != nil {
		return err
	}
	defer conn.Close()
	resp, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{Service: service}, grpc.WaitForReady(false))
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("timeout: health rpc did not complete within the probe's timeout: %w", ctx.Err())
	case err != nil:
		return fmt.Errorf("error: health rpc probe failed: %w", err)
	case resp.Status != healthv1.HealthCheckResponse_SERVING:
		return fmt.Errorf("service unhealthy (responded with %q)", resp.Status)
	}
	return nil
}

// port resolves a number or the name of one of the container's ports.
func (h *handler) port(p intstr.IntOrString) (int, error) {
	port := p.IntValue()
	if p.Type == intstr.String {
		for _, cp := range h.container.Ports {
			if cp.Name == p.StrVal {
				port = int(cp.ContainerPort)
			}
		}
	}
	if port <= 0 || port > 65535 {
		return 0, fmt.Errorf("invalid port number: %v", p.String())
	}
	return port, nil
}
