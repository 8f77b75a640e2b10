package containerd

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// proc is a process held by a pidfd, so that no signal reaches another one that got its number. It need
// not be our child.
type proc struct {
	pid   int
	fd    *os.File
	ended chan struct{} // closed when the process has ended, or was released
}

// watchProc holds a process. cmd is given for a child, which is then reaped.
func watchProc(pid int, cmd *exec.Cmd) (*proc, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	p := &proc{pid: pid, fd: os.NewFile(uintptr(fd), "pidfd"), ended: make(chan struct{})}
	raw, err := p.fd.SyscallConn()
	if err != nil {
		p.release()
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	go func() {
		defer close(p.ended)
		// A pidfd becomes readable at the end of its process; closing it ends the wait as well.
		err := raw.Read(func(fd uintptr) bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return err == nil && n > 0
		})
		if err == nil && cmd != nil {
			cmd.Wait() //nolint:errcheck // how it ended is in its log
		}
	}()
	return p, nil
}

// kill sends a signal; a process that has ended gets none.
func (p *proc) kill(sig unix.Signal) {
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) { //nolint:errcheck // it was closed
		unix.PidfdSendSignal(int(fd), sig, nil, 0) //nolint:errcheck // it has ended
	})
}

// release lets go of the process.
func (p *proc) release() {
	p.fd.Close() //nolint:errcheck // nothing was written
}
