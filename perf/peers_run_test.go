package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// fakeCluster creates pods, binds each at once, and tells a watch of it; a pod runs when it is told so.
type fakeCluster struct {
	t      *testing.T
	marked bool // otherwise somebody else makes pods Running at once, as Swell's hosts do

	mu      sync.Mutex // guards what follows
	version int
	pods    map[string]*corev1.Pod
	events  chan []byte
	patches int
}

func (c *fakeCluster) event(kind watch.EventType, p *corev1.Pod) {
	c.version++
	p.ResourceVersion = fmt.Sprint(c.version)
	raw, err := runtime.Encode(encoder(c.t, mediaProtobuf), p)
	if err != nil {
		c.t.Error(err)
	}
	ev, err := (&metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: raw}}).Marshal()
	if err != nil {
		c.t.Error(err)
	}
	c.events <- append(binary.BigEndian.AppendUint32(nil, uint32(len(ev))), ev...)
}

func (c *fakeCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPost:
		c.create(w, r)
	case r.Method == http.MethodPatch:
		c.mu.Lock()
		defer c.mu.Unlock()
		name := strings.TrimSuffix(r.URL.Path[strings.LastIndex(r.URL.Path, "/pods/")+len("/pods/"):], "/status")
		c.patches++
		c.pods[name].Status.Phase = corev1.PodRunning
		c.event(watch.Modified, c.pods[name])
	case r.URL.Query().Get("watch") == "":
		w.Header().Set("Content-Type", mediaJSON)
		_ = json.NewEncoder(w).Encode(&corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}})
	default:
		for {
			w.(http.Flusher).Flush()
			select {
			case ev := <-c.events:
				_, _ = w.Write(ev)
			case <-r.Context().Done():
				return
			}
		}
	}
}

func (c *fakeCluster) create(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Error(err)
	}
	p := &corev1.Pod{}
	if raw, err := unwrap(body); err != nil || p.Unmarshal(raw) != nil {
		c.t.Errorf("a create of %q", body)
	}
	p.UID, p.Status.Phase = types.UID("uid-of-"+p.Name), corev1.PodPending
	if !c.marked {
		p.Spec.NodeName = "n"
	}
	c.pods[p.Name] = p
	c.event(watch.Added, p)
	var answer bytes.Buffer
	if err := encoder(c.t, mediaProtobuf).Encode(p, &answer); err != nil {
		c.t.Error(err)
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(answer.Bytes())
	p.Spec.NodeName = "n"
	if !c.marked {
		p.Status.Phase = corev1.PodRunning
	}
	c.event(watch.Modified, p)
}

var _ http.Handler = (*fakeCluster)(nil)

func (c *fakeCluster) peer(t *testing.T) *peer {
	t.Helper()
	server := httptest.NewTLSServer(c)
	t.Cleanup(server.Close)
	cfg := &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	told := 0.0
	return &peer{
		rest: cfg, client: client, servers: []int{os.Getpid()}, marked: c.marked,
		metrics: func(context.Context) (metrics, error) {
			told += 100
			return metrics{metricProposals: told, metricFsyncs: 2 * told}, nil
		},
		check: func(_ context.Context, made []created) (int, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			for i, m := range made {
				if p := c.pods[podName(i)]; p == nil || m.uid != string(p.UID) {
					t.Errorf("pod %d was answered as %v, is %v", i, m, p)
				}
			}
			return len(made) - len(c.pods), nil
		},
	}
}

// The same load is followed to Running on a system that needs a marker and on one that doesn't.
func TestMeasure(t *testing.T) {
	const n = 50
	for _, marked := range []bool{true, false} {
		t.Run(fmt.Sprintf("marked=%v", marked), func(t *testing.T) {
			c := &fakeCluster{t: t, marked: marked, version: 1, pods: map[string]*corev1.Pod{}, events: make(chan []byte, 3*n)}
			r, err := c.peer(t).measure(t.Context(), peerLoad{pods: n, clients: 8, media: mediaProtobuf, protocol: protocolH1})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.answered) != n || len(r.bound) != n || len(r.running) != n || r.wrong != 0 || r.refused != 0 {
				t.Errorf("%+v", r)
			}
			if r.allAnswered <= 0 || r.allRunning < r.allBound || r.serverRSS == 0 || r.proposals != 100 || r.fsyncs != 200 {
				t.Errorf("%+v", r)
			}
			if want := map[bool]int{true: n, false: 0}[marked]; c.patches != want {
				t.Errorf("%d patches, want %d", c.patches, want)
			}
		})
	}
}

func TestMeasureEndsWithItsContext(t *testing.T) {
	c := &fakeCluster{t: t, marked: true, version: 1, pods: map[string]*corev1.Pod{}, events: make(chan []byte, 30)}
	ctx, cancel := context.WithCancelCause(t.Context())
	p := c.peer(t)
	told := p.metrics
	because := errors.New("a Ctrl-C")
	p.metrics = func(ctx context.Context) (metrics, error) {
		cancel(because)
		return told(ctx)
	}
	if _, err := p.measure(ctx, peerLoad{pods: 10, clients: 2, media: mediaProtobuf, protocol: protocolH1}); !errors.Is(err, because) {
		t.Errorf("%v", err)
	}
}
