package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// What may read a watch.
const (
	watcherRaw      = "raw"
	watcherClientGo = "client-go"
)

// runningWatch notes when each pod is first seen to be Running.
type runningWatch struct {
	cancel context.CancelFunc
	all    chan struct{} // closed when as many as expected were seen
	ended  chan struct{}

	mu   sync.Mutex // guards what follows
	seen map[string]time.Time
	err  error
}

// stream follows the pods from a version on until the watch ends, and answers the last version that it saw.
type stream func(ctx context.Context, version string, note func(p seenPod)) (string, error)

// follow begins to watch a namespace for n running pods, from now on.
func follow(ctx context.Context, watcher string, cfg *rest.Config, namespace string, n int) (*runningWatch, error) {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	list, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	s := clientGoStream(client, namespace)
	if watcher == watcherRaw {
		if s, err = rawStream(cfg, namespace); err != nil {
			return nil, err
		}
	}
	r := &runningWatch{all: make(chan struct{}), ended: make(chan struct{}), seen: make(map[string]time.Time, n)}
	ctx, r.cancel = context.WithCancel(ctx)
	go r.run(ctx, s, list.ResourceVersion, n)
	return r, nil
}

func (r *runningWatch) run(ctx context.Context, s stream, version string, n int) {
	defer close(r.ended)
	for ctx.Err() == nil {
		var err error
		version, err = s(ctx, version, func(p seenPod) {
			if string(p.phase) == string(corev1.PodRunning) && r.note(p.name, n) {
				close(r.all)
			}
		})
		if err != nil && ctx.Err() == nil {
			r.fail(err)
			return
		}
	}
}

// clientGoStream watches as users do.
func clientGoStream(client *kubernetes.Clientset, namespace string) stream {
	return func(ctx context.Context, version string, note func(seenPod)) (string, error) {
		w, err := client.CoreV1().Pods(namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true})
		if err != nil {
			return version, err
		}
		defer w.Stop()
		for ev := range w.ResultChan() {
			if ev.Type == watch.Error {
				return version, fmt.Errorf("watch: %v", ev.Object)
			}
			if p, ok := ev.Object.(*corev1.Pod); ok {
				version = p.ResourceVersion
				if ev.Type == watch.Bookmark {
					continue
				}
				note(seenPod{name: []byte(p.Name), uid: []byte(p.UID), version: []byte(version), node: []byte(p.Spec.NodeName), phase: []byte(p.Status.Phase)})
			}
		}
		return version, nil
	}
}

// rawStream reads the same watch and decodes nothing but what is counted.
func rawStream(cfg *rest.Config, namespace string) (stream, error) {
	config, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	path := cfg.Host + "/api/v1/namespaces/" + url.PathEscape(namespace) + "/pods?watch=true&allowWatchBookmarks=true&resourceVersion="
	return func(ctx context.Context, version string, note func(seenPod)) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, path+url.QueryEscape(version), nil)
		if err != nil {
			return version, err
		}
		req.Header.Set("Accept", mediaProtobuf+";stream=watch")
		if cfg.BearerToken != "" {
			req.Header.Set("Authorization", "Bearer "+cfg.BearerToken)
		}
		res, err := client.Do(req)
		if err != nil {
			return version, err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return version, fmt.Errorf("watch: %s", res.Status)
		}
		return readEvents(&frameReader{r: bufio.NewReaderSize(res.Body, 64<<10)}, version, note)
	}, nil
}

// readEvents reads until the watch ends.
func readEvents(frames *frameReader, version string, note func(seenPod)) (string, error) {
	latest := append([]byte(nil), version...)
	for {
		kind, object, err := frames.next()
		if err != nil {
			if errors.Is(err, errWire) {
				return string(latest), err
			}
			return string(latest), nil // the watch ended, and is begun anew
		}
		if watch.EventType(kind) == watch.Error {
			return string(latest), fmt.Errorf("watch: %q", object)
		}
		p, err := readPod(object)
		if err != nil {
			return string(latest), err
		}
		latest = append(latest[:0], p.version...)
		if watch.EventType(kind) != watch.Bookmark {
			note(p)
		}
	}
}

// note answers true once: when the last one was seen.
func (r *runningWatch) note(name []byte, n int) (complete bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.seen[string(name)]; ok {
		return false
	}
	r.seen[string(name)] = time.Now()
	return len(r.seen) == n
}

func (r *runningWatch) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// runningWithin bounds the wait for the last pods after all were answered.
const runningWithin = time.Minute

// wait answers what was seen when all were, or in time.
func (r *runningWatch) wait(ctx context.Context) (map[string]time.Time, error) {
	select {
	case <-r.all:
	case <-r.ended:
	case <-time.After(runningWithin):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen, r.err
}

func (r *runningWatch) stop() {
	r.cancel()
	<-r.ended
}
