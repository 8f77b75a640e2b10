package vm

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// inside makes the test binary the program of the machine.
var inside = flag.String("inside", "", "what to do as the program of a machine")

func TestMain(m *testing.M) {
	flag.Parse()
	switch *inside {
	case "":
		os.Exit(m.Run())
	case "look":
		b, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
		fmt.Printf("pid1 %v, uid %d, controllers %s, %v\n", os.Getppid() == 1, os.Geteuid(), bytes.TrimSpace(b), err)
		disk, err := os.Stat(Disk)
		fmt.Printf("disk %v, %v\n", err == nil && disk.Mode()&os.ModeDevice != 0, err)
		file, err := os.ReadFile("/etc/of/the/test")
		fmt.Printf("file %q, %v\n", file, err)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		fmt.Printf("loopback %v\n", err)
		if err == nil {
			conn, err := net.Dial("tcp", listener.Addr().String())
			fmt.Printf("connection %v, %d CPUs\n", err, runtime.NumCPU())
			if err == nil {
				conn.Close()
			}
		}
		fmt.Printf("env %s, a line\r\nwith returns, and one without an end", os.Getenv("GREETING"))
		os.Exit(42)
	case "wait":
		fmt.Println("waits")
		select {}
	case "panic":
		// The kernel's own way to end without a result.
		if err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0); err != nil {
			panic(err)
		}
	}
}

func needVM(t *testing.T) (root string) {
	t.Helper()
	root, err := ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	var missing *MissingError
	if _, _, err := Find(root); errors.As(err, &missing) {
		t.Skip(missing)
	} else if err != nil {
		t.Fatal(err)
	}
	return root
}

// ownBinary compiles this test statically.
func ownBinary(t *testing.T, root string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "program")
	cmd := exec.Command("go", "test", "-c", "-o", to, "./internal/vm")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return to
}

func TestProgramRunsOnCgroup2(t *testing.T) {
	root := needVM(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("contents"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	began := time.Now()
	code, err := Run(t.Context(), Config{
		Root: root, Program: ownBinary(t, root), Args: []string{"-inside=look"}, Env: []string{"GREETING=good day"},
		Files: map[string]string{"/etc/of/the/test": file}, CPUs: 3, Disk: 8, Output: &out,
	})
	t.Logf("the machine ran for %v", time.Since(began).Round(time.Millisecond))
	if err != nil || code != 42 {
		t.Fatalf("got %d, %v:\n%s", code, err, out.String())
	}
	said := out.String()
	for _, want := range []string{"pid1 true, uid 0", " cpu ", " memory ", " pids", "disk true", "file \"contents\"", "connection <nil>, 3 CPUs", "env good day, a line\r\nwith returns, and one without an end"} {
		if !strings.Contains(said, want) {
			t.Errorf("the output lacks %q:\n%s", want, said)
		}
	}
}

func TestCrashIsAnErrorWithTheKernelsWords(t *testing.T) {
	root := needVM(t)
	_, err := Run(t.Context(), Config{Root: root, Program: ownBinary(t, root), Args: []string{"-inside=panic"}})
	if err == nil || !strings.Contains(err.Error(), "Kernel panic") {
		t.Fatalf("got %v", err)
	}
}

func TestEndOfContextEndsTheMachine(t *testing.T) {
	root := needVM(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Run(ctx, Config{Root: root, Program: ownBinary(t, root)})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestMissingNamesThePackage(t *testing.T) {
	bin, root := t.TempDir(), t.TempDir()
	t.Setenv("PATH", bin)
	missing := func(pkg string) {
		t.Helper()
		var missing *MissingError
		if _, err := Run(t.Context(), Config{Root: root}); !errors.As(err, &missing) || missing.Package != pkg {
			t.Errorf("got %v, want the package %s", err, pkg)
		}
	}
	missing("qemu-system-x86")
	if err := os.WriteFile(filepath.Join(bin, Emulator), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	missing("linux-image-cloud-amd64")
}

func TestResult(t *testing.T) {
	for _, c := range []struct {
		name, in, out string
		ended         bool
		code          int
		fails         bool
	}{
		{name: "plain", in: "a\nb\nTOKEN 3\n", out: "a\nb\n", ended: true, code: 3},
		{name: "after a line without an end", in: "a\nbTOKEN 0\n", out: "a\nb", ended: true},
		{name: "killed", in: "TOKEN -1\n", ended: true, code: -1},
		{name: "no last line", in: "a\n", out: "a\n"},
		{name: "cut short", in: "a\nTOKEN 1", out: "a\n"},
		{name: "no number", in: "TOKEN x\n", fails: true},
		{name: "another token", in: "TOKE 0\n", out: "TOKE 0\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			r := &result{token: "TOKEN", out: &out}
			for i := range len(c.in) { // the serial port gives any pieces
				if _, err := r.Write([]byte(c.in[i : i+1])); err != nil {
					t.Fatal(err)
				}
			}
			if out.String() != c.out || r.ended != c.ended || r.code != c.code || (r.err != nil) != c.fails {
				t.Errorf("got %q, ended %v, code %d, %v", out.String(), r.ended, r.code, r.err)
			}
		})
	}
}
