// Package client holds the commands that talk to a running Swell: each is a client of the same REST
// API as everybody else's.
package client

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"swell.dev/swell/internal/apiclient"
)

// ExitError ends the program with a code and without a message of its own: what there was to say is said.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// UsageError is a command line that can't be understood.
type UsageError struct {
	Command string // as typed: swell run
	Err     error
}

func (e *UsageError) Error() string {
	return fmt.Sprintf("%s: %v; see `%s --help`", e.Command, e.Err, e.Command)
}

func (e *UsageError) Unwrap() error { return e.Err }

// Commands answers the client's commands. version is this program's.
func Commands(version string) []*cobra.Command {
	a := &app{version: version, now: time.Now}
	return a.commands()
}

type app struct {
	version string
	now     func() time.Time
}

func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.newRunCommand(), a.newPsCommand(), a.newResizeCommand(), a.newLogsCommand(), a.newExecCommand(),
		a.newRmCommand(), a.newNodesCommand(), a.newImageCommand(), a.newBillCommand(), a.newBudgetCommand(), a.newRecommendCommand(), a.newVersionCommand(),
	}
}

// session is a connection to the API.
type session struct {
	kubernetes.Interface
	config    *rest.Config
	namespace string
}

// connection is the flags that say which API and namespace are meant.
type connection struct {
	source apiclient.Source
}

func (a *app) addConnection(cmd *cobra.Command) *connection {
	c := &connection{}
	f := cmd.Flags()
	f.StringVar(&c.source.Kubeconfig, "kubeconfig", "", "kubeconfig to use")
	f.StringVar(&c.source.DataDir, "data-dir", "", "data `directory` of the swell up to use (default "+apiclient.DefaultDataDir+", unless $KUBECONFIG is set)")
	_ = cmd.MarkFlagDirname("data-dir")
	return c
}

// addNamespace is for the commands that act within a namespace.
func (c *connection) addNamespace(a *app, cmd *cobra.Command) {
	cmd.Flags().StringVarP(&c.source.Namespace, "namespace", "n", "", "namespace (default: the kubeconfig's)")
	_ = cmd.RegisterFlagCompletionFunc("namespace", a.complete(c, namespaceNames))
}

func (a *app) connect(c *connection, cmd *cobra.Command) (*session, error) {
	source := c.source
	source.Environment = os.Getenv("KUBECONFIG")
	config, namespace, err := source.Load()
	if err != nil {
		return nil, err
	}
	config.UserAgent = "swell/" + a.version
	config.WarningHandler = rest.NewWarningWriter(cmd.ErrOrStderr(), rest.WarningWriterOptions{Deduplicate: true})
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &session{Interface: clientset, config: config, namespace: namespace}, nil
}

// connected makes a command's function out of one that needs a session.
func (a *app) connected(c *connection, run func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s, err := a.connect(c, cmd)
		if err != nil {
			return err
		}
		return run(cmd.Context(), s, cmd, args)
	}
}

// takes says which positional arguments a command has: names like POD are required, [POD] is optional,
// and a last one that ends in … may be repeated.
func takes(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if dash := cmd.ArgsLenAtDash(); dash >= 0 {
			args = args[:dash]
		}
		for i, name := range names {
			if i >= len(args) && !strings.HasPrefix(name, "[") {
				return &UsageError{cmd.CommandPath(), fmt.Errorf("%s is missing", strings.TrimSuffix(name, "…"))}
			}
		}
		repeated := len(names) > 0 && strings.HasSuffix(strings.TrimSuffix(names[len(names)-1], "]"), "…")
		if len(args) > len(names) && !repeated {
			return &UsageError{cmd.CommandPath(), fmt.Errorf("unexpected argument %q", args[len(names)])}
		}
		return nil
	}
}

// wrong is a usage error found after the flags were parsed.
func wrong(cmd *cobra.Command, format string, args ...any) error {
	return &UsageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
}

// podName accepts what -o name prints.
func podName(arg string) string {
	for _, prefix := range []string{"pod/", "pods/"} {
		if name, ok := strings.CutPrefix(arg, prefix); ok {
			return name
		}
	}
	return arg
}

// elapsed rounds a duration to what a person reads.
func elapsed(d time.Duration) string {
	if d < time.Second {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}
