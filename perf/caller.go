package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// caller makes requests and shows every answer as it is: what a scenario expects to be refused, broken off or
// already there is for the scenario to judge.
type caller struct {
	client      *http.Client
	pods        string // URL of the pods of the default namespace
	connections int
}

// answer is what came back.
type answer struct {
	code       int
	retryAfter time.Duration // 0: not told
	body       []byte
}

// newCaller makes one with so many HTTP/2 connections, which take turns.
func newCaller(cfg *rest.Config, connections int) (*caller, error) {
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, err
	}
	transport := &turns{}
	for range connections {
		transport.over = append(transport.over, &http.Transport{
			TLSClientConfig: tlsConfig.Clone(), ForceAttemptHTTP2: true, MaxConnsPerHost: 1, // else each request of a burst dials
		})
	}
	return &caller{
		connections: connections, client: &http.Client{Transport: transport},
		pods: cfg.Host + "/api/v1/namespaces/" + metav1.NamespaceDefault + "/pods",
	}, nil
}

// turns takes connections in turn.
type turns struct {
	next atomic.Uint64
	over []*http.Transport
}

// RoundTrip implements http.RoundTripper.
func (t *turns) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.over[t.next.Add(1)%uint64(len(t.over))].RoundTrip(r)
}

// CloseIdleConnections is what http.Client looks for.
func (t *turns) CloseIdleConnections() {
	for _, one := range t.over {
		one.CloseIdleConnections()
	}
}

// warm opens the connections.
func (c *caller) warm(ctx context.Context, readyz string) error {
	for range c.connections {
		if _, _, err := c.must(ctx, http.MethodGet, readyz, nil); err != nil {
			return err
		}
	}
	return nil
}

func (c *caller) do(ctx context.Context, method, url string, body []byte) (answer, error) {
	var a answer
	res, err := c.open(ctx, method, url, body)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	a.code = res.StatusCode
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
		a.retryAfter = time.Duration(s) * time.Second
	}
	a.body, err = io.ReadAll(res.Body)
	return a, err
}

func (c *caller) open(ctx context.Context, method, url string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", mediaProtobuf)
	req.Header.Set("Accept", mediaProtobuf)
	return c.client.Do(req)
}

// must does a request that has to be answered with a code of the 200s; a 429 is obeyed.
func (c *caller) must(ctx context.Context, method, url string, body []byte) (refused int, _ answer, err error) {
	for ; ; refused++ {
		a, err := c.do(ctx, method, url, body)
		switch {
		case err != nil:
			return refused, a, err
		case a.code/100 == 2:
			return refused, a, nil
		case a.code != http.StatusTooManyRequests:
			return refused, a, fmt.Errorf("%s %s: %d: %.300q", method, url, a.code, a.body)
		}
		if err := pause(ctx, max(a.retryAfter, 100*time.Millisecond)); err != nil {
			return refused, a, err
		}
	}
}

// encodePod answers a pod as protobuf, for the body of a create.
func encodePod(p *corev1.Pod) ([]byte, error) {
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), mediaProtobuf)
	if !ok {
		return nil, fmt.Errorf("no codec for %s", mediaProtobuf)
	}
	return runtime.Encode(scheme.Codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion), p)
}

// encodePods makes the bodies of n creates, before the load begins, so that the clients cost little.
func encodePods(n int) ([][]byte, error) {
	bodies := make([][]byte, n)
	for i := range bodies {
		var err error
		if bodies[i], err = encodePod(pod(podName(i), "100m", "64Mi")); err != nil {
			return nil, err
		}
	}
	return bodies, nil
}

// decodeInto reads an answer.
func decodeInto(body []byte, into runtime.Object) error {
	_, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, into)
	return err
}
