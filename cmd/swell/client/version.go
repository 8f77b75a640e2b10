package client

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	apiversion "k8s.io/apimachinery/pkg/version"

	"swell.dev/swell/internal/apiclient"
)

// versionTimeout bounds how long a server may take: without one there is still a version to print.
const versionTimeout = 3 * time.Second

// versions is what `version` prints.
type versions struct {
	Client clientVersion    `json:"client"`
	Server *apiversion.Info `json:"server,omitempty"`
}

type clientVersion struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (a *app) newVersionCommand() *cobra.Command {
	var clientOnly bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program and of the server",
		Example: `  swell version
  swell version --client -o json`,
		Args: takes(),
	}
	c := a.addConnection(cmd)
	cmd.Flags().BoolVar(&clientOnly, "client", false, "don't ask the server")
	out := addFormat(cmd, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := versions{Client: clientVersion{a.version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}}
		var missing error
		if !clientOnly {
			v.Server, missing = a.serverVersion(c, cmd)
		}
		w := cmd.OutOrStdout()
		if out.structured() {
			return out.print(w, v)
		}
		fmt.Fprintf(w, "client: %s (%s, %s)\n", v.Client.Version, v.Client.Go, v.Client.Platform)
		if v.Server != nil {
			fmt.Fprintf(w, "server: %s (%s, %s)\n", v.Server.GitVersion, v.Server.GoVersion, v.Server.Platform)
		}
		if missing != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "no server: %s\n", apiclient.Explain(missing))
		}
		return nil
	}
	return cmd
}

func (a *app) serverVersion(c *connection, cmd *cobra.Command) (*apiversion.Info, error) {
	s, err := a.connect(c, cmd)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), versionTimeout)
	defer cancel()
	info := &apiversion.Info{}
	if err := fetch(ctx, s.CoreV1().RESTClient().Get().AbsPath("/version").MaxRetries(0), "version", info); err != nil {
		return nil, err
	}
	return info, nil
}
