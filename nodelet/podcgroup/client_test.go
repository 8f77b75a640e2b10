package podcgroup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// client talks to a server over one connection until it is stopped, and checks each answer.
type client struct {
	answers atomic.Int64
	stopped atomic.Bool
	fresh   chan struct{} // capacity 1: there was an answer
	done    chan error
}

// talk asks until the client is stopped or an answer isn't as it should be.
func talk(ask func(n int) error) *client {
	c := &client{fresh: make(chan struct{}, 1), done: make(chan error, 1)}
	go func() {
		for n := 1; !c.stopped.Load(); n++ {
			if err := ask(n); err != nil {
				c.done <- fmt.Errorf("request %d: %w", n, err)
				return
			}
			c.answers.Add(1)
			select {
			case c.fresh <- struct{}{}:
			default:
			}
		}
		c.done <- nil
	}()
	return c
}

// more waits for an answer to a question that is asked from now on.
func (c *client) more(t *testing.T) {
	t.Helper()
	for range 3 { // one from before, one to what is on its way
		select {
		case <-c.fresh:
		case err := <-c.done:
			c.done <- err
			t.Fatal(err)
		case <-time.After(patience):
			t.Fatalf("no answer after %d", c.answers.Load())
		}
	}
}

func (c *client) stop(t *testing.T) {
	t.Helper()
	c.stopped.Store(true)
	if err := <-c.done; err != nil {
		t.Error(err)
	}
}

// talkRedis waits until a server listens, gives it 24 MiB to keep, and has it count and keep values.
func talkRedis(t *testing.T, addr string) *client {
	t.Helper()
	conn := dial(t, addr)
	t.Cleanup(func() { _ = conn.Close() })
	r := bufio.NewReader(conn)
	kept := make([]byte, mib)
	random := rand.NewChaCha8([32]byte{})
	for i := range 24 {
		_, _ = random.Read(kept)
		must(t, redisAsk(conn, r, "+OK\r\n", "SET", fmt.Sprintf("kept%d", i), string(kept)))
	}
	value := strings.Repeat("v", 4096)
	return talk(func(n int) error {
		return errors.Join(
			redisAsk(conn, r, fmt.Sprintf(":%d\r\n", n), "INCR", "n"),
			redisAsk(conn, r, "+OK\r\n", "SET", fmt.Sprintf("k%d", n%64), value),
			redisAsk(conn, r, fmt.Sprintf("$%d\r\n%s\r\n", len(value), value), "GET", fmt.Sprintf("k%d", n%64)),
		)
	})
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn
		}
		if !errors.Is(err, syscall.ECONNREFUSED) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// redisAsk sends one command and compares the answer.
func redisAsk(conn net.Conn, r *bufio.Reader, want string, words ...string) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := conn.Write(b.Bytes()); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("%s %s is answered with %.80q, not %.80q", words[0], words[1], got, want)
	}
	return nil
}

// talkHTTP asks a process for work.
func talkHTTP(t *testing.T, addr string, pid int) *client {
	t.Helper()
	conn := dial(t, addr)
	t.Cleanup(func() { _ = conn.Close() })
	r := bufio.NewReader(conn)
	return talk(func(n int) error {
		got, err := httpAsk(conn, r, fmt.Sprintf("http://%s/work?n=%d", addr, n))
		if want := fmt.Sprintf("%d %d ", n, pid); err == nil && !strings.HasPrefix(got, want) {
			err = fmt.Errorf("answered with %q, not %q", got, want)
		}
		return err
	})
}

// httpAsk uses the one connection, which http.Client may give up by itself.
func httpAsk(conn net.Conn, r *bufio.Reader, url string) (body string, err error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err == nil {
		err = req.Write(conn)
	}
	if err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && (resp.StatusCode != http.StatusOK || resp.Close) {
		err = fmt.Errorf("%s, connection to be closed: %v", resp.Status, resp.Close)
	}
	return string(b), err
}
