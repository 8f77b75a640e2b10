// Command init is the first process of a machine that package vm boots. The paths and the job's form are
// package vm's.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

type job struct {
	Args, Env    []string
	Await, Token string
}

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: only for the first process of a virtual machine")
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "init: %v\n", err) // the kernel's console, which vm.Run answers
	}
	unix.Sync()
	// Without reboots the emulator ends instead. A first process that ends would be a panic.
	panic(unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART))
}

func run() error {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"cgroup2", "/sys/fs/cgroup"},
	} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount of %s: %w", m.at, err)
		}
	}
	if err := loopback(); err != nil {
		return err
	}
	b, err := os.ReadFile("/job")
	if err != nil {
		return err
	}
	var job job
	if err := json.Unmarshal(b, &job); err != nil {
		return fmt.Errorf("/job: %w", err)
	}
	if err := await(job.Await); err != nil {
		return err
	}
	out, err := openRaw("/dev/ttyS1")
	if err != nil {
		return err
	}
	pulse, err := openRaw("/dev/ttyS2")
	if err != nil {
		return err
	}
	go beat(pulse)
	cmd := exec.Command("/program", job.Args...)
	cmd.Env = append([]string{"PATH=/", "HOME=/tmp", "TMPDIR=/tmp"}, job.Env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/tmp", out, out
	code := 0
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			return err
		}
		code = exit.ExitCode() // -1 after a signal
		fmt.Fprintln(out, "init: the program ended:", err)
	}
	if _, err := fmt.Fprintf(out, "%s %d\n", job.Token, code); err != nil {
		return err
	}
	return unix.IoctlSetInt(int(out.Fd()), unix.TCSBRK, 1) // wait until all has left
}

// beat says every few seconds that the machine goes on.
func beat(to *os.File) {
	for tick := time.Tick(5 * time.Second); ; <-tick {
		if _, err := to.WriteString("."); err != nil {
			fmt.Fprintf(os.Stderr, "init: pulse: %v\n", err)
			return
		}
	}
}

// loopback brings the machine's only network up.
func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	return nil
}

// await waits for a device: drivers look for theirs while the first process runs.
func await(device string) error {
	if device == "" {
		return nil
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(device); err == nil || time.Since(began) > 20*time.Second {
			return err
		}
	}
}

// openRaw opens a serial port and leaves what is written to it as it is.
func openRaw(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}
