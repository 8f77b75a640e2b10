package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/api/v1alpha1"
)

// startSeries are what startOne measures.
func startSeries(of string) []*series {
	return []*series{{name: of + "POST → 201"}, {name: of + "POST → process"}, {name: of + "POST → watch says Running"}}
}

const policiesPath = "/apis/" + v1alpha1.Group + "/" + v1alpha1.Version + "/namespaces/default/slotpolicies"

// startInSlots starts pods one after the other, first where slots are off, then each in a slot that waits.
func (y *system) startInSlots(ctx context.Context, pods int, hit, cold []*series, found *rates) error {
	if err := y.policy(ctx, v1alpha1.SlotPolicySpec{Mode: v1alpha1.SlotModeOff}); err != nil {
		return err
	}
	for i := range pods {
		if err := y.startOne(ctx, fmt.Sprintf("cold-%d", i), cold[0], cold[1], cold[2]); err != nil {
			return err
		}
	}
	two := int32(2)
	if err := y.policy(ctx, v1alpha1.SlotPolicySpec{
		Depth: v1alpha1.SlotDepthContainer, Min: two, Max: &two, // of the workload that was just seen
	}); err != nil {
		return err
	}
	for i := range pods {
		if err := y.awaitSlots(ctx, float64(two)); err != nil {
			return err
		}
		if err := y.startOne(ctx, fmt.Sprintf("hit-%d", i), hit[0], hit[1], hit[2]); err != nil {
			return err
		}
	}
	hits, err := y.metric(ctx, `swell_slot_hits_total{depth="Container"`)
	found.add("pods in a slot that waits, of those that should be, %", 100*hits/float64(pods))
	return err
}

// policy replaces the one policy that there is.
func (y *system) policy(ctx context.Context, spec v1alpha1.SlotPolicySpec) error {
	body, err := json.Marshal(v1alpha1.SlotPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.Group + "/" + v1alpha1.Version, Kind: "SlotPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: "perf"}, Spec: spec,
	})
	if err != nil {
		return err
	}
	client := y.client.CoreV1().RESTClient()
	if _, err := y.readPolicy(ctx); err == nil {
		if err := client.Delete().AbsPath(policiesPath, "perf").Do(ctx).Error(); err != nil {
			return err
		}
	}
	return client.Post().AbsPath(policiesPath).SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error()
}

func (y *system) readPolicy(ctx context.Context) (p v1alpha1.SlotPolicy, err error) {
	raw, err := y.client.CoreV1().RESTClient().Get().AbsPath(policiesPath, "perf").DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	return p, err
}

// awaitSlots waits until n containers wait at their start.
func (y *system) awaitSlots(ctx context.Context, n float64) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		there, err := y.metric(ctx, `swell_slots{depth="Container",state="ready"`)
		if err != nil {
			return err
		}
		if there >= n {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("slots: %v of %v wait: %w", there, n, err)
		}
	}
}

// metric sums what the control plane counts under a name and what follows it.
func (y *system) metric(ctx context.Context, prefix string) (sum float64, err error) {
	raw, err := y.client.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	for line := range strings.Lines(string(raw)) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		var value float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &value); err != nil {
			return 0, fmt.Errorf("metric %q: %w", line, err)
		}
		sum += value
	}
	return sum, err
}
