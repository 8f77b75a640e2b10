package loadgen

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// connection speaks HTTP/1.1 over one TCP connection at a time. It isn't net/http's client, because that
// one quietly sends a request again when a kept connection breaks, and here every request that finds no
// answer must count.
type connection struct {
	target  *url.URL
	address string
	timeout time.Duration

	conn   net.Conn // nil: to be opened
	reader *bufio.Reader
}

// request sends one request and reads its answer. opened tells whether it needed a new connection.
func (c *connection) request() (opened bool, err error) {
	deadline := time.Now().Add(c.timeout)
	if c.conn == nil {
		opened = true
		dialer := net.Dialer{Deadline: deadline}
		if c.conn, err = dialer.Dial("tcp", c.address); err != nil {
			c.conn = nil
			return opened, err
		}
		c.reader = bufio.NewReader(c.conn)
	}
	if err := c.conn.SetDeadline(deadline); err != nil {
		c.close()
		return opened, err
	}
	req := &http.Request{Method: http.MethodGet, URL: c.target, Host: c.target.Host, Header: http.Header{}}
	if err := req.Write(c.conn); err != nil {
		c.close()
		return opened, err
	}
	resp, err := http.ReadResponse(c.reader, req)
	if err != nil {
		c.close()
		return opened, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		c.close()
		return opened, err
	}
	if resp.Close {
		c.close()
	}
	if resp.StatusCode != http.StatusOK {
		return opened, fmt.Errorf("%s: %s", c.target, resp.Status)
	}
	return opened, nil
}

func (c *connection) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn, c.reader = nil, nil
	}
}
