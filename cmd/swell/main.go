// Command swell is the whole of Swell: the system in one process, each of its roles apart, and the
// commands with which it is used.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // plans and budgets name time zones, which not every host knows

	"github.com/spf13/cobra"

	"swell.dev/swell/cmd/swell/client"
	"swell.dev/swell/cmd/swell/role"
	"swell.dev/swell/internal/apiclient"
)

// version is set by the linker for a release; otherwise the build's own information is used.
var version string

// Exit codes, besides those that exec and run --rm pass on.
const (
	exitError  = 1
	exitUsage  = 2
	exitSignal = 128 // plus the signal's number
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, caught := untilSignal()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	return exitCode(root, err, caught())
}

// untilSignal answers a context that ends at the first SIGINT or SIGTERM, and a function that tells which
// came. A second one ends the process at once, as if it were not caught.
func untilSignal() (context.Context, func() syscall.Signal) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	first := make(chan syscall.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() { // lives as long as the process
		s := <-signals
		signal.Stop(signals)
		first <- s.(syscall.Signal)
		cancel()
	}()
	return ctx, func() syscall.Signal {
		select {
		case s := <-first:
			return s
		default:
			return 0
		}
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "swell",
		Short: "Run pods that change size while they run, billed by the second",
		Example: `  swell up                                    # the whole system on this machine
  swell run web --image web:1 --cpu 250m
  swell resize web --cpu 2 --memory 1Gi
  swell bill web`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &client.UsageError{Command: cmd.CommandPath(), Err: fmt.Errorf("unknown command %q%s", args[0], suggestion(cmd, args[0]))}
			}
			return nil
		},
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &client.UsageError{Command: cmd.CommandPath(), Err: err}
	})
	root.AddCommand(role.Commands(buildVersion())...)
	root.AddCommand(client.Commands(buildVersion())...)
	return root
}

func suggestion(cmd *cobra.Command, typed string) string {
	if near := cmd.SuggestionsFor(typed); len(near) > 0 {
		return fmt.Sprintf("; did you mean %q?", near[0])
	}
	return ""
}

// exitCode prints an error and answers the code to end with.
func exitCode(root *cobra.Command, err error, caught syscall.Signal) int {
	var (
		exit  *client.ExitError
		usage *client.UsageError
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	case caught != 0 && errors.Is(err, context.Canceled):
		return exitSignal + int(caught)
	case errors.As(err, &usage):
		fmt.Fprintln(root.ErrOrStderr(), err)
		return exitUsage
	}
	fmt.Fprintln(root.ErrOrStderr(), "swell:", apiclient.Explain(err))
	return exitError
}

// buildVersion is the release, or the commit that this was built from.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
