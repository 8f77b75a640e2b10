package main

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
)

// phases counts the pods that the API lists.
func (t *trial) phases(ctx context.Context) (map[corev1.PodPhase]int, error) {
	calls, err := newCaller(t.rest, 1)
	if err != nil {
		return nil, err
	}
	defer calls.client.CloseIdleConnections()
	list, err := calls.list(ctx)
	if err != nil {
		return nil, err
	}
	out := map[corev1.PodPhase]int{}
	for i := range list.Items {
		out[list.Items[i].Status.Phase]++
	}
	return out, nil
}

// list answers all pods in one request.
func (c *caller) list(ctx context.Context) (*corev1.PodList, error) {
	_, a, err := c.must(ctx, http.MethodGet, c.pods, nil)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	var list corev1.PodList
	if err := decodeInto(a.body, &list); err != nil {
		return nil, fmt.Errorf("list of %d bytes: %w", len(a.body), err)
	}
	return &list, nil
}
