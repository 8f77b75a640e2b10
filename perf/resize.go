package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/internal/kernel"
)

func resizeCommand(s *setting) *cobra.Command {
	var resizes int
	var fleet bool
	c := fleetResize{}
	cmd := &cobra.Command{
		Use: "resize", Short: "Latency from a resize's API call to the kernel's files, up and down, CPU and memory",
		Long: `Without --fleet: real containers on this host, one pod, one resize after the other.
With --fleet: the control plane as a process of its own with embedded etcd, simulated hosts in this one, and
clients over TLS in a closed loop that resize many pods. A pod is resized again once a watch has shown the last
size in its status; at the end of a round every pod is compared with what it was asked to be.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if fleet {
				if c.resizes = resizes; !cmd.Flags().Changed("resizes") {
					c.resizes = 20_000
				}
				if err := c.validate(); err != nil {
					return err
				}
				return s.resizeFleet(cmd.Context(), c)
			}
			inKernel := &series{name: "PATCH → CPU and memory in the kernel's files"}
			answered := &series{name: "PATCH → 200, durable and admitted"}
			inStatus := &series{name: "PATCH → a watch shows it in the status"}
			err := s.measure(cmd.Context(), func(y *system) error {
				return y.resizeMany(cmd.Context(), resizes, inKernel, answered, inStatus)
			}, inKernel, answered, inStatus)
			if err != nil {
				return err
			}
			return s.publish("resize", resizes, map[string]string{"pods": "1, idle", "sizes": "250m 128Mi and 2 CPU 256Mi in turn", "etcd": "embedded, fsync on"}, nil, inKernel, answered, inStatus)
		},
	}
	cmd.Flags().IntVar(&resizes, "resizes", 100, "resizes in each round; with --fleet by default 20000")
	cmd.Flags().BoolVar(&fleet, "fleet", false, "many pods on a fleet of simulated hosts instead of one on this host; for this are")
	cmd.Flags().IntVar(&c.nodes, "nodes", 200, "simulated hosts")
	cmd.Flags().IntVar(&c.pods, "pods", 4000, "pods, all of which are resized in turn")
	cmd.Flags().IntVar(&c.clients, "clients", 64, "clients, each with a connection of its own")
	cmd.Flags().StringVar(&c.encoding, "encoding", "protobuf", "of answers: protobuf or json")
	cmd.Flags().StringVar(&c.profiles, "profiles", "", "write CPU profiles of the control plane and of this process into this folder")
	return cmd
}

func (y *system) resizeMany(ctx context.Context, n int, inKernel, answered, inStatus *series) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	created, err := y.pods.Create(ctx, pod("sized", "250m", "128Mi"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	events, stop, err := y.watch(ctx, "sized", created.ResourceVersion)
	if err != nil {
		return err
	}
	defer stop()
	if _, err := until(ctx, events, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning }); err != nil {
		return fmt.Errorf("pod isn't running: %w", err)
	}
	container, _, err := kernel.AwaitProcess(ctx, string(created.UID), "main", program)
	if err != nil {
		return err
	}
	for i := range n {
		cpu, memory := int64(2000), int64(256<<20)
		if i%2 == 1 {
			cpu, memory = 250, 128<<20
		}
		if err := y.resizeOne(ctx, container, events, cpu, memory, inKernel, answered, inStatus); err != nil {
			return fmt.Errorf("resize %d: %w", i, err)
		}
	}
	return nil
}

func (y *system) resizeOne(ctx context.Context, container *kernel.Container, events <-chan *corev1.Pod, cpu, memory int64, inKernel, answered, inStatus *series) error {
	patch := fmt.Appendf(nil, `{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"%dm","memory":"%d"},"limits":{"cpu":"%dm","memory":"%d"}}}]}}`, cpu, memory, cpu, memory)
	type answer struct {
		at  time.Time
		err error
	}
	done := make(chan answer, 1)
	began := time.Now()
	go func() {
		_, err := y.pods.Patch(ctx, "sized", types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "resize")
		done <- answer{time.Now(), err}
	}()
	at, err := container.Await(cpu, memory, began.Add(10*time.Second))
	if a := <-done; a.err != nil {
		return a.err
	} else if err == nil {
		answered.add(a.at.Sub(began))
	}
	if err != nil {
		return err
	}
	inKernel.add(at.Sub(began))
	shown, err := until(ctx, events, func(p *corev1.Pod) bool {
		st := p.Status.ContainerStatuses
		return len(st) > 0 && st[0].Resources != nil && st[0].Resources.Limits.Cpu().MilliValue() == cpu && st[0].Resources.Limits.Memory().Value() == memory
	})
	if err != nil {
		return err
	}
	inStatus.add(shown.Sub(began))
	return nil
}
