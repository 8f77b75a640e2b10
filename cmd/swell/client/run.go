package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/console"
)

// fieldManager is our name in managed fields.
const fieldManager = "swell"

// removeTimeout bounds the removal of a `run --rm` pod that was interrupted.
const removeTimeout = 10 * time.Second

// running is what `run` was asked for.
type running struct {
	pod             podFlags
	detach, remove  bool
	dryRun          bool
	timeout         time.Duration
	started         time.Time
	progress        *console.Line
	out             *format
	stdout, message io.Writer
}

func (a *app) newRunCommand() *cobra.Command {
	var r running
	cmd := &cobra.Command{
		Use:   "run NAME --image IMAGE [flags] [-- ARGUMENT…]",
		Short: "Start a pod with one container",
		Long: `Start a pod with one container and wait until it runs. What follows -- are arguments for the
image's entry point, or with --command the command itself. Request and limit are both set to --cpu and
--memory.`,
		Example: `  swell run web --image registry.example/web:1 --cpu 500m --memory 1Gi --port 8080
  swell run job --image busybox --rm -- sh -c 'echo hello; exit 3'
  swell run fast --image web:1 --class performance -d
  swell run web --image web:1 --dry-run -o yaml > pod.yaml`,
		Args: takes("NAME", "[ARGUMENT…]"),
	}
	c := a.addConnection(cmd)
	c.addNamespace(a, cmd)
	r.pod.add(cmd)
	_ = cmd.RegisterFlagCompletionFunc("node", a.complete(c, nodeNames))
	f := cmd.Flags()
	f.BoolVarP(&r.detach, "detach", "d", false, "return as soon as the pod is accepted")
	f.BoolVar(&r.remove, "rm", false, "print the pod's log, end with its exit code, and remove it (implies --restart Never)")
	f.BoolVar(&r.dryRun, "dry-run", false, "let the server check and complete the pod, and start nothing")
	f.DurationVar(&r.timeout, "timeout", 5*time.Minute, "how long to wait until it runs")
	r.out = addFormat(cmd, formatJSON, formatYAML, formatName)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if r.remove && (r.detach || r.dryRun) {
			return wrong(cmd, "--rm waits for the pod's end: leave out -d and --dry-run")
		}
		pod, err := r.pod.build(args[0], args[1:], r.remove)
		if err != nil {
			return wrong(cmd, "%w", err)
		}
		return a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
			r.stdout, r.message = cmd.OutOrStdout(), cmd.ErrOrStderr()
			r.progress = console.NewLine(r.message, console.IsTerminal(r.message))
			return r.run(ctx, s, pod)
		})(cmd, args)
	}
	return cmd
}

func (r *running) run(ctx context.Context, s *session, pod *corev1.Pod) error {
	options := metav1.CreateOptions{FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict}
	if r.dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	r.started = time.Now()
	pod, err := s.CoreV1().Pods(s.namespace).Create(ctx, pod, options)
	if err != nil {
		return err
	}
	switch {
	case r.dryRun:
		return r.report(pod, "would be accepted"+quoted(pod))
	case r.detach:
		return r.report(pod, fmt.Sprintf("accepted in %s%s", elapsed(time.Since(r.started)), onNode(pod)))
	case r.remove:
		return r.attended(ctx, s, pod)
	}
	pod, err = r.awaitStart(ctx, s, pod)
	r.progress.Clear()
	if errors.Is(err, context.Canceled) {
		fmt.Fprintf(r.message, "pod/%s is left as it is; `swell ps %s -w` shows it, `swell rm %s` removes it\n", pod.Name, pod.Name, pod.Name)
	}
	if err != nil {
		return err
	}
	if terminal(pod) {
		return r.report(pod, fmt.Sprintf("completed after %s%s", elapsed(time.Since(r.started)), onNode(pod)))
	}
	return r.report(pod, fmt.Sprintf("running after %s%s", elapsed(time.Since(r.started)), onNode(pod)))
}

// attended runs the pod as if it were a local command: its log, its exit code, and nothing left.
func (r *running) attended(ctx context.Context, s *session, pod *corev1.Pod) (err error) {
	defer func() {
		// Also when interrupted: then ctx has ended already.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		removal := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}}
		if rmErr := s.CoreV1().Pods(s.namespace).Delete(ctx, pod.Name, removal); rmErr != nil {
			err = errors.Join(err, fmt.Errorf("pod %s: not removed: %w", pod.Name, rmErr))
		}
	}()
	started, err := r.awaitStart(ctx, s, pod)
	r.progress.Clear()
	// A container that failed has a log and an exit code as well.
	if err != nil && !terminal(started) {
		return err
	}
	if err := copyLog(ctx, s, pod.Name, &corev1.PodLogOptions{Follow: true}, r.stdout); err != nil {
		return err
	}
	ended, err := awaitEnd(ctx, s, started)
	if err != nil {
		return err
	}
	for i := range ended.Status.ContainerStatuses {
		if t := ended.Status.ContainerStatuses[i].State.Terminated; t != nil {
			if t.Reason != "" && t.Reason != "Completed" && t.Reason != "Error" {
				fmt.Fprintf(r.message, "pod/%s: %s\n", pod.Name, reasonText(t.Reason, t.Message))
			}
			if t.ExitCode != 0 {
				return &ExitError{Code: int(t.ExitCode)}
			}
		}
	}
	if ended.Status.Phase == corev1.PodFailed {
		return fmt.Errorf("pod %s: failed: %s", pod.Name, reasonText(ended.Status.Reason, ended.Status.Message))
	}
	return nil
}

func onNode(pod *corev1.Pod) string {
	text := ""
	if pod.Spec.NodeName != "" {
		text = " on " + pod.Spec.NodeName
	}
	if pod.Status.PodIP != "" {
		text += " at " + pod.Status.PodIP
	}
	return text
}

func (r *running) report(pod *corev1.Pod, outcome string) error {
	if r.out.structured() {
		return r.out.print(r.stdout, pod)
	}
	line := "pod/" + pod.Name
	if r.out.value != formatName {
		cpu, memory := podSize(pod)
		line += fmt.Sprintf(" (%s CPU %s, %s) %s", cpu, memory, v1alpha1.ComputeClass(pod), outcome)
	}
	_, err := fmt.Fprintln(r.stdout, line)
	return err
}
