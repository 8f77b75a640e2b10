package console

import (
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Size is a terminal's size in characters.
type Size struct{ Width, Height uint16 }

// Raw is a terminal that passes every key to a remote program, and tells its size when that changes.
type Raw struct {
	sizes   chan Size
	restore func() error
	stop    chan struct{}
	wait    sync.WaitGroup
	once    sync.Once
	err     error
}

// MakeRaw puts the terminal into raw mode until Close.
func MakeRaw(terminal *os.File) (*Raw, error) {
	fd := int(terminal.Fd())
	state, err := term.MakeRaw(fd)
	if err != nil {
		return nil, err
	}
	r := &Raw{
		sizes:   make(chan Size, 1),
		restore: func() error { return term.Restore(fd, state) },
		stop:    make(chan struct{}),
	}
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	r.wait.Go(func() {
		defer signal.Stop(changed)
		defer close(r.sizes)
		for {
			if w, h, err := term.GetSize(fd); err == nil {
				// Only the newest size counts: replace one that nobody fetched.
				select {
				case <-r.sizes:
				default:
				}
				r.sizes <- Size{Width: uint16(w), Height: uint16(h)}
			}
			select {
			case <-changed:
			case <-r.stop:
				return
			}
		}
	})
	return r, nil
}

// Sizes delivers the size now and at each change; it is closed by Close.
func (r *Raw) Sizes() <-chan Size { return r.sizes }

// Close gives the terminal its former mode back.
func (r *Raw) Close() error {
	r.once.Do(func() {
		close(r.stop)
		r.wait.Wait()
		r.err = r.restore()
	})
	return r.err
}
