// Command swell-hold is the first process of a container that was made ahead of its pod. It waits until it
// is told what to run and becomes that: same process, user, rights and streams. See package gate.
package main

import (
	"errors"
	"os"
	"runtime/debug"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"swell.dev/swell/internal/gate"
)

// Codes of an end that nobody should see.
const (
	exitNoGate = 125
	exitFailed = 128 // as a container that can't be started has it
)

func main() {
	debug.SetGCPercent(-1) // it reads one request and is gone
	// Open for both ways, neither of them ends while this waits. Both close when this becomes the command, and
	// nothing else of the folder is needed by then.
	request, err := open(gate.Request)
	if err != nil {
		os.Exit(exitNoGate)
	}
	answer, err := open(gate.Answer)
	if err != nil {
		os.Exit(exitNoGate)
	}
	say(answer, string(gate.Ready))
	p, err := gate.Decode(request)
	if err != nil {
		os.Exit(exitNoGate)
	}
	if err := become(p); err != nil {
		say(answer, err.Error())
		os.Exit(exitFailed)
	}
}

// pipe reads and writes without Go's poller, which would cost a thread.
type pipe int

func open(name string) (pipe, error) {
	for {
		fd, err := unix.Open(gate.Dir+"/"+name, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return pipe(fd), err
		}
	}
}

func (p pipe) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(p), b)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), err
		}
	}
}

// say tells the nodelet. It fits into the pipe, whether or not anybody is there to hear it.
func say(p pipe, text string) {
	unix.Write(int(p), []byte(text[:min(len(text), 4096)])) //nolint:errcheck // see above
}

// withHome adds the user's home, which runc has found out, where the environment has none.
func withHome(env []string) []string {
	for i, kv := range env {
		if kv == "HOME=" {
			env[i] = kv + os.Getenv("HOME")
		}
		if strings.HasPrefix(kv, "HOME=") {
			return env
		}
	}
	return append(env, "HOME="+os.Getenv("HOME"))
}

// become answers only if it can't.
func become(p gate.Process) error {
	path, err := gate.LookPath(p.Args[0], p.Env)
	if err != nil {
		return err
	}
	p.Env = withHome(p.Env)
	return &os.PathError{Op: "exec", Path: path, Err: syscall.Exec(path, p.Args, p.Env)}
}
