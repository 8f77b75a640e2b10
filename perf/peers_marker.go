package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// marker stands in for the kubelets of a Kubernetes cluster: a pod that is bound to a node is told to run by
// one patch of its status. A kubelet writes at least that, in this form, besides starting the containers. It
// is as cheap as the clients that create.
type marker struct {
	http       *http1
	host       string
	namespace  string
	refusedFor time.Duration // how long a 429 is obeyed

	bound chan boundPod
	wg    sync.WaitGroup
	once  sync.Once // of the closing of bound
}

type boundPod struct{ name, uid string }

func newMarker(cfg *rest.Config, namespace string) (*marker, error) {
	tlsConfig, host, err := endpoint(cfg)
	if err != nil {
		return nil, err
	}
	return &marker{http: newHTTP1(tlsConfig, host, ""), host: host, namespace: namespace, refusedFor: time.Second}, nil
}

// start begins with so many patches at a time. It has room for n pods, so that mark never waits. The first
// patch that fails ends the context by cancel.
func (m *marker) start(ctx context.Context, cancel context.CancelCauseFunc, n, atOnce int) {
	m.bound = make(chan boundPod, n)
	context.AfterFunc(ctx, func() { _ = m.http.close() }) // what waits for an answer ends too
	for range atOnce {
		m.wg.Go(func() {
			for p := range m.bound {
				if ctx.Err() != nil {
					continue
				}
				if err := m.patch(ctx, p); err != nil {
					cancel(fmt.Errorf("marker: pod %s: %w", p.name, err))
				}
			}
		})
	}
}

// mark is called once for a pod, when it is bound.
func (m *marker) mark(p boundPod) { m.bound <- p }

// stop waits for the patches that are left, unless the context has ended, and ends the connections.
func (m *marker) stop() {
	m.once.Do(func() { close(m.bound) })
	m.wg.Wait()
	_ = m.http.close() // it has no error of its own
}

// runningPatch is the least that makes a pod Running and Ready. The UID is a condition, as in a kubelet's.
func runningPatch(p boundPod, now time.Time) []byte {
	at := now.UTC().Format(time.RFC3339)
	return fmt.Appendf(nil, `{"metadata":{"uid":%q},"status":{"phase":"Running","startTime":%q,"conditions":[`+
		`{"type":"Ready","status":"True","lastTransitionTime":%q}]}}`, p.uid, at, at)
}

func (m *marker) head(p boundPod) string {
	return "PATCH /api/v1/namespaces/" + m.namespace + "/pods/" + p.name + "/status HTTP/1.1\r\nHost: " + m.host +
		"\r\nContent-Type: " + string(types.StrategicMergePatchType) + "\r\nAccept: " + mediaProtobuf + "\r\nContent-Length: "
}

// patch obeys a 429, as the clients that create do.
func (m *marker) patch(ctx context.Context, p boundPod) error {
	head, body := m.head(p), runningPatch(p, time.Now())
	for {
		status, said := 0, ""
		err := m.http.send(ctx, head, body, func(code int, answer []byte) error {
			if status = code; code != http.StatusOK {
				said = fmt.Sprintf("%.300s", answer)
			}
			return nil
		})
		switch {
		case err != nil:
			return err
		case status == http.StatusOK:
			return nil
		case status != http.StatusTooManyRequests:
			return fmt.Errorf("status %d: %s", status, said)
		}
		select {
		case <-time.After(m.refusedFor):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
