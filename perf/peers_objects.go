package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// makeObjects makes what controllers and kubelets would have: the default service account, and the nodes.
func (k *kube) makeObjects(ctx context.Context) error {
	if err := k.makeAccount(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	names := make(chan string)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for name := range names {
				if err := k.makeNode(ctx, name); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	for i := 0; i < k.cfg.nodes && ctx.Err() == nil; i++ {
		select {
		case names <- nodeName(i):
		case <-ctx.Done():
		}
	}
	close(names)
	wg.Wait()
	return context.Cause(ctx)
}

// makeAccount waits for the namespace, which kube-apiserver makes for itself. The account doesn't mount its
// token, so that pods here are as small as Swell's.
func (k *kube) makeAccount(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	no := false
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}, AutomountServiceAccountToken: &no}
	for {
		_, err := k.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Create(ctx, account, metav1.CreateOptions{})
		if err == nil || apierrors.IsAlreadyExists(err) {
			return nil
		}
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("service account default: %w", err)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// makeNode registers a node as its kubelet does, and takes away the taint that admission gives to new nodes,
// as the node lifecycle controller does when they are ready.
func (k *kube) makeNode(ctx context.Context, name string) error {
	if _, err := k.client.CoreV1().Nodes().Create(ctx, readyNode(name), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("node %s: %w", name, err)
	}
	_, err := k.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"taints":null}}`), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("node %s: taints: %w", name, err)
	}
	return nil
}

func nodeName(i int) string { return fmt.Sprintf("node-%05d", i) }

// readyNode has the room of Swell's simulated hosts.
func readyNode(name string) *corev1.Node {
	room := corev1.ResourceList{
		corev1.ResourceCPU: *resource.NewQuantity(hostCPU, resource.DecimalSI), corev1.ResourceMemory: resource.MustParse(hostMemory),
		corev1.ResourcePods: *resource.NewQuantity(hostPods, resource.DecimalSI),
	}
	now := metav1.Now()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64"}},
		Status:     corev1.NodeStatus{Capacity: room, Allocatable: room},
	}
	for _, c := range []struct {
		kind   corev1.NodeConditionType
		status corev1.ConditionStatus
	}{
		{corev1.NodeReady, corev1.ConditionTrue}, {corev1.NodeMemoryPressure, corev1.ConditionFalse},
		{corev1.NodeDiskPressure, corev1.ConditionFalse}, {corev1.NodePIDPressure, corev1.ConditionFalse},
	} {
		node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{
			Type: c.kind, Status: c.status, LastHeartbeatTime: now, LastTransitionTime: now, Reason: "Peer", Message: "made by the benchmark",
		})
	}
	return node
}
