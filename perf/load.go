package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
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

// Protocols that pods are posted over.
const (
	protocolH1 = "h1"
	protocolH2 = "h2"
)

// loader posts pods, each in a request of its own, from as many clients as it is told, in a closed loop: a
// client sends the next pod when the last one is answered. It is cheap, because it shares the machine with
// what it measures: a request is a template with another name, and of an answer only what is checked is read.
type loader struct {
	poster poster
	media  string
	body   []byte // with a name of podName's length
	at     int    // where the name stands

	refusedFor time.Duration // how long a 429 is obeyed
	unplaced   bool          // the server answers before it has chosen a node
}

// poster sends a body and hands over the answer, which it may use again afterwards.
type poster interface {
	post(ctx context.Context, body []byte, read func(status int, body []byte) error) error
	close() error
}

// created is what the server answered of a pod.
type created struct{ uid, node string }

// newLoader makes one. Connections are those that HTTP/2 shares; HTTP/1.1 has one for each client.
func newLoader(ctx context.Context, cfg *rest.Config, namespace, media, protocol string, template *corev1.Pod, connections int) (*loader, error) {
	l := &loader{media: media, refusedFor: time.Second}
	if err := l.encode(template); err != nil {
		return nil, err
	}
	tlsConfig, host, err := endpoint(cfg)
	if err != nil {
		return nil, err
	}
	tlsConfig.DynamicRecordSizingDisabled = true
	path := "/api/v1/namespaces/" + url.PathEscape(namespace) + "/pods"
	if protocol == protocolH1 {
		head := "POST " + path + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: " + media + "\r\nAccept: " + media + "\r\n"
		if cfg.BearerToken != "" {
			head += "Authorization: Bearer " + cfg.BearerToken + "\r\n"
		}
		l.poster = newHTTP1(tlsConfig, host, head+"Content-Length: ")
		return l, nil
	}
	fields := []hpack.HeaderField{
		{Name: ":method", Value: http.MethodPost}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: host}, {Name: ":path", Value: path},
		{Name: "content-type", Value: media}, {Name: "accept", Value: media}, {Name: "content-length", Value: strconv.Itoa(len(l.body))},
	}
	if cfg.BearerToken != "" {
		fields = append(fields, hpack.HeaderField{Name: "authorization", Value: "Bearer " + cfg.BearerToken})
	}
	l.poster, err = overHTTP2(ctx, tlsConfig, host, fields, connections)
	return l, err
}

func overHTTP2(ctx context.Context, config *tls.Config, addr string, fields []hpack.HeaderField, connections int) (poster, error) {
	s := &spreading{}
	for range connections {
		c, err := dialHTTP2(ctx, config, addr, fields)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.over = append(s.over, c)
	}
	return s, nil
}

// encode makes the template of bodies.
func (l *loader) encode(template *corev1.Pod) error {
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), l.media)
	if !ok {
		return fmt.Errorf("--encoding: no codec for %s", l.media)
	}
	pod := template.DeepCopy()
	pod.Name = podName(0)
	var err error
	if l.body, err = runtime.Encode(scheme.Codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion), pod); err != nil {
		return err
	}
	if n := bytes.Count(l.body, []byte(pod.Name)); n != 1 {
		return fmt.Errorf("template: the name stands in it %d times", n)
	}
	l.at = bytes.Index(l.body, []byte(pod.Name))
	return nil
}

// bodyOf writes the request of a pod whose name is as long as podName's over a former one.
func (l *loader) bodyOf(b []byte, name string) []byte {
	b = append(b[:0], l.body...)
	copy(b[l.at:], name)
	return b
}

// post creates one pod and answers how long that took. A 429 is obeyed, and counts in the time.
func (l *loader) post(ctx context.Context, name string, body []byte) (made created, took time.Duration, refused int, err error) {
	began := time.Now()
	for ; ; refused++ {
		again := false
		err := l.poster.post(ctx, body, func(status int, answer []byte) (err error) {
			switch status {
			case http.StatusCreated:
				made, err = l.check(name, answer)
				return err
			case http.StatusTooManyRequests:
				again = true
				return nil
			}
			return fmt.Errorf("create: status %d: %.300s", status, answer)
		})
		if err != nil || !again {
			return made, time.Since(began), refused, err
		}
		select {
		case <-time.After(l.refusedFor):
		case <-ctx.Done():
			return made, 0, refused, ctx.Err()
		}
	}
}

// check holds a 201 to what it must say.
func (l *loader) check(name string, answer []byte) (created, error) {
	p, err := readAnswer(l.media, answer)
	if err != nil {
		return created{}, fmt.Errorf("create: answer: %w", err)
	}
	if string(p.name) != name || len(p.uid) == 0 || len(p.node) == 0 && !l.unplaced {
		return created{}, fmt.Errorf("create of %s: answered pod %q, uid %q, node %q", name, p.name, p.uid, p.node)
	}
	return created{uid: string(p.uid), node: string(p.node)}, nil
}

// run posts n pods and answers each one's latency and what the server said of it, by its number.
func (l *loader) run(ctx context.Context, n, clients int, began []time.Time) (latencies []time.Duration, made []created, refused int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { _ = l.poster.close() })() // what waits for an answer ends too
	latencies, made = make([]time.Duration, n), make([]created, n)
	var next, refusals atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			var body []byte
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				name := podName(i)
				body = l.bodyOf(body, name)
				began[i] = time.Now()
				var r int
				var err error
				made[i], latencies[i], r, err = l.post(ctx, name, body)
				refusals.Add(int64(r))
				if err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, nil, 0, err
	}
	return latencies, made, refusals.Load(), nil
}

// close ends the connections.
func (l *loader) close() error {
	if err := l.poster.close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func podName(i int) string { return fmt.Sprintf("p%07d", i) }
