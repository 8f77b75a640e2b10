package client

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// completionTimeout bounds how long a press of Tab may take.
const completionTimeout = 2 * time.Second

// names lists candidates; args are the arguments already on the command line.
type names func(ctx context.Context, s *session, args []string) ([]string, error)

// complete makes a completion out of a list. Errors give no candidates: there is nowhere to show them.
func (a *app) complete(c *connection, list names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		s, err := a.connect(c, cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completionTimeout)
		defer cancel()
		all, err := list(ctx, s, args)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []string
		for _, name := range all {
			if strings.HasPrefix(name, prefix) {
				out = append(out, name)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFirst completes the first argument only.
func (a *app) completeFirst(c *connection, list names) cobra.CompletionFunc {
	return a.complete(c, func(ctx context.Context, s *session, args []string) ([]string, error) {
		if len(args) > 0 {
			return nil, nil
		}
		return list(ctx, s, args)
	})
}

func podNames(ctx context.Context, s *session, _ []string) ([]string, error) {
	list, err := s.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, list.Items[i].Name)
	}
	return out, nil
}

// containerNames lists the containers of the pod that the first argument names.
func containerNames(ctx context.Context, s *session, args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	pod, err := s.CoreV1().Pods(s.namespace).Get(ctx, podName(args[0]), metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range pod.Spec.Containers {
		out = append(out, pod.Spec.Containers[i].Name)
	}
	for i := range pod.Spec.InitContainers {
		out = append(out, pod.Spec.InitContainers[i].Name)
	}
	return out, nil
}

func nodeNames(ctx context.Context, s *session, _ []string) ([]string, error) {
	list, err := s.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, list.Items[i].Name)
	}
	return out, nil
}

func namespaceNames(ctx context.Context, s *session, _ []string) ([]string, error) {
	list, err := s.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, list.Items[i].Name)
	}
	return out, nil
}
