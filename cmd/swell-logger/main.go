// Command swell-logger writes one container's output to a log in CRI format. containerd's shim starts
// it for each container from a binary:// URI, with the container's stdout and stderr as files 3 and 4
// and a pipe to say that it is ready as file 5. It is the shim's child: it lives as long as the
// container, whatever becomes of the nodelet.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"swell.dev/swell/internal/crilog"
)

// drainFor is how long after SIGTERM what is still in the pipes is read. The shim sends it when the
// container is deleted, and kills after twelve seconds; the pipes end by then unless a process that
// left the container keeps them open.
const drainFor = 2 * time.Second

func main() {
	// One runs beside every container: it must cost little.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(20)
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "swell-logger:", err)
		os.Exit(1)
	}
}

func run() error {
	path := flag.String("path", "", "log file")
	maxBytes := flag.Int64("max-bytes", crilog.DefaultMaxBytes, "size in bytes at which the file is rotated")
	maxFiles := flag.Int("max-files", crilog.DefaultMaxFiles, "files to keep, the current one included")
	flag.Parse()
	if *path == "" {
		return fmt.Errorf("--path is missing")
	}
	inputs := map[crilog.Stream]*os.File{}
	for stream, fd := range map[crilog.Stream]int{crilog.Stdout: 3, crilog.Stderr: 4} {
		// Only a descriptor that doesn't block takes a read deadline.
		if err := unix.SetNonblock(fd, true); err != nil {
			return fmt.Errorf("%s: %w", stream, err)
		}
		inputs[stream] = os.NewFile(uintptr(fd), string(stream))
	}
	w, err := crilog.NewWriter(*path, *maxBytes, *maxFiles)
	if err != nil && w == nil {
		return err
	}
	// A log that can't be opened now is tried again at each write; the container runs meanwhile.
	if err := os.NewFile(5, "ready").Close(); err != nil {
		return fmt.Errorf("ready pipe: %w", err)
	}

	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	signal.Ignore(unix.SIGINT, unix.SIGHUP)
	go func() {
		<-term
		for _, in := range inputs {
			in.SetReadDeadline(time.Now().Add(drainFor)) //nolint:errcheck // a pipe that has ended takes none
		}
	}()
	var copies sync.WaitGroup
	for stream, in := range inputs {
		copies.Go(func() {
			w.Copy(stream, in) //nolint:errcheck // the deadline's or the pipe's end
		})
	}
	copies.Wait()
	return w.Close()
}
