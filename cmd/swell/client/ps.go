package client

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/table"
)

func (a *app) newPsCommand() *cobra.Command {
	var (
		all, follow bool
		selector    string
	)
	cmd := &cobra.Command{
		Use:   "ps [POD]",
		Short: "List pods",
		Long: `List pods with their size. While a resize is under way, CPU and MEMORY show what the pod
has and what it shall have: 250m→2.`,
		Example: `  swell ps
  swell ps -A -o wide
  swell ps -w            # go on with every change
  swell ps -l app=web -o json`,
		Args: takes("[POD]"),
	}
	c := a.addConnection(cmd)
	c.addNamespace(a, cmd)
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "pods of all namespaces")
	cmd.Flags().BoolVarP(&follow, "watch", "w", false, "go on with every change")
	cmd.Flags().StringVarP(&selector, "selector", "l", "", "label selector")
	out := addFormat(cmd, formatWide, formatJSON, formatYAML, formatName)
	cmd.ValidArgsFunction = a.completeFirst(c, podNames)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		namespace := s.namespace
		if all {
			if len(args) > 0 {
				return wrong(cmd, "a pod's name says nothing in all namespaces: leave out -A")
			}
			namespace = metav1.NamespaceAll
		}
		options := metav1.ListOptions{LabelSelector: selector}
		if len(args) > 0 {
			options.FieldSelector = "metadata.name=" + podName(args[0])
		}
		p := &podPrinter{app: a, out: cmd.OutOrStdout(), format: out, namespaces: all}
		if follow {
			return p.follow(ctx, s, namespace, options)
		}
		if len(args) > 0 { // a missing pod is an error, not an empty list
			pod, err := s.CoreV1().Pods(namespace).Get(ctx, podName(args[0]), metav1.GetOptions{})
			if err != nil {
				return err
			}
			if out.structured() {
				return out.print(p.out, pod)
			}
			return p.rows([]corev1.Pod{*pod})
		}
		list, err := s.CoreV1().Pods(namespace).List(ctx, options)
		if err != nil {
			return err
		}
		if out.structured() {
			return out.print(p.out, list)
		}
		if len(list.Items) == 0 && out.value != formatName {
			where := fmt.Sprintf("in namespace %s; `swell ps -A` looks in all", namespace)
			if all {
				where = "in any namespace; `swell run` starts one"
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "no pods %s\n", where)
			return nil
		}
		return p.rows(list.Items)
	})
	return cmd
}

// podPrinter writes pods as rows of one table.
type podPrinter struct {
	app        *app
	out        io.Writer
	format     *format
	namespaces bool
	table      *table.Table
}

func (p *podPrinter) follow(ctx context.Context, s *session, namespace string, options metav1.ListOptions) error {
	feed, list, err := openFeed(ctx, s.CoreV1().Pods(namespace), options)
	if err != nil {
		return err
	}
	defer feed.close()
	if err := p.all(list.Items); err != nil {
		return err
	}
	for {
		ev, err := feed.next(ctx)
		if err != nil {
			return err
		}
		pod, ok := ev.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		if ev.Type == watch.Deleted && p.format.value != formatName && !p.format.structured() {
			pod = pod.DeepCopy()
			pod.Status.Reason, pod.Status.Phase = "Removed", corev1.PodSucceeded
			pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses = nil, nil
		}
		if err := p.all([]corev1.Pod{*pod}); err != nil {
			return err
		}
	}
}

// all writes each pod in whichever format is asked for.
func (p *podPrinter) all(pods []corev1.Pod) error {
	if !p.format.structured() {
		return p.rows(pods)
	}
	for i := range pods {
		if p.format.value == formatYAML {
			fmt.Fprintln(p.out, "---")
		}
		if err := p.format.print(p.out, &pods[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *podPrinter) rows(pods []corev1.Pod) error {
	if p.format.value == formatName {
		for i := range pods {
			fmt.Fprintln(p.out, "pod/"+pods[i].Name)
		}
		return nil
	}
	wide := p.format.value == formatWide
	if p.table == nil {
		p.table = table.New(p.columns(wide)...)
	}
	rows := make([][]string, 0, len(pods))
	for i := range pods {
		pod := &pods[i]
		cpu, memory := podSize(pod)
		row := []string{pod.Name, podReady(pod), podStatus(pod), podRestarts(pod, p.app.now()),
			cpu, memory, v1alpha1.ComputeClass(pod), pod.Spec.NodeName, age(p.app.now(), pod.CreationTimestamp)}
		if p.namespaces {
			row = append([]string{pod.Namespace}, row...)
		}
		if wide {
			image := ""
			if len(pod.Spec.Containers) > 0 {
				image = pod.Spec.Containers[0].Image
			}
			row = append(row, pod.Status.PodIP, v1alpha1.QoS(pod), pod.Annotations[v1alpha1.AnnotationPrice], image)
		}
		rows = append(rows, row)
	}
	return p.table.Print(p.out, rows...)
}

func (p *podPrinter) columns(wide bool) []table.Column {
	columns := []table.Column{{Name: "NAME"}, {Name: "READY"}, {Name: "STATUS"}, {Name: "RESTARTS"},
		{Name: "CPU", Right: true}, {Name: "MEMORY", Right: true}, {Name: "CLASS"}, {Name: "NODE"}, {Name: "AGE"}}
	if p.namespaces {
		columns = append([]table.Column{{Name: "NAMESPACE"}}, columns...)
	}
	if wide {
		columns = append(columns, table.Column{Name: "IP"}, table.Column{Name: "QOS"}, table.Column{Name: "PER-HOUR", Right: true}, table.Column{Name: "IMAGE"})
	}
	return columns
}
