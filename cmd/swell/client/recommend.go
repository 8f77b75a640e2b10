package client

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/internal/table"
)

// Formats that are manifests for a cluster of Kubernetes.
const (
	formatVPA = "vpa"
	formatHPA = "hpa"
)

func (a *app) newRecommendCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "recommend [WORKLOAD]",
		Short: "Show how large containers should be, by what they used",
		Long: `Show how large containers should be, by what they used: a percentile of their CPU and of their
memory's peaks over the last days, with a margin, against the size that they have. A container that is
short has less than is recommended; one that is over has more than even the upper bound, which is wide
while little is known. Nothing is changed: an Autosize policy does that.

A workload is the controller of its pods (Deployment/web), the pods of one app.kubernetes.io/name
(App/web), or a pod by itself (Pod/web); the name alone will do.

-o vpa writes a VerticalPodAutoscaler and -o hpa a HorizontalPodAutoscaler for the workload's
controller, with bounds and a target from what was seen.`,
		Example: `  swell recommend
  swell recommend web -o yaml
  swell recommend Deployment/web -o vpa | kubectl apply -f -`,
		Args: takes("[WORKLOAD]"),
	}
	c := a.addConnection(cmd)
	c.addNamespace(a, cmd)
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "workloads of all namespaces")
	out := addFormat(cmd, "table", formatJSON, formatYAML, formatName, formatVPA, formatHPA)
	cmd.ValidArgsFunction = a.completeFirst(c, recommendationNames)
	cmd.RunE = a.connected(c, func(ctx context.Context, s *session, cmd *cobra.Command, args []string) error {
		namespace := s.namespace
		if all {
			namespace = ""
		}
		list, err := recommendations(ctx, s, namespace)
		if err != nil {
			return err
		}
		if len(args) > 0 {
			list.Items = slices.DeleteFunc(list.Items, func(r v1alpha1.Recommendation) bool { return !isCalled(&r, args[0]) })
			if len(list.Items) == 0 {
				return apierrors.NewNotFound(schema.GroupResource{Group: v1alpha1.Group, Resource: "recommendations"}, args[0])
			}
		}
		w := cmd.OutOrStdout()
		switch {
		case out.structured():
			return out.print(w, list)
		case len(list.Items) == 0:
			fmt.Fprintln(cmd.ErrOrStderr(), "no recommendations: nothing has run for long enough; usage is told once a minute")
			return nil
		case out.value == formatName:
			for i := range list.Items {
				fmt.Fprintln(w, workloadName(&list.Items[i]))
			}
			return nil
		case out.value == formatVPA || out.value == formatHPA:
			return printManifests(cmd, out.value, list.Items, len(args) > 0)
		}
		return printRecommendations(w, list.Items, all)
	})
	return cmd
}

func recommendations(ctx context.Context, s *session, namespace string) (*v1alpha1.RecommendationList, error) {
	path := []string{group}
	if namespace != "" {
		path = append(path, "namespaces", namespace)
	}
	list := &v1alpha1.RecommendationList{}
	return list, fetch(ctx, s.CoreV1().RESTClient().Get().AbsPath(append(path, "recommendations")...), "recommendations", list)
}

func recommendationNames(ctx context.Context, s *session, _ []string) ([]string, error) {
	list, err := recommendations(ctx, s, s.namespace)
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range list.Items {
		out = append(out, workloadName(&list.Items[i]))
	}
	return out, nil
}

func workloadName(r *v1alpha1.Recommendation) string { return r.Workload.Kind + "/" + r.Workload.Name }

// isCalled accepts Deployment/web, deployment/web, web, and the object's name deployment-web.
func isCalled(r *v1alpha1.Recommendation, arg string) bool {
	if kind, name, ok := strings.Cut(arg, "/"); ok {
		return strings.EqualFold(kind, r.Workload.Kind) && name == r.Workload.Name
	}
	return arg == r.Workload.Name || arg == r.Name
}

func printRecommendations(w io.Writer, list []v1alpha1.Recommendation, namespaces bool) error {
	columns := []table.Column{{Name: "WORKLOAD"}, {Name: "CONTAINER"}, {Name: "PODS", Right: true}, {Name: "CPU", Right: true}, {Name: "RECOMMENDED", Right: true},
		{Name: "MEMORY", Right: true}, {Name: "RECOMMENDED", Right: true}, {Name: "VERDICT"}, {Name: "WHY"}}
	if namespaces {
		columns = append([]table.Column{{Name: "NAMESPACE"}}, columns...)
	}
	var rows [][]string
	var sum account
	for i := range list {
		r := &list[i]
		for j := range r.Containers {
			c := &r.Containers[j]
			size := sizeNow(r, c.Name)
			row := []string{workloadName(r), c.Name, fmt.Sprint(r.Pods), between(size, corev1.ResourceCPU), c.Target.Cpu().String(),
				between(size, corev1.ResourceMemory), c.Target.Memory().String(), sum.verdict(c, size, int64(r.Pods)), c.Explanation}
			if r.Autosize != "" {
				row[len(row)-1] += "; Autosize " + r.Autosize
			}
			if namespaces {
				row = append([]string{r.Namespace}, row...)
			}
			rows = append(rows, row)
		}
	}
	if err := table.New(columns...).Print(w, rows...); err != nil {
		return err
	}
	return sum.print(w)
}

// sizeNow is a container's size, nil where there are no pods with it.
func sizeNow(r *v1alpha1.Recommendation, container string) *v1alpha1.CurrentContainerSize {
	for i := range r.Current {
		if r.Current[i].Name == container {
			return &r.Current[i]
		}
	}
	return nil
}

// between shows a size, or from which to which pods' sizes are.
func between(size *v1alpha1.CurrentContainerSize, name corev1.ResourceName) string {
	if size == nil {
		return ""
	}
	least, most := size.Size[name], size.Largest[name]
	if most.IsZero() || most.Cmp(least) == 0 {
		return least.String()
	}
	return least.String() + "–" + most.String()
}

// account adds up what is missing and what is too much, over all pods.
type account struct {
	short, over [2]int64 // milli-CPU, bytes
}

// changeFrom is by how much a size has to be short or over to be called so. It is Autosize's default.
const changeFrom = v1alpha1.DefaultChangePercent / 100.0

func (a *account) verdict(c *v1alpha1.ContainerRecommendation, size *v1alpha1.CurrentContainerSize, pods int64) string {
	if size == nil {
		return "no pods now"
	}
	var parts []string
	one := func(i int, name corev1.ResourceName, value func(corev1.ResourceList) int64, text func(int64) string) {
		now, target, upper := value(size.Size), value(c.Target), value(c.UpperBound)
		switch {
		case float64(target) >= float64(now)*(1+changeFrom):
			parts = append(parts, fmt.Sprintf("%s short by %s", name, text(target-now)))
			a.short[i] += (target - now) * pods
		case now > upper && float64(target) <= float64(now)*(1-changeFrom):
			parts = append(parts, fmt.Sprintf("%s over by %s", name, text(now-target)))
			a.over[i] += (now - target) * pods
		}
	}
	one(0, corev1.ResourceCPU, func(l corev1.ResourceList) int64 { return l.Cpu().MilliValue() }, cpuText)
	one(1, corev1.ResourceMemory, func(l corev1.ResourceList) int64 { return l.Memory().Value() }, memoryText)
	if len(parts) == 0 {
		return "fits"
	}
	return strings.Join(parts, ", ")
}

func (a *account) print(w io.Writer) error {
	line := func(what string, v [2]int64) string {
		var parts []string
		if v[0] > 0 {
			parts = append(parts, cpuText(v[0])+" CPU")
		}
		if v[1] > 0 {
			parts = append(parts, memoryText(v[1])+" memory")
		}
		if len(parts) == 0 {
			return ""
		}
		return what + " " + strings.Join(parts, " and ")
	}
	var parts []string
	for _, l := range []string{line("short by", a.short), line("could save", a.over)} {
		if l != "" {
			parts = append(parts, l)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "all pods together: %s\n", strings.Join(parts, ", "))
	return err
}
