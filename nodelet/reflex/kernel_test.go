package reflex

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/cgroups"
	"swell.dev/swell/cgroups/throttle"
	"swell.dev/swell/nodelet"
)

const patience = time.Minute

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// onePod is a tree of pods without containers, all of the same size.
type onePod struct {
	parent *cgroups.Group
	quota  map[string]*cgroups.Quota
}

const size = 50 // milli-CPU

func (o *onePod) Group(uid string) *cgroups.Group { return o.parent.Child(uid) }
func (o *onePod) Size(string) int64               { return size }
func (o *onePod) SetBurst(uid string, extra int64) (bool, error) {
	return true, o.quota[uid].Set(cgroups.QuotaOf(size + extra))
}

// newPods makes pods of the test's own, in each of which a process never rests.
func newPods(t *testing.T, uids ...string) *onePod {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("control groups are made by root: run the tests as root")
	}
	h, err := cgroups.Detect()
	var missing *cgroups.MissingError
	if errors.As(err, &missing) || errors.Is(err, fs.ErrNotExist) {
		t.Skip(err)
	}
	must(t, err)
	o := &onePod{parent: h.Group(fmt.Sprintf("/swell-reflex-%d", os.Getpid())), quota: map[string]*cgroups.Quota{}}
	must(t, o.parent.Create())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		must(t, o.parent.Delete(ctx))
	})
	for _, uid := range uids {
		g := o.Group(uid)
		must(t, g.Create())
		must(t, g.SetCPU(1024, cgroups.QuotaOf(size)))
		o.quota[uid], err = g.OpenQuota()
		must(t, err)
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "SWELL_REFLEX_BURN=1")
		must(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		must(t, g.Add(cmd.Process.Pid))
	}
	return o
}

func TestMain(m *testing.M) {
	if os.Getenv("SWELL_REFLEX_BURN") != "" {
		for {
		}
	}
	if os.Getenv("SWELL_REFLEX_TAKE") != "" {
		holdMemory()
		return
	}
	os.Exit(m.Run())
}

// await waits until the kernel has a pod at a size.
func (o *onePod) await(t *testing.T, uid, what string, wanted func(milli int64) bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		l, err := o.Group(uid).Read()
		must(t, err)
		if wanted(cgroups.MilliOfQuota(l.Quota)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: pod %s has %dm", what, uid, cgroups.MilliOfQuota(l.Quota))
		}
	}
}

// TestKernelReflex: a pod that the kernel stops has more, within its budget and no longer; the bill and its owner
// hear of it; one that may not burst has its size throughout.
func TestKernelReflex(t *testing.T) {
	o := newPods(t, "bursts", "steady")
	var mu sync.Mutex // guards what follows
	var billed usagev1.Burst
	told := make(chan *nodelet.BurstState, 16)
	r := New(Config{
		Tree: o,
		Meter: func(uid string, add usagev1.Burst) error {
			mu.Lock()
			defer mu.Unlock()
			if uid != "bursts" {
				t.Errorf("a burst of %s is metered", uid)
			}
			billed.Millis += add.Millis
			billed.CPUMillis += add.CPUMillis
			return nil
		},
		Tell: func(_ string, s *nodelet.BurstState) { told <- s },
	})
	defer r.Close()
	if r.Stats().Rung != "" {
		t.Error("something is loaded with no pod that may burst")
	}
	must(t, r.Set("bursts", v1alpha1.Burst{CPUMilli: 450, Budget: 200 * time.Millisecond}, nodelet.RankDefault))
	if want, held := r.Pool(); want.CpuMilli != 400 || held.CpuMilli != 0 {
		t.Errorf("pool: %v wanted, %v held", want, held)
	}
	r.Grant(&nodev1.Pool{CpuMilli: 300})
	o.await(t, "bursts", "with a pool of 300m", func(milli int64) bool { return milli == size+300 })
	s := receive(t, told)
	if s == nil || s.Bursts != 1 || s.Left > 200*time.Millisecond {
		t.Errorf("told: %+v", s)
	}
	o.await(t, "bursts", "with its budget used up", func(milli int64) bool { return milli == size })
	if s := receive(t, told); s != nil {
		t.Errorf("told: %+v", s)
	}
	if l, err := o.Group("steady").Read(); err != nil || cgroups.MilliOfQuota(l.Quota) != size {
		t.Errorf("a pod that may not burst has %+v, %v", l, err)
	}
	if stats := r.Stats(); stats.Reactions == 0 || stats.Throttled == 0 || stats.Latency(0.5) <= 0 || stats.Rung == "" {
		t.Errorf("%+v", stats)
	}
	must(t, r.Set("bursts", v1alpha1.Burst{CPUMilli: 450, Budget: time.Hour}, nodelet.RankDefault))
	o.await(t, "bursts", "with a large budget", func(milli int64) bool { return milli == size+300 })
	r.Remove("bursts")
	o.await(t, "bursts", "when it may no longer", func(milli int64) bool { return milli == size })
	mu.Lock()
	defer mu.Unlock()
	// In whole milliseconds, rounded at each time that it is metered; less than the pool where others kept the host busy.
	if billed.Millis <= 0 || billed.CPUMillis <= 0 || billed.CPUMillis > 300*billed.Millis+3000 {
		t.Errorf("metered: %+v", billed)
	}
}

func receive(t *testing.T, told <-chan *nodelet.BurstState) *nodelet.BurstState {
	t.Helper()
	select {
	case s := <-told:
		return s
	case <-time.After(patience):
		t.Fatal("nothing is told")
		return nil
	}
}

// TestKernelReflexByPolling is what hosts without eBPF have.
func TestKernelReflexByPolling(t *testing.T) {
	o := newPods(t, "polled")
	r := New(Config{
		Tree: o, Rungs: []throttle.Rung{throttle.Poll},
		Meter: func(string, usagev1.Burst) error { return nil }, Tell: func(string, *nodelet.BurstState) {},
	})
	defer r.Close()
	r.Grant(&nodev1.Pool{CpuMilli: 1000})
	must(t, r.Set("polled", v1alpha1.Burst{CPUMilli: 550, Budget: time.Hour}, nodelet.RankDefault))
	o.await(t, "polled", "stopped", func(milli int64) bool { return milli == size+500 })
	r.Grant(&nodev1.Pool{CpuMilli: 0})
	o.await(t, "polled", "without a pool", func(milli int64) bool { return milli == size })
}
