package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// TestStreams goes into pods by exec, copies files and forwards ports.
func TestStreams(t *testing.T) {
	scenarios{
		"terminal":     execTerminal,
		"exec":         execPlain,
		"attach":       attachIsRefused,
		"copy":         copyFiles,
		"port-forward": portForward,
	}.run(t)
}

// openTerminal makes a pseudo terminal of a size.
func openTerminal(t *testing.T, rows, columns uint16) (outside, inside *os.File) {
	t.Helper()
	outside, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { outside.Close() }) //nolint:errcheck // it is over
	if err := unix.IoctlSetPointerInt(int(outside.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(outside.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	inside, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inside.Close() }) //nolint:errcheck // it is over
	resizeTerminal(t, outside, rows, columns)
	return outside, inside
}

func resizeTerminal(t *testing.T, terminal *os.File, rows, columns uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
}

// execTerminal works in a shell as a person does: with a terminal that has a size, changes it, and
// interrupts what runs.
func execTerminal(t *testing.T, ns string) {
	create(t, client, ns, shellPod("p", "exec sleep 100000"))
	outside, inside := openTerminal(t, 31, 97)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := command(ctx, shared, "kubectl", "-n", ns, "exec", "-it", "p", "--", "sh")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inside, inside, inside
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // of file 0
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	screen := &follow{more: make(chan struct{}, 1)}
	go io.Copy(screen, outside) //nolint:errcheck // it ends when the terminal is closed
	say := func(line string) {
		t.Helper()
		if _, err := outside.WriteString(line); err != nil {
			t.Fatal(err)
		}
	}
	screen.await(t, "# ")
	say("tty; echo $TERM; until [ \"$(stty size)\" = '31 97' ]; do sleep 0.1; done; echo $((6*7)) columns\n")
	screen.await(t, "42 columns")
	mustMatch(t, screen.String(), `/dev/pts/\d+\r\nxterm\r\n`)
	resizeTerminal(t, outside, 40, 120)
	say("until [ \"$(stty size)\" = '40 120' ]; do sleep 0.1; done; echo $((7*7)) resized\n")
	screen.await(t, "49 resized")
	// One process says that it waits and waits, so that it has the terminal by then.
	say("sh -c 'echo wait$((1)); exec sleep 1000'\n")
	screen.await(t, "wait1")
	say("\x03") // interrupts the sleep, not kubectl
	say("echo $((8*8)) interrupted\n")
	screen.await(t, "64 interrupted")
	say("exit 3\n")
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("kubectl exec -it ended with %v, not exit code 3\n%s", err, screen.String())
	}
}

func execPlain(t *testing.T, ns string) {
	pod := shellPod("p", "exec sleep 100000")
	pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "WORD", Value: "from the spec"}}
	pod.Spec.Containers[0].WorkingDir = "/tmp"
	pod.Spec.Containers = append(pod.Spec.Containers, shell("beside", "exec sleep 100000"))
	pod.Spec.Containers[1].SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64(1000))}
	create(t, client, ns, pod)
	equal(t, "environment and folder", inside(t, ns, "p", "echo $WORD; pwd; id -u"), "from the spec\n/tmp\n0\n")
	equal(t, "the other container's user", kubectl(t, "-n", ns, "exec", "p", "-c", "beside", "--", "id", "-u"), "1000\n")

	big := make([]byte, 8<<20)
	for i := range big {
		big[i] = byte(i * 7 >> 3)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := command(ctx, shared, "kubectl", "-n", ns, "exec", "-i", "p", "-q", "--", "sh", "-c", "cat; echo apart >&2")
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(big), &out, &errs
	if err := cmd.Run(); err != nil || sha256.Sum256(out.Bytes()) != sha256.Sum256(big) {
		t.Errorf("%d bytes came back of %d, %v", out.Len(), len(big), err)
	}
	equal(t, "stderr", errs.String(), "apart\n")

	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"p", "--", "no-such-program"}, 0, "no-such-program"},
		{[]string{"p", "-c", "none", "--", "true"}, 1, "container none is not valid for pod p"},
		{[]string{"none", "--", "true"}, 1, `pods "none" not found`},
		{[]string{"p", "-q", "--", "sh", "-c", "kill -KILL $$"}, 137, "137"},
	} {
		out, code := kubectlCode(t, "", append([]string{"-n", ns, "exec"}, c.args...)...)
		if code == 0 || c.code != 0 && code != c.code || !contains(out, c.says) {
			t.Errorf("exec %q: exit %d\n%s", c.args, code, out)
		}
	}
}

// attachIsRefused: what a client is told is that there is no such thing here.
func attachIsRefused(t *testing.T, ns string) {
	create(t, client, ns, shellPod("p", "exec sleep 100000"))
	out, code := kubectlCode(t, "", "-n", ns, "attach", "p")
	if code == 0 || !contains(out, "the server could not find the requested resource") && !contains(out, "attach is not supported") {
		t.Errorf("attach: exit %d\n%s", code, out)
	}
}

func copyFiles(t *testing.T, ns string) {
	create(t, client, ns, shellPod("p", "exec sleep 100000"))
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "there", "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("a line of a file\n"), 100_000)
	for _, name := range []string{"there/file", "there/deep/another"} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	kubectl(t, "-n", ns, "cp", filepath.Join(dir, "there"), "p:/tmp/there")
	equal(t, "files in the pod", inside(t, ns, "p", "cd /tmp/there; find . -type f | sort | xargs sha256sum | cut -c1-64,66-"),
		fmt.Sprintf("%x ./deep/another\n%x ./file\n", sha256.Sum256(content), sha256.Sum256(content)))
	kubectl(t, "-n", ns, "cp", "p:/tmp/there", filepath.Join(dir, "back"))
	for _, name := range []string{"back/file", "back/deep/another"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s came back with %d bytes, %v", name, len(got), err)
		}
	}
}

func portForward(t *testing.T, ns string) {
	pod := shellPod("p", `head -c 5000000 /dev/zero > /tmp/big; echo "$HOSTNAME serves" > /tmp/page; exec httpd -f -p 127.0.0.1:8080 -h /tmp`)
	create(t, client, ns, pod)
	forward := startFollowing(t, "kubectl", "-n", ns, "port-forward", "pod/p", ":8080", ":9")
	forward.await(t, "-> 9\n")
	ports := regexp.MustCompile(`Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)`).FindAllStringSubmatch(forward.String(), -1)
	if len(ports) != 2 || ports[0][2] != "8080" {
		t.Fatalf("port-forward says:\n%s", forward.String())
	}
	base := "http://127.0.0.1:" + ports[0][1]
	inside(t, ns, "p", "until wget -qO- http://127.0.0.1:8080/page; do sleep 0.1; done")
	for range 20 { // each a connection of its own
		equal(t, "page", served(t, base+"/page"), "p serves\n")
	}
	equal(t, "bytes of a large page", len(served(t, base+"/big")), 5_000_000)
	resp, err := http.Get(base + "/none")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close() //nolint:errcheck // it wasn't read
	equal(t, "status of a page that there isn't", resp.StatusCode, http.StatusNotFound)

	conn, err := net.Dial("tcp", "127.0.0.1:"+ports[1][1])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	forward.await(t, "connection refused")
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("a port that nobody listens on answers %d bytes, %v", n, err)
	}
}
