package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

func encoder(t testing.TB, media string) runtime.Encoder {
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), media)
	if !ok {
		t.Fatalf("no codec for %s", media)
	}
	return scheme.Codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion)
}

// podServer creates pods as the API does, as far as an answer shows it, and refuses every seventh request.
func podServer(t *testing.T, chunked bool) (*rest.Config, *sync.Map) {
	var got sync.Map
	var requests atomic.Int64
	decoder := scheme.Codecs.UniversalDeserializer()
	handler := func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		if n%7 == 0 {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		object, _, err := decoder.Decode(raw, nil, nil)
		pod, ok := object.(*corev1.Pod)
		if err != nil || !ok {
			t.Errorf("a body that is no pod: %v", err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if _, twice := got.LoadOrStore(pod.Name, r.Proto); twice {
			t.Errorf("pod %s is posted twice", pod.Name)
		}
		pod.UID, pod.Spec.NodeName = types.UID("uid-"+pod.Name), fmt.Sprintf("node-%d", n%3)
		var answer bytes.Buffer
		if err := encoder(t, r.Header.Get("Accept")).Encode(pod, &answer); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusCreated)
		half := answer.Len() / 2
		_, _ = w.Write(answer.Next(half))
		if chunked {
			w.(http.Flusher).Flush()
		}
		_, _ = w.Write(answer.Bytes())
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(handler))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, &got
}

// TestLoader checks that every pod is posted once, over the protocol that was asked for, and that the
// answers are what the server made.
func TestLoader(t *testing.T) {
	for _, protocol := range []string{protocolH1, protocolH2} {
		for _, media := range []string{mediaProtobuf, mediaJSON} {
			for _, chunked := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s,%s,chunked=%v", protocol, media, chunked), func(t *testing.T) {
					cfg, got := podServer(t, chunked)
					l, err := newLoader(t.Context(), cfg, "default", media, protocol, pod("", "100m", "64Mi"), 2)
					if err != nil {
						t.Fatal(err)
					}
					l.refusedFor = time.Millisecond
					const n = 200
					_, made, refused, err := l.run(t.Context(), n, 8, make([]time.Time, n))
					if err := errors.Join(err, l.close()); err != nil {
						t.Fatal(err)
					}
					if refused == 0 {
						t.Error("no request was refused")
					}
					for i, m := range made {
						if m.uid != "uid-"+podName(i) || !strings.HasPrefix(m.node, "node-") {
							t.Errorf("pod %s was answered as %+v", podName(i), m)
						}
						if proto, ok := got.Load(podName(i)); !ok || proto != map[string]string{protocolH1: "HTTP/1.1", protocolH2: "HTTP/2.0"}[protocol] {
							t.Errorf("pod %s came over %v", podName(i), proto)
						}
					}
				})
			}
		}
	}
}

// TestLoaderHoldsAnswersToTheirWord checks that an answer without a node, or of another pod, is an error.
func TestLoaderHoldsAnswersToTheirWord(t *testing.T) {
	for name, answer := range map[string]*corev1.Pod{
		"no node":     {ObjectMeta: metav1.ObjectMeta{Name: podName(0), UID: "uid"}},
		"no uid":      {ObjectMeta: metav1.ObjectMeta{Name: podName(0)}, Spec: corev1.PodSpec{NodeName: "node"}},
		"another pod": {ObjectMeta: metav1.ObjectMeta{Name: "other", UID: "uid"}, Spec: corev1.PodSpec{NodeName: "node"}},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := runtime.Encode(encoder(t, mediaProtobuf), answer)
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusCreated)
				_, _ = w.Write(raw)
			}))
			defer server.Close()
			cfg := &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
			l, err := newLoader(t.Context(), cfg, "default", mediaProtobuf, protocolH1, pod("", "100m", "64Mi"), 1)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, _, err := l.run(t.Context(), 1, 1, make([]time.Time, 1)); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

// TestWatchersAgree has both readers of a watch read the same bytes.
func TestWatchersAgree(t *testing.T) {
	var events bytes.Buffer
	event := func(kind string, p *corev1.Pod) {
		raw, err := runtime.Encode(encoder(t, mediaProtobuf), p)
		if err != nil {
			t.Fatal(err)
		}
		ev := &metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: raw}}
		body, err := ev.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		events.Write(binary.BigEndian.AppendUint32(nil, uint32(len(body))))
		events.Write(body)
	}
	p := pod("one", "100m", "64Mi")
	p.UID, p.ResourceVersion = "u1", "5"
	event("ADDED", p)
	p.Spec.NodeName, p.ResourceVersion, p.Status.Phase = "n1", "6", corev1.PodPending
	event("MODIFIED", p)
	p.ResourceVersion, p.Status.Phase, p.Annotations = "7", corev1.PodRunning, map[string]string{"name": "other"}
	event("MODIFIED", p)
	event("BOOKMARK", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "9"}})
	raw := events.Bytes()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("resourceVersion") != "4" || r.URL.Query().Get("watch") != "true" {
			w.WriteHeader(http.StatusGone)
			return
		}
		w.Header().Set("Content-Type", mediaProtobuf+";stream=watch")
		_, _ = w.Write(raw)
	}))
	defer server.Close()
	cfg := &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, ContentConfig: rest.ContentConfig{ContentType: mediaProtobuf}}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := rawStream(cfg, "default")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]stream{watcherRaw: ours, watcherClientGo: clientGoStream(client, "default")} {
		t.Run(name, func(t *testing.T) {
			var got []string
			version, err := s(t.Context(), "4", func(p seenPod) {
				got = append(got, fmt.Sprintf("%s %s %s %s %s", p.name, p.uid, p.version, p.node, p.phase))
			})
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"one u1 5  ", "one u1 6 n1 Pending", "one u1 7 n1 Running"}
			if !slices.Equal(got, want) || version != "9" {
				t.Errorf("saw %q up to version %s, want %q up to 9", got, version, want)
			}
			if _, err := s(t.Context(), "3", func(seenPod) {}); err == nil {
				t.Error("a watch that was refused is no error")
			}
		})
	}
}
