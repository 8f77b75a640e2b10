package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// ctrRun starts containers with ctr, with the node's containerd, runc and image, and answers how many a second:
// the best of one after the other, two and four at a time.
func (n *realNode) ctrRun(ctx context.Context, bin string, count int) (best float64, err error) {
	for _, clients := range []int{1, 2, 4} {
		rate, err := n.ctrRounds(ctx, filepath.Join(bin, "ctr"), clients, count)
		if err != nil {
			return 0, err
		}
		best = max(best, rate)
	}
	return best, nil
}

func (n *realNode) ctrRounds(ctx context.Context, ctr string, clients, count int) (float64, error) {
	cfg := n.child.Config()
	call := func(args ...string) error {
		out, err := exec.CommandContext(ctx, ctr, append([]string{"--address", cfg.Address, "--namespace", "swell"}, args...)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ctr %v: %w: %s", args, err, out)
		}
		return nil
	}
	id := func(i int) string { return fmt.Sprintf("ctr-%d-%d", clients, i) }
	each := func(work func(i int) error) error {
		next := make(chan int)
		errs := make(chan error, clients)
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				var failed error
				for i := range next {
					if failed == nil {
						failed = work(i)
					}
				}
				errs <- failed
			})
		}
		for i := range count {
			next <- i
		}
		close(next)
		wg.Wait()
		close(errs)
		var all error
		for err := range errs {
			all = errors.Join(all, err)
		}
		return all
	}
	begun := time.Now()
	err := each(func(i int) error {
		return call("run", "--detach", "--runc-binary", cfg.Runc, "--runc-root", cfg.RuncRoot, "--null-io", image, id(i))
	})
	took := time.Since(begun)
	cleared := each(func(i int) error {
		err := call("task", "delete", "--force", id(i))
		return errors.Join(err, call("container", "delete", id(i)))
	})
	return float64(count) / took.Seconds(), errors.Join(err, cleared)
}
