package podcgroup

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"swell.dev/swell/cgroups"
	"swell.dev/swell/internal/vm"
)

// Programs that the test binary is in a container, by an environment variable. They end with their stdin.
const (
	holdEnv  = "SWELL_PODCGROUP_HOLD"  // takes as many MiB as each line says, of the kind that the variable says, and answers "held"
	execEnv  = "SWELL_PODCGROUP_EXEC"  // becomes the command line that it reads, in the cgroup that it is in by then
	serveEnv = "SWELL_PODCGROUP_SERVE" // a web server that holds so many MiB and says its address
)

// redisEnv is below which folder redis-server is unpacked; where it isn't set, where make has it.
const redisEnv = "SWELL_PODCGROUP_REDIS"

func TestMain(m *testing.M) {
	var err error
	switch {
	case os.Getenv(holdEnv) != "":
		err = hold()
	case os.Getenv(execEnv) != "":
		err = become()
	case os.Getenv(serveEnv) != "":
		err = serve(os.Getenv(serveEnv))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func hold() error {
	for {
		var n int
		if _, err := fmt.Scanln(&n); err != nil {
			return nil //nolint:nilerr // the end of stdin is the process's
		}
		var err error
		var held []byte
		switch kind := os.Getenv(holdEnv); kind {
		case pipes:
			err = fillPipes(n)
		case sockets:
			err = openSockets(n)
		default:
			held, err = ballast(n)
		}
		if err != nil {
			return err
		}
		fmt.Println("held")
		for os.Getenv(holdEnv) == touched {
			for i := 0; i < len(held); i += os.Getpagesize() {
				held[i]++
			}
		}
	}
}

// ballast takes so many MiB for good.
func ballast(n int) ([]byte, error) {
	b, err := syscall.Mmap(-1, 0, n*mib, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	for i := range b {
		b[i] = 1
	}
	return b, err
}

// become reads the line byte by byte: what is behind it is the program's.
func become() error {
	var line []byte
	for b := make([]byte, 1); b[0] != '\n'; {
		if _, err := os.Stdin.Read(b); err != nil {
			return err
		}
		line = append(line, b[0])
	}
	words := strings.Split(strings.TrimSuffix(string(line), "\n"), " ")
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, execEnv+"=") })
	return syscall.Exec(words[0], words, env)
}

// serve answers requests with work: garbage for the collector, and a sum over it.
func serve(size string) error {
	n, err := strconv.Atoi(size)
	if err == nil {
		_, err = ballast(n)
	}
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	http.HandleFunc("/work", func(w http.ResponseWriter, r *http.Request) {
		var sum [sha256.Size]byte
		for i := range 16 {
			garbage := make([]byte, 64<<10)
			garbage[i] = byte(i)
			sum = sha256.Sum256(garbage[:1<<10])
		}
		fmt.Fprintf(w, "%s %d %x", r.FormValue("n"), os.Getpid(), sum[:4])
	})
	http.HandleFunc("/gomaxprocs", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, runtime.GOMAXPROCS(0)) })
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return http.Serve(l, nil) //nolint:gosec // of a test, whose clients are its own
}

// startIn runs a process that holds memory.
func startIn(t *testing.T, g *cgroups.Group, hold int) *exec.Cmd {
	t.Helper()
	return startHolding(t, g, plain, hold)
}

// startHolding runs a process that holds memory of a kind.
func startHolding(t *testing.T, g *cgroups.Group, kind string, hold int) *exec.Cmd {
	t.Helper()
	cmd, _, out := startSelf(t, g, fmt.Sprint(hold), holdEnv+"="+kind)
	if line, err := out.ReadString('\n'); line != "held\n" {
		t.Fatalf("the process didn't get its memory: %q, %v", line, err)
	}
	return cmd
}

// startSelf runs the test binary as one of the programs above. It ends with the test.
func startSelf(t *testing.T, g *cgroups.Group, line string, env ...string) (cmd *exec.Cmd, in io.Writer, out *bufio.Reader) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe")
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GOMAXPROCS=") })
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	must(t, g.Add(cmd.Process.Pid))
	_, err = fmt.Fprintln(in, line)
	must(t, err)
	return cmd, in, bufio.NewReader(stdout)
}

// startServer runs the web server in a group and answers its address.
func startServer(t *testing.T, g *cgroups.Group, hold int) (cmd *exec.Cmd, addr string) {
	t.Helper()
	cmd, _, out := startSelf(t, g, "/proc/self/exe", execEnv+"=1", fmt.Sprintf("%s=%d", serveEnv, hold))
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("the server doesn't say where it listens: %v", err)
	}
	return cmd, strings.TrimSpace(line)
}

// startRedis runs Debian's redis-server in a group and answers its address. It may not listen yet.
func startRedis(t *testing.T, g *cgroups.Group) (cmd *exec.Cmd, addr string) {
	t.Helper()
	root, ok := os.LookupEnv(redisEnv)
	if !ok {
		module, err := vm.ModuleRoot()
		must(t, err)
		root = filepath.Join(module, ".cache/debian/redis-server")
	}
	program := filepath.Join(root, "/usr/bin/redis-server")
	if _, err := os.Stat(program); errors.Is(err, os.ErrNotExist) {
		t.Skip(&vm.MissingError{What: program, Package: "redis-server"})
	} else {
		must(t, err)
	}
	libraries, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu*"))
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr = l.Addr().String()
	must(t, l.Close()) // which nobody else is given soon
	_, port, err := net.SplitHostPort(addr)
	must(t, err)
	cmd, _, _ = startSelf(t, g, program+" --bind 127.0.0.1 --save  --appendonly no --port "+port, execEnv+"=1", "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
	return cmd, addr
}
