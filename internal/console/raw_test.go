package console

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// openPTY answers both ends of a new pseudo-terminal.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		t.Skip("needs pseudo-terminals: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func TestRaw(t *testing.T) {
	master, slave := openPTY(t)
	resize := func(w, h uint16) {
		t.Helper()
		if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: w, Row: h}); err != nil {
			t.Fatal(err)
		}
	}
	resize(80, 24)
	before, err := term.GetState(int(slave.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if !IsTerminal(slave) {
		t.Fatal("a pseudo-terminal is a terminal")
	}

	raw, err := MakeRaw(slave)
	if err != nil {
		t.Fatal(err)
	}
	await := func(want Size) {
		t.Helper()
		select {
		case got := <-raw.Sizes():
			if got != want {
				t.Fatalf("size %v, want %v", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no size")
		}
	}
	await(Size{80, 24})
	resize(132, 50)
	// The kernel tells the terminal's foreground group, which a test isn't in.
	if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil {
		t.Fatal(err)
	}
	await(Size{132, 50})

	// In raw mode Ctrl-C is a byte like another, delivered at once.
	if _, err := master.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 8)
	if n, err := slave.Read(got); err != nil || n != 1 || got[0] != 3 {
		t.Errorf("read %v, %v", got[:n], err)
	}

	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		t.Error("second close: ", err)
	}
	if _, open := <-raw.Sizes(); open {
		t.Error("sizes still open")
	}
	after, err := term.GetState(int(slave.Fd()))
	if err != nil || *after != *before {
		t.Errorf("the terminal's mode was not restored: %v", err)
	}
}
