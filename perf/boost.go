package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/kernel"
)

// Sizes of the pods of perf boost.
const (
	startingCPU    = "500m"
	startingMemory = "1536Mi"
	boostedCPU     = 2000
)

// starts is what is measured of one way to start.
type starts struct{ listens, ready *series }

func boostCommand(s *setting) *cobra.Command {
	var pods int
	cmd := &cobra.Command{
		Use: "boost", Short: "A container that compiles its server at its start: time to ready with a startup boost and without, in turn",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			of := func(how string) starts {
				return starts{&series{name: "POST → it listens, " + how}, &series{name: "POST → a watch says Ready, " + how}}
			}
			plain, boosted := of("without a boost"), of("with a boost to 2 CPU")
			unboosted := &series{name: "the server takes the probe's connection → its size in the kernel's file (negative: before)"}
			var sums rates
			err := s.measure(cmd.Context(), func(y *system) error {
				return y.startBoth(cmd.Context(), s, pods, plain, boosted, unboosted, &sums)
			}, plain.listens, boosted.listens, plain.ready, boosted.ready, unboosted)
			if err != nil {
				return err
			}
			return s.publish("boost", pods, map[string]string{
				"workload": "go build of a small server and of the standard library below it, nothing cached", "size": startingCPU + " and " + startingMemory,
				"boost": "swell.dev/startup-boost: cpu=2", "probe": "TCP, each second", "weight": "the pods of the node together have that of 16 CPUs against the host's other processes",
			}, &sums, plain.listens, boosted.listens, plain.ready, boosted.ready, unboosted)
		},
	}
	cmd.Flags().IntVar(&pods, "pods", 1, "pods of each kind in each round, one after the other")
	return cmd
}

func (y *system) startBoth(ctx context.Context, s *setting, pods int, plain, boosted starts, unboosted *series, sums *rates) error {
	dir, err := os.MkdirTemp("", "swell-perf-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // of the system's temporary files
	archive, err := writeBuiltImage(dir)
	if err != nil {
		return err
	}
	if err := importArchive(ctx, y.client, archive); err != nil {
		return err
	}
	cost := map[string]float64{}
	for i := range pods {
		for _, name := range []string{fmt.Sprintf("plain%d", i), fmt.Sprintf("boosted%d", i)} {
			to, sink := plain, (*series)(nil)
			if strings.HasPrefix(name, "boosted") {
				to, sink = boosted, unboosted
			}
			if err := y.startBuilt(ctx, name, to, sink); err != nil {
				return fmt.Errorf("pod %s: %w", name, err)
			}
		}
	}
	if err := y.billedStarts(ctx, cost); err != nil {
		return err
	}
	sums.add("CPU·s billed until ready, without a boost", cost["plain"]/float64(pods))
	sums.add("CPU·s billed until ready, with a boost to 2 CPU", cost["boosted"]/float64(pods))
	return nil
}

func builtPod(name string, boost bool) *corev1.Pod {
	p := pod(name, startingCPU, startingMemory)
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	c := &p.Spec.Containers[0]
	c.Image = builtImage
	c.ReadinessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)}},
		PeriodSeconds: 1, TimeoutSeconds: 1,
	}
	if boost {
		p.Annotations = map[string]string{v1alpha1.AnnotationStartupBoost: "cpu=2"}
	}
	return p
}

// startBuilt starts one pod and follows it until it is ready; of a boosted one also until it has its size again.
func (y *system) startBuilt(ctx context.Context, name string, to starts, unboosted *series) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	began := time.Now()
	created, err := y.pods.Create(ctx, builtPod(name, unboosted != nil), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	events, stop, err := y.watch(ctx, name, created.ResourceVersion)
	if err != nil {
		return err
	}
	defer stop()
	container, _, err := kernel.AwaitProcess(ctx, string(created.UID), "main", "/bin/sh")
	if err != nil {
		return err
	}
	if err := outweigh(container); err != nil {
		return err
	}
	lowered := make(chan time.Time, 1)
	failed := make(chan error, 1)
	if unboosted != nil {
		go func() {
			at, err := awaitUnboosted(ctx, container)
			if err != nil {
				failed <- err
				return
			}
			lowered <- at
		}()
	}
	ready, err := until(ctx, events, func(p *corev1.Pod) bool {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return true
			}
		}
		return p.Status.Phase == corev1.PodFailed
	})
	if err != nil {
		return fmt.Errorf("isn't ready: %w", err)
	}
	listens, asked, err := y.saidBy(ctx, name)
	if err != nil {
		return err
	}
	to.listens.add(listens.Sub(began))
	to.ready.add(ready.Sub(began))
	if unboosted != nil {
		select {
		case at := <-lowered:
			unboosted.add(at.Sub(asked))
		case err := <-failed:
			return err
		}
	}
	if err := y.pods.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	for range events {
		if _, err := y.pods.Get(ctx, name, metav1.GetOptions{}); err != nil {
			return nil
		}
	}
	return fmt.Errorf("isn't gone: %w", ctx.Err())
}

// saidBy reads when the server listened, and when it took the first connection, which the kernel makes before.
func (y *system) saidBy(ctx context.Context, name string) (listens, asked time.Time, err error) {
	for ; ; time.Sleep(20 * time.Millisecond) {
		said, err := y.pods.GetLogs(name, &corev1.PodLogOptions{}).DoRaw(ctx)
		if err != nil {
			return listens, asked, fmt.Errorf("it has said %q: %w", said, err)
		}
		var first, second int64
		if _, err := fmt.Sscanf(string(said), "listens %d\nasked %d\n", &first, &second); err == nil {
			return time.Unix(0, first), time.Unix(0, second), nil
		}
		if p, err := y.pods.Get(ctx, name, metav1.GetOptions{}); err != nil || p.Status.Phase == corev1.PodFailed {
			return listens, asked, errors.Join(fmt.Errorf("it has said %q, and ended", said), err)
		}
	}
}

// outweigh gives the cgroup that the node's pods are in the weight of 16 CPUs against the rest of the host, as a kubelet
// does by the size of its node: what else runs there isn't measured.
func outweigh(c *kernel.Container) error {
	pods := filepath.Dir(filepath.Dir(filepath.Dir(c.CPU)))
	if err := os.WriteFile(filepath.Join(pods, "cpu.shares"), []byte("16384"), 0); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(filepath.Join(pods, "cpu.weight"), []byte("625"), 0)
}

// awaitUnboosted answers when the kernel has the size of a container again that it has had boosted.
func awaitUnboosted(ctx context.Context, c *kernel.Container) (time.Time, error) {
	for was := int64(0); ctx.Err() == nil; time.Sleep(200 * time.Microsecond) {
		now, _, err := c.Limits()
		switch {
		case err != nil:
			return time.Time{}, err
		case now == 500 && was == boostedCPU:
			return time.Now(), nil
		}
		was = now
	}
	return time.Time{}, ctx.Err()
}

// billedStarts sums up, by kind of pod, the CPU·s of the first line of each bill: a boosted pod's ends when it is
// ready, and the others are deleted then.
func (y *system) billedStarts(ctx context.Context, cost map[string]float64) error {
	raw, err := y.client.CoreV1().RESTClient().Get().AbsPath("/apis/swell.dev/v1alpha1/bills").DoRaw(ctx)
	if err != nil {
		return err
	}
	var bills v1alpha1.BillList
	if err := json.Unmarshal(raw, &bills); err != nil {
		return fmt.Errorf("bills: %w", err)
	}
	for _, b := range bills.Items {
		if len(b.Lines) == 0 {
			return fmt.Errorf("pod %s: its bill is empty", b.Name)
		}
		cost[strings.TrimRight(b.Name, "0123456789")] += float64(b.Lines[0].VCPUMilliseconds) / 1000
	}
	return nil
}
