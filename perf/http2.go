package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Conn posts over one HTTP/2 connection that all share. Requests that come while one is written go
// out together with the next write.
type http2Conn struct {
	conn    net.Conn
	fields  []byte // a request's header block: literals alone, so that it is the same each time
	ended   chan struct{}
	written *sync.Cond // of mu: the window grew, or the connection ended

	mu       sync.Mutex // guards what follows
	framer   *http2.Framer
	out      bytes.Buffer // what the framer writes
	spare    []byte
	writing  bool
	next     uint32 // stream
	waiting  map[uint32]*exchange
	window   int64 // bytes of bodies that the server takes on this connection
	stream   int64 // and on each stream
	streams  uint32
	consumed uint32 // bytes of answers that the server wasn't told of
	err      error
}

type exchange struct {
	status int
	body   []byte
	done   chan error // capacity 1
}

var exchanges = sync.Pool{New: func() any { return &exchange{done: make(chan error, 1)} }}

// window2 is what we let the server send without being told that it was read.
const window2 = 1 << 30

func dialHTTP2(ctx context.Context, config *tls.Config, addr string, fields []hpack.HeaderField) (*http2Conn, error) {
	config = config.Clone()
	config.NextProtos = []string{http2.NextProtoTLS}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &http2Conn{conn: conn, ended: make(chan struct{}), next: 1, waiting: map[uint32]*exchange{}, window: 65535, stream: 65535, streams: 100}
	c.written = sync.NewCond(&c.mu)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	encoder.SetMaxDynamicTableSize(0)
	for _, f := range fields {
		f.Sensitive = true // never indexed
		if err := encoder.WriteField(f); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	c.fields = block.Bytes()
	c.framer = http2.NewFramer(&c.out, bufio.NewReaderSize(conn, 64<<10))
	c.framer.SetReuseFrames()
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.out.WriteString(http2.ClientPreface)
	err = errors.Join(
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: window2}),
		c.framer.WriteWindowUpdate(0, window2),
	)
	c.mu.Lock()
	c.flushLocked()
	c.mu.Unlock()
	go c.read()
	return c, errors.Join(err, c.err)
}

func (c *http2Conn) close() error {
	err := c.conn.Close()
	<-c.ended
	return err
}

func (c *http2Conn) post(ctx context.Context, body []byte, read func(status int, body []byte) error) error {
	x := exchanges.Get().(*exchange)
	x.status, x.body = 0, x.body[:0]
	c.mu.Lock()
	for c.err == nil && (c.window < int64(len(body)) || c.stream < int64(len(body)) || uint32(len(c.waiting)) >= c.streams) {
		c.written.Wait()
	}
	if err := c.err; err != nil {
		c.mu.Unlock()
		return err
	}
	id := c.next
	c.next += 2
	c.window -= int64(len(body))
	c.waiting[id] = x
	err := errors.Join(
		c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.fields, EndHeaders: true}),
		c.framer.WriteData(id, true, body),
	)
	c.flushLocked()
	c.mu.Unlock()
	if err == nil {
		err = <-x.done
	}
	if err != nil {
		return err
	}
	err = read(x.status, x.body)
	exchanges.Put(x)
	return err
}

// flushLocked writes what is there, unless somebody writes already, who will.
func (c *http2Conn) flushLocked() {
	if c.writing {
		return
	}
	c.writing = true
	for c.out.Len() > 0 && c.err == nil {
		c.spare = append(c.spare[:0], c.out.Bytes()...)
		c.out.Reset()
		c.mu.Unlock()
		_, err := c.conn.Write(c.spare)
		c.mu.Lock()
		if err != nil {
			c.failLocked(err)
		}
	}
	c.writing = false
}

func (c *http2Conn) failLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	for _, x := range c.waiting {
		x.done <- err
	}
	c.waiting = nil
	c.written.Broadcast()
}

func (c *http2Conn) read() {
	defer close(c.ended)
	for {
		frame, err := c.framer.ReadFrame()
		c.mu.Lock()
		if err == nil {
			err = c.heardLocked(frame)
		}
		c.flushLocked()
		if err != nil {
			c.failLocked(err)
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (c *http2Conn) heardLocked(frame http2.Frame) error {
	x := c.waiting[frame.Header().StreamID]
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		if x != nil && x.status == 0 {
			status, err := strconv.Atoi(f.PseudoValue("status"))
			if err != nil {
				return err
			}
			x.status = status
		}
		if f.StreamEnded() {
			c.answeredLocked(f.StreamID, nil)
		}
	case *http2.DataFrame:
		if x != nil {
			x.body = append(x.body, f.Data()...)
		}
		if f.StreamEnded() {
			c.answeredLocked(f.StreamID, nil)
		}
		if c.consumed += f.Length; c.consumed >= window2/2 {
			n := c.consumed
			c.consumed = 0
			return c.framer.WriteWindowUpdate(0, n)
		}
	case *http2.RSTStreamFrame:
		c.answeredLocked(f.StreamID, fmt.Errorf("stream reset: %s", f.ErrCode))
	case *http2.GoAwayFrame:
		return fmt.Errorf("server goes away: %s", f.ErrCode)
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.window += int64(f.Increment)
			c.written.Broadcast()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return c.framer.WritePing(true, f.Data)
		}
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			c.stream = int64(v)
		}
		if v, ok := f.Value(http2.SettingMaxConcurrentStreams); ok {
			c.streams = v
		}
		c.written.Broadcast()
		return c.framer.WriteSettingsAck()
	}
	return nil
}

func (c *http2Conn) answeredLocked(id uint32, err error) {
	if x := c.waiting[id]; x != nil {
		delete(c.waiting, id)
		x.done <- err
		c.written.Signal()
	}
}
