package e2e

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
)

// awaitNode watches until a node is there and ready.
func awaitNode(t *testing.T, c kubernetes.Interface, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		opts := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()}
		list, err := c.CoreV1().Nodes().List(ctx, opts)
		if err != nil {
			t.Fatalf("node %s: %v", name, err)
		}
		for i := range list.Items {
			if nodeReady(&list.Items[i]) {
				return
			}
		}
		opts.ResourceVersion = list.ResourceVersion
		w, err := c.CoreV1().Nodes().Watch(ctx, opts)
		if err != nil {
			t.Fatalf("node %s isn't ready: %v", name, err)
		}
		for ev := range w.ResultChan() {
			if node, ok := ev.Object.(*corev1.Node); ok && nodeReady(node) {
				w.Stop()
				return
			}
		}
	}
}

func nodeReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
