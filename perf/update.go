package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/client"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/cgroups"
	"swell.dev/swell/nodelet"
)

func updateCommand(s *setting) *cobra.Command {
	var resizes int
	cmd := &cobra.Command{
		Use: "update", Short: "The node's part of a resize, beside containerd's Task.Update and runc update, on one running container in turn",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all := []*series{{name: "Swell: pod and container written and read back"}, {name: "containerd Task.Update, container alone"}, {name: "runc update, container alone"}}
			for range s.rounds {
				for _, one := range all {
					one.begin()
				}
				if err := withRealNode(cmd.Context(), s.bin, func(n *realNode) error { return n.updates(cmd.Context(), s.bin, resizes, all) }); err != nil {
					return err
				}
			}
			return s.publish("update", resizes, map[string]string{"pods": "1, idle", "sizes": "250m 64Mi and 2 CPU 128Mi in turn"}, nil, all...)
		},
	}
	cmd.Flags().IntVar(&resizes, "resizes", 100, "resizes of each kind in each round")
	return cmd
}

// updates resizes one container by each way in turn, up and then down, and checks after each that the kernel has it.
func (n *realNode) updates(ctx context.Context, bin string, count int, all []*series) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	uid := n.assign("updated", nodelet.NoSlot)
	if err := n.running(ctx, uid); err != nil {
		return err
	}
	id, cfg := nodelet.ContainerID(uid, "main", 0), n.child.Config()
	c, err := client.New(cfg.Address, client.WithDefaultNamespace("swell"))
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // nothing is left to be sent
	container, err := c.LoadContainer(ctx, id)
	if err != nil {
		return err
	}
	task, err := container.Task(ctx, nil)
	if err != nil {
		return err
	}
	// The others change the container alone; the pod has room for either size meanwhile.
	swell := func(milli, memory int64) error {
		list := corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(milli, resource.DecimalSI), corev1.ResourceMemory: *resource.NewQuantity(memory, resource.BinarySI)}
		r := corev1.ResourceRequirements{Requests: list, Limits: list}
		_, err := n.cgroups.Resize(ctx, uid, nodelet.PodSize{Class: corev1.PodQOSGuaranteed, Containers: map[string]corev1.ResourceRequirements{"main": r}})
		return err
	}
	ways := []func(milli, memory int64) error{
		swell,
		func(milli, memory int64) error {
			quota, period, shares := cgroups.QuotaOf(milli), uint64(cgroups.Period), cgroups.SharesOf(milli)
			return task.Update(ctx, client.WithResources(&specs.LinuxResources{
				CPU: &specs.LinuxCPU{Quota: &quota, Period: &period, Shares: &shares}, Memory: &specs.LinuxMemory{Limit: &memory, Swap: &memory}, // without the latter v1 refuses the former
			}))
		},
		func(milli, memory int64) error {
			out, err := exec.CommandContext(ctx, filepath.Join(bin, "runc"), "--root", filepath.Join(cfg.RuncRoot, "swell"), "update",
				"--cpu-quota", fmt.Sprint(cgroups.QuotaOf(milli)), "--cpu-period", fmt.Sprint(cgroups.Period),
				"--cpu-share", fmt.Sprint(cgroups.SharesOf(milli)), "--memory", fmt.Sprint(memory), "--memory-swap", fmt.Sprint(memory), id).CombinedOutput()
			if err != nil {
				return fmt.Errorf("runc update: %w: %s", err, out)
			}
			return nil
		},
	}
	h, err := cgroups.Detect()
	if err != nil {
		return err
	}
	group := h.Group(n.cgroups.ContainerPath(uid, "main"))
	for i := range count {
		for way, update := range ways {
			milli, memory, large := int64(2000), int64(128<<20), i%2 == 0
			if !large {
				milli, memory = 250, 64<<20
			}
			if err := swell(map[bool]int64{true: 250, false: 2000}[large], map[bool]int64{true: 64 << 20, false: 128 << 20}[large]); err != nil {
				return err
			}
			if way > 0 && large { // their container grows within a pod that has the room
				if err := h.Group(filepath.Dir(group.Path())).SetMemory(ctx, memory); err != nil {
					return err
				}
				if err := h.Group(filepath.Dir(group.Path())).SetCPU(cgroups.SharesOf(milli), cgroups.QuotaOf(milli)); err != nil {
					return err
				}
			}
			begun := time.Now()
			if err := update(milli, memory); err != nil {
				return fmt.Errorf("%s: %w", all[way].name, err)
			}
			all[way].add(time.Since(begun))
			if l, err := group.Read(); err != nil || l.Quota != cgroups.QuotaOf(milli) || l.Memory != memory {
				return fmt.Errorf("%s: the kernel holds %+v instead of %d milli-CPU and %d bytes: %w", all[way].name, l, milli, memory, err)
			}
		}
	}
	return nil
}
