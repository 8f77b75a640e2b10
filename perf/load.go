package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// Media types of bodies.
const (
	mediaProtobuf = "application/vnd.kubernetes.protobuf"
	mediaJSON     = "application/json"
)

// loader posts pods, each in a request of its own, from as many clients as it is told, in a closed loop: a
// client sends the next pod when the last one is answered.
type loader struct {
	client *http.Client
	url    string
	media  string
	bodyOf func(name string) ([]byte, error)
}

// newLoader makes one that shares connections as HTTP/2 does.
func newLoader(cfg *rest.Config, namespace, media string, template *corev1.Pod, connections int) (*loader, error) {
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, err
	}
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), media)
	if !ok {
		return nil, fmt.Errorf("--encoding: no codec for %s", media)
	}
	encoder := scheme.Codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion)
	transport := &spreading{}
	for range connections {
		transport.over = append(transport.over, &http.Transport{TLSClientConfig: tlsConfig.Clone(), ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1000})
	}
	return &loader{
		client: &http.Client{Transport: transport}, media: media,
		url: cfg.Host + "/api/v1/namespaces/" + url.PathEscape(namespace) + "/pods",
		bodyOf: func(name string) ([]byte, error) {
			pod := template.DeepCopy()
			pod.Name = name
			return runtime.Encode(encoder, pod)
		},
	}, nil
}

// spreading takes connections in turn.
type spreading struct {
	next atomic.Uint64
	over []*http.Transport
}

func (s *spreading) RoundTrip(r *http.Request) (*http.Response, error) {
	return s.over[s.next.Add(1)%uint64(len(s.over))].RoundTrip(r)
}

var _ http.RoundTripper = (*spreading)(nil)

// post creates one pod and answers how long that took. A 429 is obeyed, and counts in the time.
func (l *loader) post(ctx context.Context, body []byte) (time.Duration, int, error) {
	began := time.Now()
	for refused := 0; ; refused++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
		if err != nil {
			return 0, refused, err
		}
		req.Header.Set("Content-Type", l.media)
		req.Header.Set("Accept", l.media)
		res, err := l.client.Do(req)
		if err != nil {
			return 0, refused, err
		}
		answer, err := io.ReadAll(res.Body)
		res.Body.Close()
		switch {
		case err != nil:
			return 0, refused, err
		case res.StatusCode == http.StatusCreated:
			return time.Since(began), refused, nil
		case res.StatusCode != http.StatusTooManyRequests:
			return 0, refused, fmt.Errorf("create: %s: %.300s", res.Status, answer)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return 0, refused, ctx.Err()
		}
	}
}

// run posts n pods and answers each one's latency, by its number.
func (l *loader) run(ctx context.Context, n, clients int, began []time.Time) (latencies []time.Duration, refused int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	bodies := make([][]byte, n) // made before, so that the clients cost little
	for i := range bodies {
		if bodies[i], err = l.bodyOf(podName(i)); err != nil {
			return nil, 0, err
		}
	}
	latencies = make([]time.Duration, n)
	var next, refusals atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				began[i] = time.Now()
				took, r, err := l.post(ctx, bodies[i])
				refusals.Add(int64(r))
				if err != nil {
					cancel(err)
					return
				}
				latencies[i] = took
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, 0, err
	}
	return latencies, refusals.Load(), nil
}

func podName(i int) string { return fmt.Sprintf("p%07d", i) }
