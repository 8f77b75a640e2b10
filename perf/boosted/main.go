// Command boosted is the server of `perf boost`: its container builds it at its start, and it says when it listens
// and when it is asked for the first time, in nanoseconds of Unix time.
package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: 8080}); err != nil {
		return err
	}
	if err := syscall.Listen(fd, 128); err != nil {
		return err
	}
	fmt.Println("listens", time.Now().UnixNano())
	for first := true; ; first = false {
		conn, _, err := syscall.Accept(fd)
		if err != nil {
			return err
		}
		if first {
			fmt.Println("asked", time.Now().UnixNano())
		}
		if err := syscall.Close(conn); err != nil {
			return err
		}
	}
}
