package client

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/table"
)

// group is the root of our own API group.
const group = "/apis/" + v1alpha1.Group + "/" + v1alpha1.Version

func (a *app) newNodesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "nodes",
		Aliases: []string{"node"},
		Short:   "List nodes, keep pods off them, and let new ones join",
		Example: `  swell nodes -o wide
  swell nodes cordon n1       # no new pods there
  swell nodes uncordon n1
  swell nodes token           # for swell nodelet --join on a new host`,
		Args: takes(),
	}
	c := a.addConnection(cmd)
	out := addFormat(cmd, formatWide, formatJSON, formatYAML, formatName)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
		list, err := s.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		return a.printNodes(cmd, out, list)
	})
	cmd.AddCommand(a.newCordonCommand("cordon", "Give a node no new pods", true),
		a.newCordonCommand("uncordon", "Give a node new pods again", false), a.newTokenCommand())
	return cmd
}

func (a *app) printNodes(cmd *cobra.Command, out *format, list *corev1.NodeList) error {
	w := cmd.OutOrStdout()
	switch {
	case out.structured():
		return out.print(w, list)
	case out.value == formatName:
		for i := range list.Items {
			fmt.Fprintln(w, "node/"+list.Items[i].Name)
		}
		return nil
	case len(list.Items) == 0:
		fmt.Fprintln(cmd.ErrOrStderr(), "no nodes; `swell nodes token` lets one join")
		return nil
	}
	wide := out.value == formatWide
	columns := []table.Column{{Name: "NAME"}, {Name: "STATUS"}, {Name: "CPU", Right: true}, {Name: "MEMORY", Right: true}, {Name: "PODS", Right: true}, {Name: "VERSION"}, {Name: "AGE"}}
	if wide {
		columns = append(columns, table.Column{Name: "ADDRESS"}, table.Column{Name: "OS"}, table.Column{Name: "KERNEL"}, table.Column{Name: "RUNTIME"})
	}
	var rows [][]string
	for i := range list.Items {
		n := &list.Items[i]
		info := n.Status.NodeInfo
		row := []string{n.Name, nodeStatus(n), n.Status.Allocatable.Cpu().String(), n.Status.Allocatable.Memory().String(),
			n.Status.Allocatable.Pods().String(), info.KubeletVersion, age(a.now(), n.CreationTimestamp)}
		if wide {
			address := ""
			if len(n.Status.Addresses) > 0 {
				address = n.Status.Addresses[0].Address
			}
			row = append(row, address, info.OSImage, info.KernelVersion, info.ContainerRuntimeVersion)
		}
		rows = append(rows, row)
	}
	return table.New(columns...).Print(w, rows...)
}

func nodeReady(n *corev1.Node) bool {
	for i := range n.Status.Conditions {
		if c := &n.Status.Conditions[i]; c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func nodeStatus(n *corev1.Node) string {
	status := "NotReady"
	if nodeReady(n) {
		status = "Ready"
	}
	if n.Spec.Unschedulable {
		status += ",Cordoned"
	}
	return status
}

func (a *app) newCordonCommand(verb, short string, cordon bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:     verb + " NODE…",
		Short:   short,
		Example: "  swell nodes " + verb + " n1",
		Args:    takes("NODE…"),
	}
	c := a.addConnection(cmd)
	cmd.ValidArgsFunction = a.complete(c, nodeNames)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		body := fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, cordon)
		for _, arg := range args {
			name := strings.TrimPrefix(arg, "node/")
			if _, err := s.CoreV1().Nodes().Patch(ctx, name, types.StrategicMergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "node/%s %sed\n", name, verb)
		}
		return nil
	})
	return cmd
}

func (a *app) newTokenCommand() *cobra.Command {
	var (
		ttl   time.Duration
		quiet bool
	)
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a one-time token with which a new node joins",
		Example: `  swell nodes token --ttl 10m
  TOKEN=$(swell nodes token -q)`,
		Args: takes(),
	}
	c := a.addConnection(cmd)
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long the token is good for")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print the token and nothing else")
	out := addFormat(cmd, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if ttl < time.Second {
			return wrong(cmd, "--ttl %s: must be a second or more", ttl)
		}
		return a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
			token, err := makeToken(ctx, s, ttl)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			switch {
			case quiet:
				_, err = fmt.Fprintln(w, token.Status.Token)
			case out.structured():
				err = out.print(w, token)
			default:
				_, err = fmt.Fprintf(w, "token:   %s\nCA hash: %s\nexpires: %s\n", token.Status.Token, token.Status.CAHash,
					token.Status.ExpirationTimestamp.UTC().Format(time.RFC3339))
				fmt.Fprintln(cmd.ErrOrStderr(), "It is shown once and good for one node: use it with `swell nodelet --join` on the new host.")
			}
			return err
		})(cmd, args)
	}
	return cmd
}

func makeToken(ctx context.Context, s *session, ttl time.Duration) (*v1alpha1.JoinToken, error) {
	body, err := json.Marshal(v1alpha1.JoinToken{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.Group + "/" + v1alpha1.Version, Kind: "JoinToken"},
		Spec:     v1alpha1.JoinTokenSpec{TTLSeconds: int64(ttl / time.Second)},
	})
	if err != nil {
		return nil, err
	}
	token := &v1alpha1.JoinToken{}
	request := s.CoreV1().RESTClient().Post().AbsPath(group, "jointokens").SetHeader("Content-Type", "application/json").Body(body)
	return token, fetch(ctx, request, "join token", token)
}
