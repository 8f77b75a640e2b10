// Command demo shows Swell's main job on a real container: a pod is created through the REST API,
// resized while it serves a load, and billed. It starts and removes everything itself and ends with an
// error if any of what it claims did not hold.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"swell.dev/swell/internal/instance"
)

func main() {
	var cfg config
	flag.StringVar(&cfg.bin, "bin", "bin", "folder of swell, containerd, runc and the example server")
	flag.DurationVar(&cfg.load, "load", 5*time.Second, "how long to load each size")
	flag.BoolVar(&cfg.verbose, "v", false, "show what swell up prints")
	flag.StringVar(&cfg.picture, "picture", "", "draw what is printed into this SVG file too")
	flag.Parse()
	if cfg.picture != "" {
		out = io.MultiWriter(os.Stdout, &printed)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, cfg)
	stop()
	if err == nil && cfg.picture != "" {
		err = os.WriteFile(cfg.picture, picture("make demo", printed.String()), 0o644)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	}
}

// What the demo prints goes to out; printed keeps it where a picture is wanted.
var (
	out     io.Writer = os.Stdout
	printed bytes.Buffer
)

type config struct {
	bin     string
	load    time.Duration
	verbose bool
	picture string
}

// run brings Swell up under a temporary directory, shows the job, and takes everything down again.
func run(ctx context.Context, cfg config) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("containers need root: run it as root, for example with sudo make demo")
	}
	bin, err := filepath.Abs(cfg.bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "swell-demo-")
	if err != nil {
		return err
	}
	up := instance.Config{
		Binary:  filepath.Join(bin, "swell"),
		DataDir: filepath.Join(dir, "data"),
	}
	if runtime.NumCPU() < 2 {
		up.Args = []string{"--capacity", "cpu=2"} // it shows a resize to 2 CPU
	}
	if cfg.verbose {
		up.Output = os.Stderr
	}
	in, err := instance.New(up)
	if err != nil {
		return err
	}
	defer func() {
		// Also after a Ctrl-C, so not under ctx.
		down, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		derr := in.Down(down)
		if derr == nil {
			derr = os.RemoveAll(dir)
		}
		if err = errors.Join(err, derr); err == nil {
			say("removed  the pod, the network, the cgroups and the data directory are gone")
			fmt.Fprintln(out, "\nEverything held.")
		}
	}()

	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	began := time.Now()
	if err := in.Start(starting); err != nil {
		return err
	}
	say("up       etcd, control plane, nodelet and containerd in %s, data in %s", ms(time.Since(began)), dir)
	return (&show{cfg: cfg, bin: bin, in: in}).run(ctx)
}

func say(format string, args ...any) { fmt.Fprintf(out, "  "+format+"\n", args...) }

func ms(d time.Duration) string {
	if d >= 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
