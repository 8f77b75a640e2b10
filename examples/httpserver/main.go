// Command httpserver is a small HTTP server that does real work for each request, to see what more CPU
// does to it. It is static, has no dependencies, and runs as the only process of a container.
//
// GET / computes rounds of SHA-256 (WORK, or ?work=N) and answers who did it: process, host, count of
// requests and GOMAXPROCS. Go 1.25 and later derive GOMAXPROCS from the container's CPU limit and follow
// it while the program runs, within a second or so, so that it shows a resize; below 2 CPU it stays at 2.
// GET /healthz answers 200 while the process lives, GET /readyz only until it is asked to end.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// drainTime is how long requests in flight may take after SIGTERM.
const drainTime = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "httpserver:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends and the requests in flight are answered.
func run(ctx context.Context, env func(string) string, log *os.File) error {
	config, err := configure(env)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", config.address)
	if err != nil {
		return err
	}
	s := newServer(config.work)
	fmt.Fprintf(log, "listening on %s, process %d, %d rounds per request\n", listener.Addr(), os.Getpid(), config.work)
	if err := s.serve(ctx, listener, drainTime); err != nil {
		return err
	}
	fmt.Fprintf(log, "ended after %d requests\n", s.requests.Load())
	return nil
}
