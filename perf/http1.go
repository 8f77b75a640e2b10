package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"

	"k8s.io/client-go/rest"
)

// http1 posts over HTTP/1.1 connections that are kept open, each for one request at a time: as many as
// there are clients. A request is one write.
type http1 struct {
	tls  *tls.Config
	addr string
	head string // of a request, up to the length of its body

	mu     sync.Mutex // guards what follows
	idle   []*conn1
	open   map[*conn1]bool
	closed bool
}

type conn1 struct {
	net.Conn
	r    *bufio.Reader
	out  []byte // the request
	body []byte // the answer's
}

func newHTTP1(config *tls.Config, addr, head string) *http1 {
	config = config.Clone()
	config.NextProtos = []string{"http/1.1"}
	return &http1{tls: config, addr: addr, head: head, open: map[*conn1]bool{}}
}

func (h *http1) take(ctx context.Context) (*conn1, error) {
	h.mu.Lock()
	if n := len(h.idle); n > 0 {
		c := h.idle[n-1]
		h.idle = h.idle[:n-1]
		h.mu.Unlock()
		return c, nil
	}
	h.mu.Unlock()
	raw, err := (&tls.Dialer{Config: h.tls}).DialContext(ctx, "tcp", h.addr)
	if err != nil {
		return nil, err
	}
	c := &conn1{Conn: raw, r: bufio.NewReaderSize(raw, 8<<10)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
	h.open[c] = true
	return c, nil
}

// put takes a connection back; one that failed is closed.
func (h *http1) put(c *conn1, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		delete(h.open, c)
		_ = c.Close() // err says why
		return
	}
	h.idle = append(h.idle, c)
}

func (h *http1) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for c := range h.open {
		_ = c.Close() // what it carries fails
	}
	return nil
}

func (h *http1) post(ctx context.Context, body []byte, read func(status int, body []byte) error) error {
	return h.send(ctx, h.head, body, read)
}

// send is post with another head.
func (h *http1) send(ctx context.Context, head string, body []byte, read func(status int, body []byte) error) error {
	c, err := h.take(ctx)
	if err != nil {
		return err
	}
	c.out = strconv.AppendInt(append(c.out[:0], head...), int64(len(body)), 10)
	c.out = append(append(c.out, "\r\n\r\n"...), body...)
	var status int
	if _, err = c.Write(c.out); err == nil {
		status, c.body, err = readResponse(c.r, c.body[:0])
	}
	if err == nil {
		err = read(status, c.body)
	}
	h.put(c, err)
	return err
}

var errHTTP = errors.New("not an answer of HTTP/1.1")

// readResponse reads one answer and appends its body to a buffer.
func readResponse(r *bufio.Reader, body []byte) (status int, _ []byte, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, body, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, body, errHTTP
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, body, errHTTP
	}
	length, chunked := 0, false
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return 0, body, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return 0, body, errHTTP
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(value, []byte("close")):
			return 0, body, fmt.Errorf("status %d: the server closes the connection", status)
		}
	}
	if !chunked {
		body, err = appendFrom(r, body, length)
		return status, body, err
	}
	body, err = readChunks(r, body)
	return status, body, err
}

func readChunks(r *bufio.Reader, body []byte) ([]byte, error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return body, err
		}
		n, err := strconv.ParseUint(string(bytes.TrimRight(line, "\r\n")), 16, 31)
		if err != nil {
			return body, errHTTP
		}
		if body, err = appendFrom(r, body, int(n)); err != nil {
			return body, err
		}
		if line, err = r.ReadSlice('\n'); err != nil || len(bytes.TrimRight(line, "\r\n")) > 0 {
			return body, errors.Join(err, errHTTP)
		}
		if n == 0 {
			return body, nil
		}
	}
}

func appendFrom(r io.Reader, b []byte, n int) ([]byte, error) {
	from := len(b)
	for cap(b) < from+n {
		b = append(b[:cap(b)], 0)
	}
	b = b[:from+n]
	_, err := io.ReadFull(r, b[from:])
	return b, err
}

// spreading posts over several in turn.
type spreading struct {
	next atomic.Uint64
	over []poster
}

func (s *spreading) post(ctx context.Context, body []byte, read func(status int, body []byte) error) error {
	return s.over[s.next.Add(1)%uint64(len(s.over))].post(ctx, body, read)
}

func (s *spreading) close() error {
	var errs []error
	for _, p := range s.over {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// endpoint is what a client that dials by itself needs of a configuration: how to prove itself and whom, as
// host:port, to dial.
func endpoint(cfg *rest.Config) (*tls.Config, string, error) {
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, "", err
	}
	host, err := url.Parse(cfg.Host)
	if err != nil {
		return nil, "", err
	}
	if tlsConfig.ServerName == "" {
		tlsConfig.ServerName = host.Hostname()
	}
	return tlsConfig, host.Host, nil
}
