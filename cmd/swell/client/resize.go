package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/console"
)

// resizing is a wish for a container's size, or v1alpha1.WholePod's.
type resizing struct {
	pod, container string
	cpu, memory    string
	wait           bool
	timeout        time.Duration
}

func (a *app) newResizeCommand() *cobra.Command {
	var r resizing
	cmd := &cobra.Command{
		Use:   "resize POD",
		Short: "Change the size of a running pod",
		Long: `Change CPU and memory of a running container, in place: its processes and connections stay.
Of a pod that says what it has as a whole (spec.resources), that is changed unless a container is named.
Request and limit are both set to the value. The command waits until the kernel has the new size, and
fails if the node is full (the resize then stays deferred and happens when room frees), could never
hold it, or refused it.`,
		Example: `  swell resize web --cpu 2 --memory 1Gi
  swell resize web --container app --cpu 500m
  swell resize web --cpu 4 --wait=false`,
		Args: takes("POD"),
	}
	c := a.addConnection(cmd)
	c.addNamespace(a, cmd)
	f := cmd.Flags()
	f.StringVarP(&r.container, "container", "c", "", "container (may be left out if there is only one, or if the pod has a size as a whole)")
	f.StringVar(&r.cpu, "cpu", "", "CPUs: 2, 1.5, 250m")
	f.StringVar(&r.memory, "memory", "", "memory: 512Mi, 2Gi")
	f.BoolVar(&r.wait, "wait", true, "wait until the new size is in effect")
	f.DurationVar(&r.timeout, "timeout", time.Minute, "how long to wait")
	out := addFormat(cmd, formatJSON, formatYAML, formatName)
	cmd.ValidArgsFunction = a.completeFirst(c, podNames)
	_ = cmd.RegisterFlagCompletionFunc("container", a.complete(c, containerNames))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if r.cpu == "" && r.memory == "" {
			return wrong(cmd, "nothing to change: give --cpu, --memory or both")
		}
		if _, err := sizes(r.cpu, r.memory); err != nil {
			return wrong(cmd, "%w", err)
		}
		r.pod = podName(args[0])
		return a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, _ []string) error {
			return r.run(ctx, s, cmd, out)
		})(cmd, args)
	}
	return cmd
}

// sizes reads --cpu and --memory; what is empty is left out.
func sizes(cpu, memory string) (corev1.ResourceList, error) {
	list := corev1.ResourceList{}
	for _, f := range []struct {
		name        corev1.ResourceName
		text, usage string
	}{{corev1.ResourceCPU, cpu, "2, 1.5 or 250m"}, {corev1.ResourceMemory, memory, "512Mi or 2Gi"}} {
		if f.text == "" {
			continue
		}
		q, err := resource.ParseQuantity(f.text)
		if err != nil || q.Sign() <= 0 {
			return nil, fmt.Errorf("--%s %q is no amount: write it like %s", f.name, f.text, f.usage)
		}
		list[f.name] = q
	}
	return list, nil
}

func (r *resizing) run(ctx context.Context, s *session, cmd *cobra.Command, out *format) error {
	size, err := sizes(r.cpu, r.memory)
	if err != nil {
		return err
	}
	// The watch stands before the patch goes out, so that the time it takes is the system's and not
	// that of setting up the watch.
	feed, list, err := openFeed(ctx, s.CoreV1().Pods(s.namespace), metav1.ListOptions{FieldSelector: "metadata.name=" + r.pod})
	if err != nil {
		return err
	}
	defer feed.close()
	var before *corev1.Pod
	if len(list.Items) > 0 {
		before = &list.Items[0]
	} else if before, err = s.CoreV1().Pods(s.namespace).Get(ctx, r.pod, metav1.GetOptions{}); err != nil {
		return err
	}
	if err := r.choose(before); err != nil {
		return err
	}

	resources := corev1.ResourceRequirements{Requests: size, Limits: size}
	spec := map[string]any{"resources": resources}
	if r.container != v1alpha1.WholePod {
		spec = map[string]any{"containers": []any{map[string]any{"name": r.container, "resources": resources}}}
	}
	body, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return err
	}
	start := time.Now()
	pod, err := s.CoreV1().Pods(s.namespace).Patch(ctx, r.pod, types.StrategicMergePatchType, body,
		metav1.PatchOptions{FieldManager: fieldManager}, "resize")
	if err != nil {
		return err
	}
	answered := time.Since(start)
	if !r.wait {
		return r.report(cmd, out, before, pod, fmt.Sprintf("accepted in %s", elapsed(answered)))
	}

	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	line := console.NewLine(cmd.ErrOrStderr(), console.IsTerminal(cmd.ErrOrStderr()))
	defer line.Clear()
	asked := pod.Generation
	for {
		done, note, err := r.outcome(pod, asked)
		if err != nil {
			return err
		}
		if done {
			line.Clear()
			return r.report(cmd, out, before, pod, fmt.Sprintf("in effect after %s (answered in %s)", elapsed(time.Since(start)), elapsed(answered)))
		}
		if note != "" {
			line.Say(note)
		}
		ev, err := feed.next(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("pod %s: not resized within %s: %s; it goes on, look with `swell ps %s -w`", r.pod, r.timeout, unresolved(note), r.pod)
		}
		if err != nil {
			return err
		}
		next, ok := ev.Object.(*corev1.Pod)
		if !ok || next.UID != pod.UID {
			continue
		}
		if ev.Type == watch.Deleted {
			return fmt.Errorf("pod %s: removed before it was resized", r.pod)
		}
		if next.Generation >= asked { // an older one is from before the patch
			pod = next
		}
	}
}

func unresolved(note string) string {
	if note == "" {
		return "its status doesn't show the new size yet"
	}
	return note
}

// choose settles the container.
func (r *resizing) choose(pod *corev1.Pod) error {
	var all []string
	for i := range pod.Spec.Containers {
		all = append(all, pod.Spec.Containers[i].Name)
		if r.container == pod.Spec.Containers[i].Name {
			return nil
		}
	}
	switch {
	case r.container != "":
		return fmt.Errorf("pod %s: no container %s; it has %s", pod.Name, r.container, strings.Join(all, ", "))
	case v1alpha1.HasPodResources(&pod.Spec):
		r.container = v1alpha1.WholePod
		return nil
	case len(all) != 1:
		return fmt.Errorf("pod %s: has several containers: name one of %s with --container", pod.Name, strings.Join(all, ", "))
	}
	r.container = all[0]
	return nil
}

func (r *resizing) report(cmd *cobra.Command, out *format, before, after *corev1.Pod, outcome string) error {
	switch {
	case out.structured():
		return out.print(cmd.OutOrStdout(), after)
	case out.value == formatName:
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "pod/"+after.Name)
		return err
	}
	was, _ := containerResources(before, r.container)
	is, _ := containerResources(after, r.container)
	who := "pod/" + after.Name
	if r.container != v1alpha1.WholePod {
		who += " container " + r.container
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s → %s, %s\n", who, sizeText(was), sizeText(is), outcome)
	return err
}

func sizeText(r corev1.ResourceRequirements) string {
	cpu, memory := v1alpha1.SizeOf(r)
	return fmt.Sprintf("%s CPU %s", cpuText(cpu), memoryText(memory))
}
