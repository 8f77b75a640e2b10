package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/internal/kernel"
)

func startCommand(s *setting) *cobra.Command {
	var pods int
	cmd := &cobra.Command{
		Use: "start", Short: "Latency from creating a pod to its process running, one pod after the other, image present",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			answered := &series{name: "POST → 201, durable and placed"}
			process := &series{name: "POST → the container's process runs"}
			running := &series{name: "POST → a watch says Running"}
			err := s.measure(cmd.Context(), func(y *system) error {
				for i := range pods {
					if err := y.startOne(cmd.Context(), fmt.Sprintf("p%d", i), answered, process, running); err != nil {
						return err
					}
				}
				return nil
			}, answered, process, running)
			if err != nil {
				return err
			}
			return s.publish("start", pods, map[string]string{"pods": "one at a time, image present", "etcd": "embedded, fsync on"}, nil, answered, process, running)
		},
	}
	cmd.Flags().IntVar(&pods, "pods", 30, "pods in each round")
	return cmd
}

// startOne creates a pod and follows it to its start. The pod is removed again, so that all find an idle node.
func (y *system) startOne(ctx context.Context, name string, answered, process, running *series) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	began := time.Now()
	created, err := y.pods.Create(ctx, pod(name, "250m", "128Mi"), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	answered.add(time.Since(began))
	events, stop, err := y.watch(ctx, name, created.ResourceVersion)
	if err != nil {
		return err
	}
	defer stop()
	type seen struct {
		at  time.Time
		err error
	}
	started := make(chan seen, 1)
	go func() {
		_, at, err := kernel.AwaitProcess(ctx, string(created.UID), "main", program)
		started <- seen{at, err}
	}()
	at, err := until(ctx, events, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	if err != nil {
		return fmt.Errorf("pod %s isn't running: %w", name, err)
	}
	running.add(at.Sub(began))
	first := <-started
	if first.err != nil {
		return first.err
	}
	process.add(first.at.Sub(began))
	if err := y.pods.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	for range events { // the watch goes on until the pod is gone, which the last event tells
		if _, err := y.pods.Get(ctx, name, metav1.GetOptions{}); err != nil {
			return nil
		}
	}
	return fmt.Errorf("pod %s isn't gone: %w", name, ctx.Err())
}
