package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/instance"
)

func idleCommand(s *setting) *cobra.Command {
	var pods int
	var settle, watch time.Duration
	cmd := &cobra.Command{
		Use: "idle", Short: "Memory and CPU of a nodelet whose pods do nothing, on real containers",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var found rates
			for range s.rounds {
				if err := s.idleRound(cmd.Context(), pods, settle, watch, &found); err != nil {
					return err
				}
			}
			return s.publish("idle", pods, map[string]string{
				"pods": "real containers of the example server, not asked anything", "settled for": settle.String(), "watched for": watch.String(),
			}, &found)
		},
	}
	cmd.Flags().IntVar(&pods, "pods", 100, "pods on the node")
	cmd.Flags().DurationVar(&settle, "settle", 40*time.Second, "how long to wait after the last start")
	cmd.Flags().DurationVar(&watch, "watch", time.Minute, "how long to watch")
	return cmd
}

func (s *setting) idleRound(ctx context.Context, pods int, settle, watch time.Duration, found *rates) (err error) {
	dir, err := os.MkdirTemp("", "swell-perf-")
	if err != nil {
		return err
	}
	down := func(in *instance.Instance) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // also after a Ctrl-C
		defer cancel()
		err = errors.Join(err, in.Down(ctx))
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	nodes, err := instance.FreeAddress()
	if err != nil {
		return err
	}
	control, err := instance.New(instance.Config{
		Binary: filepath.Join(s.bin, "swell"), Role: "controlplane", DataDir: filepath.Join(dir, "c"), Args: []string{"--node-listen", nodes},
	})
	if err != nil {
		return err
	}
	if err := control.Start(ctx); err != nil {
		return err
	}
	defer down(control)
	client, err := control.Client()
	if err != nil {
		return err
	}
	token, err := joinToken(ctx, client)
	if err != nil {
		return err
	}
	node, err := instance.New(instance.Config{
		Binary: filepath.Join(s.bin, "swell"), Role: "nodelet", DataDir: filepath.Join(dir, "n"),
		Args: []string{"--join", nodes, "--token", token.Token, "--ca-hash", token.CAHash, "--capacity", "cpu=200,memory=200Gi,pods=500", "--node-name", "idle"},
	})
	if err != nil {
		return err
	}
	if err := node.Start(ctx); err != nil {
		return err
	}
	defer down(node)
	if err := awaitReady(ctx, client, 1); err != nil {
		return err
	}
	if err := s.importImage(ctx, client, dir); err != nil {
		return err
	}
	if err := runPods(ctx, client, pods); err != nil {
		return err
	}
	return watchIdle(ctx, node.PID(), settle, watch, found)
}

func joinToken(ctx context.Context, client *kubernetes.Clientset) (v1alpha1.JoinTokenStatus, error) {
	token := v1alpha1.JoinToken{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.Group + "/" + v1alpha1.Version, Kind: "JoinToken"}}
	body, err := json.Marshal(token)
	if err != nil {
		return token.Status, err
	}
	raw, err := client.CoreV1().RESTClient().Post().AbsPath("/apis", v1alpha1.Group, v1alpha1.Version, "jointokens").
		SetHeader("Content-Type", "application/json").Body(body).DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(raw, &token)
	}
	return token.Status, err
}

// runPods returns when all pods run.
func runPods(ctx context.Context, client *kubernetes.Clientset, pods int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	api := client.CoreV1().Pods(metav1.NamespaceDefault)
	for i := range pods {
		if _, err := api.Create(ctx, pod(fmt.Sprintf("idle-%d", i), "250m", "128Mi"), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	running := map[string]bool{}
	w, err := api.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	defer w.Stop()
	list, err := api.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range list.Items {
		running[list.Items[i].Name] = list.Items[i].Status.Phase == corev1.PodRunning
	}
	for {
		count := 0
		for _, runs := range running {
			if runs {
				count++
			}
		}
		if count == pods {
			return nil
		}
		select {
		case ev := <-w.ResultChan():
			if p, ok := ev.Object.(*corev1.Pod); ok {
				running[p.Name] = p.Status.Phase == corev1.PodRunning
			}
		case <-ctx.Done():
			return fmt.Errorf("%d of %d pods run: %w", count, pods, ctx.Err())
		}
	}
}

// watchIdle measures a process that has nothing to do.
func watchIdle(ctx context.Context, pid int, settle, watch time.Duration, found *rates) error {
	if err := pause(ctx, settle); err != nil {
		return err
	}
	before, err := cpuOf(pid)
	if err != nil {
		return err
	}
	var rss, own, threads []float64
	begun := time.Now()
	for time.Since(begun) < watch {
		m, err := statusOf(pid)
		if err != nil {
			return err
		}
		rss, own, threads = append(rss, m["VmRSS"]/1024), append(own, m["RssAnon"]/1024), append(threads, m["Threads"])
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	after, err := cpuOf(pid)
	if err != nil {
		return err
	}
	found.add("memory, MiB (RSS)", spreadOf(rss).Median)
	found.add("memory of its own, MiB (anonymous)", spreadOf(own).Median)
	found.add("CPU, % of a core", 100*float64(after-before)/float64(time.Since(begun)))
	found.add("threads", spreadOf(threads).Median)
	return nil
}

// statusOf reads the numbers of a process's status; memory is in KiB.
func statusOf(pid int) (map[string]float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(line, ":")
		if n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 64); err == nil {
			out[name] = n
		}
	}
	return out, nil
}
