package main

import (
	"context"
	"fmt"
	"net/http"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
)

// phases counts the pods that the API lists.
func (t *trial) phases(ctx context.Context) (map[corev1.PodPhase]int, error) {
	calls, err := newCaller(t.rest, 1)
	if err != nil {
		return nil, err
	}
	defer calls.client.CloseIdleConnections()
	body, err := calls.list(ctx, "")
	if err != nil {
		return nil, err
	}
	out := map[corev1.PodPhase]int{}
	return out, eachListed(body, func(p seenPod) { out[corev1.PodPhase(p.phase)]++ })
}

// list answers the body of a list of pods.
func (c *caller) list(ctx context.Context, query string) ([]byte, error) {
	_, a, err := c.must(ctx, http.MethodGet, c.pods+query, nil)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	return a.body, nil
}

// eachListed tells the pods of a list in protobuf: PodList{metadata=1 items=2}.
func eachListed(body []byte, each func(seenPod)) error {
	list, err := unwrap(body)
	if err != nil {
		return err
	}
	for len(list) > 0 {
		num, typ, n := protowire.ConsumeTag(list)
		if n < 0 || typ != protowire.BytesType {
			return errWire
		}
		item, m := protowire.ConsumeBytes(list[n:])
		if m < 0 {
			return errWire
		}
		list = list[n+m:]
		if num != 2 {
			continue
		}
		p, err := readPod(item)
		if err != nil {
			return err
		}
		each(p)
	}
	return nil
}
