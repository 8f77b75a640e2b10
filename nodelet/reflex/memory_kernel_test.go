package reflex

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/cgroups"
	"swell.dev/swell/nodelet"
)

const memorySize = 32 * mib

func (o *onePod) Memory(uid string) (size, extra int64, err error) {
	l, err := o.Group(uid).Read()
	if err != nil || l.Memory == cgroups.Unlimited {
		return 0, 0, err
	}
	return memorySize, l.Memory - memorySize, nil
}

func (o *onePod) SetMemoryBurst(uid string, extra, room int64) error {
	once, cancel := context.WithCancel(context.Background())
	cancel()
	g := o.Group(uid)
	var inUse *cgroups.MemoryInUseError
	switch err := g.SetMemory(once, memorySize+extra); {
	case errors.As(err, &inUse):
		return fmt.Errorf("%w: %w", nodelet.ErrMemoryInUse, err)
	case err != nil:
		return err
	case room == 0:
		return g.UnguardMemory(0)
	}
	return g.GuardMemory(room)
}

func (o *onePod) MemoryAlarms(uid string, room int64) ([]*cgroups.MemoryAlarm, error) {
	g := o.Group(uid)
	l, err := g.Read()
	if err != nil {
		return nil, err
	}
	a, err := g.OpenMemoryAlarm(l.Memory - 2*room)
	return []*cgroups.MemoryAlarm{a}, err
}

func (o *onePod) MemoryFree(uid string) (int64, error) {
	g := o.Group(uid)
	l, err := g.Read()
	if err != nil {
		return 0, err
	}
	u, err := g.MemoryUse()
	if err != nil || u.Waits {
		return 0, err
	}
	return max(l.Memory-u.Working, 0), nil
}

// taker is a process that takes memory as fast as it can.
type taker struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (o *onePod) taker(t *testing.T, uid string) *taker {
	t.Helper()
	g := o.Group(uid)
	must(t, g.Create())
	must(t, g.SetMemory(t.Context(), memorySize))
	o.quota[uid], _ = g.OpenQuota()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SWELL_REFLEX_TAKE=1")
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	must(t, g.Add(cmd.Process.Pid))
	return &taker{t, cmd, in, bufio.NewReader(out)}
}

// take has it hold so many MiB and reports whether it lives.
func (k *taker) take(n int) bool {
	k.t.Helper()
	began := time.Now()
	_, err := fmt.Fprintln(k.in, n)
	must(k.t, err)
	line, err := k.out.ReadString('\n')
	k.t.Logf("%d MiB: %q, %v, in %v", n, strings.TrimSpace(line), err, time.Since(began).Round(time.Millisecond))
	return err == nil
}

// holdMemory is its program.
func holdMemory() {
	var held []byte
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var n int
		if _, err := fmt.Sscan(in.Text(), &n); err != nil {
			os.Exit(1)
		}
		if held != nil {
			_ = syscall.Munmap(held)
		}
		var err error
		if held, err = syscall.Mmap(-1, 0, max(n*mib, 1), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON); err != nil {
			os.Exit(1)
		}
		for i := 0; i < len(held); i += 4096 {
			held[i] = 1
		}
		fmt.Println("held")
	}
}

// TestKernelMemory: what takes memory at full speed lives as long as its pod allows and there is a pool, several times
// its size; beyond that the kernel kills it. At rest the pod has its size again.
func TestKernelMemory(t *testing.T) {
	o := newPods(t)
	inside, beyond := o.taker(t, "inside"), o.taker(t, "beyond")
	r := New(Config{Tree: o, Meter: func(string, usagev1.Burst) error { return nil }, Tell: func(string, *nodelet.BurstState) {}})
	defer r.Close()
	r.Grant(&nodev1.Pool{MemoryBytes: 1 << 30})
	for _, uid := range []string{"inside", "beyond"} {
		must(t, r.Set(uid, v1alpha1.Burst{MemoryBytes: 160 * mib, Budget: time.Minute}, nodelet.RankDefault))
	}
	if want, held := r.Pool(); want.MemoryBytes != 2*128*mib || held.MemoryBytes != 0 {
		t.Errorf("pool: %v wanted, %v held", want, held)
	}
	if !inside.take(120) {
		t.Error("it was killed with 120 MiB of 160 that its pod allows")
	}
	if beyond.take(200) {
		t.Error("it has 200 MiB where its pod allows 160")
	}
	kills := func(uid string) int64 {
		s, err := o.Group(uid).Stats()
		must(t, err)
		return s.OOMKills
	}
	if kills("inside") != 0 || kills("beyond") != 1 {
		t.Errorf("the kernel killed %d and %d", kills("inside"), kills("beyond"))
	}
	if !inside.take(1) {
		t.Error("it was killed when it gave back")
	}
	awaitMemory(t, o, "inside", memorySize)
	if !inside.take(100) {
		t.Error("it was killed when it took memory once more")
	}
	r.Grant(&nodev1.Pool{})
	if !inside.take(1) {
		t.Error("it was killed by a smaller pool")
	}
	awaitMemory(t, o, "inside", memorySize)
	if s := r.Stats(); s.Grown == 0 {
		t.Errorf("%+v", s)
	}
	r.Remove("inside")
	if inside.take(100) {
		t.Error("it has 100 MiB though it may burst no more")
	}
}

// TestKernelMemoryInUseWhenItEnds: a pod that may burst no more keeps what it uses until it gives that back.
func TestKernelMemoryInUseWhenItEnds(t *testing.T) {
	o := newPods(t)
	k := o.taker(t, "ends")
	r := New(Config{Tree: o, Meter: func(string, usagev1.Burst) error { return nil }, Tell: func(string, *nodelet.BurstState) {}})
	defer r.Close()
	r.Grant(&nodev1.Pool{MemoryBytes: 1 << 30})
	must(t, r.Set("ends", v1alpha1.Burst{MemoryBytes: 160 * mib, Budget: time.Minute}, nodelet.RankDefault))
	if !k.take(100) {
		t.Fatal("it was killed")
	}
	r.Remove("ends")
	if _, held := r.Pool(); held.MemoryBytes == 0 {
		t.Error("nothing is held of what is in use")
	}
	if !k.take(1) {
		t.Error("it was killed when it gave back")
	}
	awaitMemory(t, o, "ends", memorySize)
}

// TestKernelMemoryByRank: what a pod doesn't use goes to one before it in rank that needs it, at once; what is in use
// stays.
func TestKernelMemoryByRank(t *testing.T) {
	o := newPods(t)
	first, behind := o.taker(t, "first"), o.taker(t, "behind")
	r := New(Config{Tree: o, Meter: func(string, usagev1.Burst) error { return nil }, Tell: func(string, *nodelet.BurstState) {}})
	defer r.Close()
	r.Grant(&nodev1.Pool{MemoryBytes: 128 * mib})
	allowed := v1alpha1.Burst{MemoryBytes: 160 * mib, Budget: time.Minute}
	must(t, r.Set("behind", allowed, nodelet.RankDefault))
	must(t, r.Set("first", allowed, nodelet.RankCritical))
	if !behind.take(100) {
		t.Error("it was killed with 100 MiB while nobody else needed any")
	}
	if !behind.take(1) {
		t.Error("it was killed when it gave back")
	}
	if !first.take(110) {
		t.Error("it was killed though another pod doesn't use what it has")
	}
	if behind.take(100) {
		t.Error("there are 100 MiB for the second in rank though the first has them")
	}
	if !first.take(111) {
		t.Error("the first in rank was killed for the second")
	}
	if _, held := r.Pool(); held.MemoryBytes > 128*mib {
		t.Errorf("%d MiB are held of a pool of 128", held.MemoryBytes/mib)
	}
}

func awaitMemory(t *testing.T, o *onePod, uid string, want int64) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		l, err := o.Group(uid).Read()
		must(t, err)
		if l.Memory == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("pod %s has %d MiB, want %d", uid, l.Memory/mib, want/mib)
		}
	}
}
