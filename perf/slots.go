package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"swell.dev/swell/nodelet"
)

func slotsCommand(s *setting) *cobra.Command {
	var pods int
	cmd := &cobra.Command{
		Use: "slots", Short: "Latency and rate of starts on one host, by how far a slot was made ready, beside ctr run",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			depths := []nodelet.SlotDepth{nodelet.SlotContainer, nodelet.SlotSandbox, nodelet.NoSlot}
			latency := []*series{
				{name: "container waits: assigned → Running"}, {name: "sandbox ready: assigned → Running"}, {name: "cold, image present: assigned → Running"},
			}
			hit, cold := startSeries("a slot waits: "), startSeries("no slots: ")
			all := slices.Concat(hit, cold, latency)
			var per rates
			for range s.rounds {
				for _, one := range all {
					one.begin()
				}
				if err := s.withSystem(ctx, func(y *system) error { return y.startInSlots(ctx, pods, hit, cold, &per) }); err != nil {
					return err
				}
				err := withRealNode(ctx, s.bin, func(n *realNode) error {
					for i, depth := range depths {
						if err := n.startOnes(ctx, depth, pods, latency[i]); err != nil {
							return err
						}
					}
					for _, depth := range depths {
						rate, err := n.startMany(ctx, depth, pods)
						if err != nil {
							return err
						}
						per.add("containers/s, slot at depth "+depth.String(), rate)
					}
					best, err := n.ctrRun(ctx, s.bin, pods)
					if err != nil {
						return err
					}
					per.add("containers/s, ctr run", best)
					return nil
				})
				if err != nil {
					return err
				}
			}
			return s.publish("slots", pods, map[string]string{
				"POST": "to the REST API of swell up, etcd embedded, fsync on", "assigned": "an assignment's arrival at a nodelet in process, without control plane",
			}, &per, all...)
		},
	}
	cmd.Flags().IntVar(&pods, "pods", 30, "pods of each kind in each round")
	return cmd
}

// startOnes starts pods one after the other, each on an idle host.
func (n *realNode) startOnes(ctx context.Context, depth nodelet.SlotDepth, pods int, took *series) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for i := range pods {
		name := fmt.Sprintf("one-%s-%d", depth, i)
		if depth != nodelet.NoSlot {
			if err := n.ready(ctx, depth, n.assign(name, depth)); err != nil {
				return err
			}
		}
		begun := time.Now()
		if err := n.running(ctx, n.assign(name, nodelet.NoSlot)); err != nil {
			return err
		}
		took.add(time.Since(begun))
		if err := n.clear(ctx); err != nil {
			return err
		}
	}
	return nil
}

// startMany starts pods at once and answers how many a second.
func (n *realNode) startMany(ctx context.Context, depth nodelet.SlotDepth, pods int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	uids := make([]string, pods)
	name := func(i int) string { return fmt.Sprintf("many-%s-%d", depth, i) }
	if depth != nodelet.NoSlot {
		for i := range uids {
			uids[i] = n.assign(name(i), depth)
		}
		if err := n.ready(ctx, depth, uids...); err != nil {
			return 0, err
		}
	}
	begun := time.Now()
	for i := range uids {
		uids[i] = n.assign(name(i), nodelet.NoSlot)
	}
	if err := n.running(ctx, uids...); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	return float64(pods) / took.Seconds(), n.clear(ctx)
}
