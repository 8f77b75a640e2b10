package vm

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Emulator is what the machine runs in.
const Emulator = "qemu-system-x86_64"

// Disk is where the machine has its disk, if it has one.
const Disk = "/dev/nvme0n1"

// kernels is where make puts the kernel, from the module's root.
const kernels = ".cache/debian/linux-image-cloud-amd64/boot/vmlinuz-*"

// MissingError is something that the machine needs and the host lacks.
type MissingError struct {
	What    string
	Package string // of Debian, which has it
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("vm: %s is missing: make test-deps gets it from the Debian package %s", e.What, e.Package)
}

// Config says what to run.
type Config struct {
	Root    string   // the module's
	Program string   // a static binary, copied into the machine
	Args    []string // of the program
	Env     []string
	Files   map[string]string // further ones, by their absolute path in the machine: where they are on this host
	CPUs    int               // 2 if 0
	Memory  int               // MiB; 512 if 0
	Disk    int64             // MiB of a blank disk at the path Disk; none if 0
	Kernel  []string          // further words of the kernel's command line
	Output  io.Writer

	silence time.Duration // that of the package if 0
}

// Find answers the paths of the emulator and of a kernel, or a MissingError.
func Find(root string) (emulator, kernel string, err error) {
	if emulator, err = exec.LookPath(Emulator); err != nil {
		return "", "", &MissingError{Emulator, "qemu-system-x86"}
	}
	found, err := filepath.Glob(filepath.Join(root, kernels))
	if err != nil || len(found) == 0 {
		return "", "", errors.Join(err, &MissingError{"a kernel at " + kernels, "linux-image-cloud-amd64"})
	}
	return emulator, found[len(found)-1], nil
}

// ErrLockup is a kernel one of whose CPUs got nowhere for two minutes, as it says itself or as its silence does, which
// happens to an emulated one once in a while.
var ErrLockup = errors.New("the kernel has locked up")

// Run boots a machine, runs the program in it as root on cgroup v2, copies to Output what it prints as it
// comes, and answers its exit code. A machine that ends without one is an error with the kernel's last
// words.
func Run(ctx context.Context, cfg Config) (code int, err error) {
	emulator, kernel, err := Find(cfg.Root)
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "swell-vm-")
	if err != nil {
		return 0, fmt.Errorf("vm: %w", err)
	}
	defer os.RemoveAll(dir)
	initBinary, image, console, pulse := filepath.Join(dir, "init"), filepath.Join(dir, "image"), filepath.Join(dir, "console"), filepath.Join(dir, "pulse")
	if err := buildInit(cfg.Root, initBinary); err != nil {
		return 0, err
	}
	j := job{Args: cfg.Args, Env: cfg.Env, Token: rand.Text()}
	var disk []string
	if cfg.Disk > 0 {
		file := filepath.Join(dir, "disk")
		if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, cfg.Disk<<20)); err != nil {
			return 0, fmt.Errorf("vm: disk: %w", err)
		}
		// Debian's kernel has this one's driver built in.
		disk = []string{"-drive", "if=none,id=disk,format=raw,file=" + file, "-device", "nvme,serial=swell,drive=disk"}
		j.Await = Disk
	}
	if err := writeImage(image, initBinary, cfg, j); err != nil {
		return 0, fmt.Errorf("vm: initramfs: %w", err)
	}
	memory, cpus := cmp.Or(cfg.Memory, 512), cmp.Or(cfg.CPUs, 2)
	words := append([]string{
		"console=ttyS0", "quiet", "panic=-1", "softlockup_panic=1", "watchdog_thresh=60", "psi=1", "cgroup_no_v1=all", "systemd.unified_cgroup_hierarchy=1",
	}, cfg.Kernel...)
	running, end := context.WithCancel(ctx)
	defer end()
	cmd := exec.CommandContext(running, emulator, append(disk,
		"-accel", "tcg", "-nodefaults", "-nographic", "-no-reboot", "-m", strconv.Itoa(memory), "-smp", strconv.Itoa(cpus),
		"-serial", "file:"+console, "-serial", "stdio", "-serial", "file:"+pulse,
		"-kernel", kernel, "-initrd", image, "-append", strings.Join(words, " "))...)
	result := &result{token: j.Token, out: cfg.Output}
	var complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = result, &complaints
	hung := make(chan bool, 1)
	go func() {
		silent := listen(running, pulse, cmp.Or(cfg.silence, silence), time.Second)
		end()
		hung <- silent
	}()
	err = cmd.Run()
	end()
	silent := <-hung
	if result.ended {
		return result.code, nil
	}
	said, rerr := os.ReadFile(console)
	if rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	if silent || bytes.Contains(said, []byte("soft lockup")) {
		err = errors.Join(ErrLockup, err)
	}
	return 0, fmt.Errorf("vm: the machine ended without a result: %w; %s; the kernel's last words:\n%s", errors.Join(err, result.err), complaints.String(), tail(said, 4000))
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
