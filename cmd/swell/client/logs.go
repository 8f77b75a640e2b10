package client

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (a *app) newLogsCommand() *cobra.Command {
	var (
		options corev1.PodLogOptions
		tail    int64
		since   string
	)
	cmd := &cobra.Command{
		Use:   "logs POD",
		Short: "Print what a container wrote",
		Example: `  swell logs web
  swell logs web -f --tail 20
  swell logs web -c app --since 10m --timestamps
  swell logs web --previous      # of the container before its last restart`,
		Args: takes("POD"),
	}
	c := a.addConnection(cmd)
	c.addNamespace(a, cmd)
	f := cmd.Flags()
	f.StringVarP(&options.Container, "container", "c", "", "container (may be left out if there is only one)")
	f.BoolVarP(&options.Follow, "follow", "f", false, "go on with what is written")
	f.BoolVarP(&options.Previous, "previous", "p", false, "of the container before its last restart")
	f.BoolVar(&options.Timestamps, "timestamps", false, "begin each line with its time")
	f.Int64Var(&tail, "tail", -1, "only so many of the last lines")
	f.StringVar(&since, "since", "", "only lines from then on: 10m (ago), or a time like 2006-01-02T15:04:05Z")
	cmd.ValidArgsFunction = a.completeFirst(c, podNames)
	_ = cmd.RegisterFlagCompletionFunc("container", a.complete(c, containerNames))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("tail") {
			if tail < 0 {
				return wrong(cmd, "--tail %d: must not be negative", tail)
			}
			options.TailLines = &tail
		}
		if err := setSince(&options, since); err != nil {
			return wrong(cmd, "%w", err)
		}
		return a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
			return copyLog(ctx, s, podName(args[0]), &options, cmd.OutOrStdout())
		})(cmd, args)
	}
	return cmd
}

func setSince(options *corev1.PodLogOptions, since string) error {
	if since == "" {
		return nil
	}
	if d, err := time.ParseDuration(since); err == nil && d > 0 {
		seconds := int64((d + time.Second - 1) / time.Second) // the API counts whole seconds
		options.SinceSeconds = &seconds
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, since)
	if err != nil {
		return fmt.Errorf("--since %q: write a duration like 10m, or a time like 2006-01-02T15:04:05Z", since)
	}
	options.SinceTime = &metav1.Time{Time: t}
	return nil
}

func copyLog(ctx context.Context, s *session, pod string, options *corev1.PodLogOptions, w io.Writer) error {
	stream, err := s.CoreV1().Pods(s.namespace).GetLogs(pod, options).Stream(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	if _, err := io.Copy(w, stream); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("pod %s: log: %w", pod, err)
	}
	return nil
}
