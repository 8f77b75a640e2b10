package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"github.com/vishvananda/netns"

	nodev1 "swell.dev/swell/api/node/v1"
)

// forwardExchange connects to a port of a pod. Each side may end its direction by itself.
type forwardExchange struct {
	d  Deps
	r  *nodev1.PortForwardRequest
	in input
}

func newForward(d Deps, r *nodev1.PortForwardRequest) *forwardExchange {
	return &forwardExchange{d: d, r: r, in: newInput()}
}

func (x *forwardExchange) take(f *nodev1.Frame) { x.in.take(f) }

func (x *forwardExchange) run(ctx context.Context, out *sender) (int32, error) {
	stopInput := x.in.endWith(ctx)
	defer stopInput()
	if x.r.Port < 1 || x.r.Port > 65535 {
		return 0, badRequest{fmt.Errorf("port %d: not between 1 and 65535", x.r.Port)}
	}
	_, ns, err := x.d.FindContainer(ctx, x.r.PodUid, "", false)
	if err != nil {
		return 0, err
	}
	conn, err := dialInside(ctx, ns, net.JoinHostPort("127.0.0.1", strconv.Itoa(int(x.r.Port))))
	if err != nil {
		return 0, fmt.Errorf("port %d: %w", x.r.Port, err)
	}
	undo := context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // the copying tells
	defer undo()
	var toPod sync.WaitGroup
	toPod.Go(func() {
		if _, err := io.Copy(conn, x.in.r); err != nil {
			x.in.r.CloseWithError(err) //nolint:errcheck // it always succeeds
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.CloseWrite() //nolint:errcheck // the pod has closed it already
		}
	})
	to := channel{out, stdout}
	_, err = io.Copy(to, conn)
	if errors.Is(err, syscall.ECONNRESET) {
		err = nil // a process that closes with input unread; to clients an error would end all their connections
	}
	// The pod has said all it will; what is still sent to it has nobody to answer it.
	stopInput()
	err = errors.Join(err, conn.Close())
	toPod.Wait()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if err != nil {
		return 0, fmt.Errorf("port %d: %w", x.r.Port, err)
	}
	return 0, to.eof()
}

// dialInside connects from within a network namespace, the host's where the path is empty. The
// connection stays in it.
func dialInside(ctx context.Context, path, addr string) (net.Conn, error) {
	var dialer net.Dialer
	if path == "" {
		return dialer.DialContext(ctx, "tcp4", addr)
	}
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// Its thread is in another namespace afterwards. It isn't unlocked, so it ends with the goroutine.
		runtime.LockOSThread()
		ns, err := netns.GetFromPath(path)
		if err != nil {
			done <- result{err: fmt.Errorf("network namespace %s: %w", path, err)}
			return
		}
		defer ns.Close() //nolint:errcheck // nothing was written
		if err := netns.Set(ns); err != nil {
			done <- result{err: fmt.Errorf("network namespace %s: %w", path, err)}
			return
		}
		// A dial to one address makes its socket on the calling thread.
		conn, err := dialer.DialContext(ctx, "tcp4", addr)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}
