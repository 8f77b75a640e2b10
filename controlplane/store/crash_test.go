package store

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
	"swell.dev/swell/internal/etcd"
)

// crashDir makes the test binary a writer that is killed.
const crashDir = "SWELL_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := writeUntilKilled(dir, os.Getenv(crashDir+"_ROUND")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeUntilKilled prints the name and version of each object that was committed, after it was.
func writeUntilKilled(dir, round string) error {
	server, err := etcd.Start(context.Background(), etcd.Config{Dir: dir, MinFreeBytes: 1})
	if err != nil {
		return err
	}
	s, err := Open(context.Background(), config(server.Client()))
	if err != nil {
		return err
	}
	errs := make(chan error)
	for w := range 16 {
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("r%s-w%d-%d", round, w, i)
				o, err := s.Commit(context.Background(), controlplane.Mutation{Key: mapKey(name), Change: set(configMap(name, "x"))})
				if err != nil {
					errs <- err
					return
				}
				fmt.Printf("%s %s\n", name, o.GetResourceVersion()) // one write call, so a line is whole
			}
		}()
	}
	return <-errs
}

// TestKilledProcessLosesNothing kills the process with the embedded etcd while it writes. What was
// answered must be there afterwards, under the same version, and the next process must lead at once.
func TestKilledProcessLosesNothing(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	answered := map[string]string{}
	for round := range 4 {
		child := exec.Command(exe)
		child.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprintf("%s_ROUND=%d", crashDir, round))
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		var kill sync.Once
		end := func() { kill.Do(func() { child.Process.Signal(syscall.SIGKILL); child.Wait() }) }
		defer end()
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			var name, version string
			if _, err := fmt.Sscan(lines.Text(), &name, &version); err != nil {
				break // cut by the kill
			}
			answered[name] = version
			if n == 500+round*37 {
				child.Process.Signal(syscall.SIGKILL)
			}
		}
		end()

		began := time.Now()
		server, err := etcd.Start(t.Context(), etcd.Config{Dir: dir, MinFreeBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, config(server.Client()))
		t.Logf("round %d: %d answered, back after %v", round, len(answered), time.Since(began))
		for name, version := range answered {
			o, ok := s.Get(mapKey(name))
			if !ok || o.GetResourceVersion() != version || o.(*corev1.ConfigMap).Data["v"] != "x" {
				t.Fatalf("%s at %s: %v, %v", name, version, o, ok)
			}
		}
		s.Close()
		server.Close()
	}
}
