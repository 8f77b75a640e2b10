package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// removal says how pods are removed.
type removal struct {
	grace         int64 // seconds; negative: the pod's own
	force, wait   bool
	timeout       time.Duration
	ignoreMissing bool
}

func (a *app) newRmCommand() *cobra.Command {
	var r removal
	cmd := &cobra.Command{
		Use:     "rm POD…",
		Aliases: []string{"delete"},
		Short:   "Remove pods",
		Long: `Remove pods. Their processes get SIGTERM and, after the grace period, SIGKILL. The command
waits until the pods are gone.`,
		Example: `  swell rm web
  swell rm web db --grace-period 5
  swell rm web --force           # kill at once
  swell rm $(swell ps -o name)`,
		Args: takes("POD…"),
	}
	c := a.addConnection(cmd)
	c.addNamespace(a, cmd)
	f := cmd.Flags()
	f.Int64Var(&r.grace, "grace-period", -1, "seconds between SIGTERM and SIGKILL; −1 is the pod's own")
	f.BoolVar(&r.force, "force", false, "remove at once, without a grace period")
	f.BoolVar(&r.wait, "wait", true, "wait until the pods are gone")
	f.BoolVar(&r.ignoreMissing, "ignore-not-found", false, "a pod that isn't there is no error")
	f.DurationVar(&r.timeout, "timeout", 0, "how long to wait; 0 is without end")
	cmd.ValidArgsFunction = a.complete(c, podNames)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		if r.force {
			if r.grace > 0 {
				return wrong(cmd, "--force leaves no grace period: leave out one of --force and --grace-period")
			}
			r.grace = 0
		}
		return r.run(ctx, s, cmd, args)
	})
	return cmd
}

// run asks for all removals first and then waits for them, so that their grace periods pass together.
func (r *removal) run(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
	if r.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.timeout)
		defer cancel()
	}
	var errs []error
	going := map[string]types.UID{}
	var order []string
	for _, arg := range args {
		name := podName(arg)
		pod, err := r.remove(ctx, s, name)
		if r.ignoreMissing && apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if _, twice := going[name]; !twice {
			order = append(order, name)
		}
		going[name] = pod.UID
	}
	for _, name := range order {
		if !r.wait {
			fmt.Fprintf(cmd.OutOrStdout(), "pod/%s is being removed\n", name)
			continue
		}
		err := awaitRemoval(ctx, s, name, going[name])
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("pod %s: not gone within %s; it goes on, look with `swell ps %s`", name, r.timeout, name)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(cmd.OutOrStdout(), "pod/%s removed\n", name)
	}
	return errors.Join(errs...)
}

// remove asks for the removal and answers the pod as it was.
func (r *removal) remove(ctx context.Context, s *session, name string) (*corev1.Pod, error) {
	pod, err := s.CoreV1().Pods(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}}
	if r.grace >= 0 {
		options.GracePeriodSeconds = &r.grace
	}
	return pod, s.CoreV1().Pods(s.namespace).Delete(ctx, name, options)
}

// awaitRemoval returns when the pod with that UID is gone; another one of its name may be there.
func awaitRemoval(ctx context.Context, s *session, name string, uid types.UID) error {
	feed, list, err := openFeed(ctx, s.CoreV1().Pods(s.namespace), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		return err
	}
	defer feed.close()
	for i := range list.Items {
		if list.Items[i].UID != uid {
			return nil
		}
	}
	if len(list.Items) == 0 {
		return nil
	}
	for {
		ev, err := feed.next(ctx)
		if err != nil {
			return err
		}
		pod, ok := ev.Object.(*corev1.Pod)
		if ok && (pod.UID != uid || ev.Type == watch.Deleted) {
			return nil
		}
	}
}
