package throttle

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"swell.dev/swell/cgroups"
)

// MemoryWatcher tells that groups have come near to their memory limits, with the kernel's own events: nothing is
// polled. What waits there waits for a guard's sake (cgroups.Group.GuardMemory).
type MemoryWatcher struct {
	epoll, wake int

	mu     sync.Mutex // guards what follows
	alarms map[int32]alarm
	closed bool
}

// alarm is one file's.
type alarm struct {
	*cgroups.MemoryAlarm
	key string
}

// OpenMemory makes one that watches nothing yet.
func OpenMemory() (*MemoryWatcher, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memory events: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("memory events: %w", err), unix.Close(epoll))
	}
	w := &MemoryWatcher{epoll: epoll, wake: wake, alarms: map[int32]alarm{}}
	if err := w.add(wake, unix.EPOLLIN); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *MemoryWatcher) add(fd int, events uint32) error {
	if err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("memory events: %w", err)
	}
	return nil
}

// Watch takes an alarm over and tells of it by a key, until Unwatch of that key, which may have several.
func (w *MemoryWatcher) Watch(key string, a *cgroups.MemoryAlarm) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	fds, events := a.Files()
	for _, fd := range fds {
		if err := w.add(fd, events); err != nil {
			return errors.Join(err, a.Close())
		}
		w.alarms[int32(fd)] = alarm{a, key}
	}
	return nil
}

// Unwatch ends all alarms of a key.
func (w *MemoryWatcher) Unwatch(key string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropLocked(func(of string) bool { return of == key })
}

func (w *MemoryWatcher) dropLocked(which func(key string) bool) error {
	var errs []error
	for fd, a := range w.alarms {
		if which(a.key) {
			delete(w.alarms, fd)
			errs = append(errs, a.Close()) // of its second file does nothing
		}
	}
	return errors.Join(errs...)
}

// Run calls tell with the key of each alarm until ctx ends, on a thread of its own that comes before others, as
// Watcher.Run does. It is called once.
func (w *MemoryWatcher) Run(ctx context.Context, tell func(key string)) error {
	defer context.AfterFunc(ctx, w.stop)()
	return onRaisedThread(func() error { return w.loop(ctx, tell) })
}

func (w *MemoryWatcher) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(w.wake, one[:]) // it is full: Run is awake already
}

func (w *MemoryWatcher) loop(ctx context.Context, tell func(key string)) error {
	var events [16]unix.EpollEvent
	for ctx.Err() == nil {
		n, err := unix.EpollWait(w.epoll, events[:], -1)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("memory events: %w", err)
		}
		for _, e := range events[:n] {
			if key, ok := w.clear(e.Fd); ok {
				tell(key)
			}
		}
	}
	return nil
}

// clear answers whose alarm a file was. A group that is gone has its last alarm with its removal.
func (w *MemoryWatcher) clear(fd int32) (key string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.alarms[fd]
	if !ok {
		return "", false // unwatched meanwhile, or the end
	}
	alarmed, err := a.Clear(int(fd))
	if err != nil {
		_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, int(fd), nil) // or it would come again and again
		return "", false
	}
	return a.key, alarmed
}

// Close ends all alarms. Run has ended.
func (w *MemoryWatcher) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	err := w.dropLocked(func(string) bool { return true })
	return errors.Join(err, unix.Close(w.wake), unix.Close(w.epoll))
}
