package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	clientexec "k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"

	"swell.dev/swell/internal/console"
)

func (a *app) newExecCommand() *cobra.Command {
	var (
		container  string
		stdin, tty bool
	)
	cmd := &cobra.Command{
		Use:   "exec POD [flags] -- COMMAND [ARGUMENT…]",
		Short: "Run a command in a running container",
		Long:  `Run a command in a running container. swell ends with the command's exit code.`,
		Example: `  swell exec web -- cat /etc/hostname
  swell exec -it web -- sh
  tar c . | swell exec -i web -- tar x -C /srv`,
		Args: takes("POD", "[COMMAND…]"),
	}
	c := a.addConnection(cmd)
	c.addNamespace(a, cmd)
	f := cmd.Flags()
	f.StringVarP(&container, "container", "c", "", "container (may be left out if there is only one)")
	f.BoolVarP(&stdin, "stdin", "i", false, "pass standard input on")
	f.BoolVarP(&tty, "tty", "t", false, "give the command a terminal")
	cmd.ValidArgsFunction = a.completeFirst(c, podNames)
	_ = cmd.RegisterFlagCompletionFunc("container", a.complete(c, containerNames))
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			return wrong(cmd, "COMMAND is missing: give it after --")
		}
		options := &corev1.PodExecOptions{Container: container, Command: args[1:], Stdin: stdin, Stdout: true, Stderr: true}
		return execute(ctx, s, cmd, podName(args[0]), options, tty)
	})
	return cmd
}

// execute runs the command with this process's streams.
func execute(ctx context.Context, s *session, cmd *cobra.Command, pod string, options *corev1.PodExecOptions, tty bool) error {
	in := cmd.InOrStdin()
	if tty && !console.IsTerminal(in) {
		fmt.Fprintln(cmd.ErrOrStderr(), "standard input is no terminal: going on without -t")
		tty = false
	}
	options.TTY = tty
	options.Stderr = !tty // a terminal has one output
	streams := remotecommand.StreamOptions{Stdout: cmd.OutOrStdout(), Tty: tty}
	if options.Stdin {
		streams.Stdin = in
	}
	if options.Stderr {
		streams.Stderr = cmd.ErrOrStderr()
	}
	if tty {
		raw, err := console.MakeRaw(in.(*os.File))
		if err != nil {
			return fmt.Errorf("terminal: %w", err)
		}
		defer raw.Close()
		streams.TerminalSizeQueue = sizeQueue{raw}
	}
	executor, err := newExecutor(s, pod, options)
	if err != nil {
		return err
	}
	err = executor.StreamWithContext(ctx, streams)
	var exit clientexec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited():
		return &ExitError{Code: exit.ExitStatus()}
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("pod %s: the connection broke while the command ran", pod)
	}
	return err
}

// newExecutor prefers WebSocket and falls back on SPDY where something between can't upgrade.
func newExecutor(s *session, pod string, options *corev1.PodExecOptions) (remotecommand.Executor, error) {
	u := s.CoreV1().RESTClient().Post().Resource("pods").Namespace(s.namespace).Name(pod).SubResource("exec").
		VersionedParams(options, scheme.ParameterCodec).URL()
	config := rest.CopyConfig(s.config)
	spdy, err := remotecommand.NewSPDYExecutor(config, "POST", u)
	if err != nil {
		return nil, err
	}
	websocket, err := remotecommand.NewWebSocketExecutor(config, "GET", u.String())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(websocket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}

// sizeQueue feeds the terminal's sizes to the remote one.
type sizeQueue struct{ raw *console.Raw }

func (q sizeQueue) Next() *remotecommand.TerminalSize {
	size, open := <-q.raw.Sizes()
	if !open {
		return nil
	}
	return &remotecommand.TerminalSize{Width: size.Width, Height: size.Height}
}
