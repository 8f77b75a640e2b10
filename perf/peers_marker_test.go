package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/rest"
)

// fakeAPI answers patches of the status of pods that it has, after it has refused as many as it is told.
type fakeAPI struct {
	t *testing.T

	mu       sync.Mutex // guards what follows
	pods     map[string]*corev1.Pod
	refuse   []int
	requests int
}

// startFakeAPI answers it and a marker of it.
func startFakeAPI(t *testing.T, refuse []int, names ...string) (*fakeAPI, *marker) {
	t.Helper()
	f := &fakeAPI{t: t, pods: map[string]*corev1.Pod{}, refuse: refuse}
	for _, name := range names {
		f.pods[name] = storedPod(name, "node-1", corev1.PodPending)
	}
	server := httptest.NewTLSServer(f)
	t.Cleanup(server.Close)
	m, err := newMarker(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, "default")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.http.close() })
	m.refusedFor = time.Millisecond
	return f, m
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	patch, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	if len(f.refuse) > 0 {
		http.Error(w, "not now", f.refuse[0])
		f.refuse = f.refuse[1:]
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/default/pods/")
	name, isStatus := strings.CutSuffix(name, "/status")
	if !ok || !isStatus || r.Method != http.MethodPatch || r.Header.Get("Content-Type") != string(types.StrategicMergePatchType) {
		f.t.Errorf("%s %s as %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
	}
	p := f.pods[name]
	var of struct{ Metadata struct{ UID types.UID } }
	if err := json.Unmarshal(patch, &of); err != nil || p == nil || of.Metadata.UID != p.UID {
		http.Error(w, "another UID", http.StatusConflict)
		return
	}
	before, err := json.Marshal(p)
	if err != nil {
		f.t.Error(err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, patch, corev1.Pod{})
	if err != nil {
		f.t.Errorf("patch %s: %v", patch, err)
	}
	f.pods[name] = &corev1.Pod{}
	if err := json.Unmarshal(after, f.pods[name]); err != nil {
		f.t.Error(err)
	}
	_, _ = w.Write(after)
}

var _ http.Handler = (*fakeAPI)(nil)

func TestMarkerMakesPodsRunning(t *testing.T) {
	f, m := startFakeAPI(t, []int{http.StatusTooManyRequests, http.StatusTooManyRequests}, "a", "b", "c")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	m.start(ctx, cancel, 3, 2)
	for _, name := range []string{"a", "b", "c"} {
		m.mark(boundPod{name: name, uid: "uid-of-" + name})
	}
	m.stop()
	m.stop()
	if err := context.Cause(ctx); err != nil {
		t.Fatal(err)
	}
	for name, p := range f.pods {
		conditions := map[corev1.PodConditionType]corev1.ConditionStatus{}
		for _, c := range p.Status.Conditions {
			conditions[c.Type] = c.Status
		}
		if p.Status.Phase != corev1.PodRunning || p.Status.StartTime == nil || conditions[corev1.PodReady] != corev1.ConditionTrue {
			t.Errorf("pod %s: %+v", name, p.Status)
		}
		if conditions[corev1.PodScheduled] != corev1.ConditionTrue || p.Spec.NodeName != "node-1" {
			t.Errorf("pod %s: the patch took something away: %+v", name, p.Status)
		}
	}
	if f.requests != 5 {
		t.Errorf("%d requests: want one for each of 3 pods, and 2 that were refused", f.requests)
	}
}

func TestMarkerEndsARunByItsFirstError(t *testing.T) {
	for name, c := range map[string]struct {
		refuse []int
		uid    string
		want   string
	}{
		"refused":           {[]int{http.StatusForbidden}, "uid-of-a", "marker: pod a: status 403: not now\n"},
		"another pod's UID": {nil, "uid-of-b", "marker: pod a: status 409: another UID\n"},
	} {
		t.Run(name, func(t *testing.T) {
			f, m := startFakeAPI(t, c.refuse, "a")
			ctx, cancel := context.WithCancelCause(t.Context())
			m.start(ctx, cancel, 2, 1)
			m.mark(boundPod{name: "a", uid: c.uid})
			m.mark(boundPod{name: "a", uid: "uid-of-a"}) // of no interest any more
			m.stop()
			if err := context.Cause(ctx); err == nil || err.Error() != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
			if f.requests != 1 {
				t.Errorf("%d requests", f.requests)
			}
		})
	}
}

// Neither a server that refuses for ever nor one that doesn't answer holds it up.
func TestMarkerEndsWithItsContext(t *testing.T) {
	_, refused := startFakeAPI(t, []int{http.StatusTooManyRequests}, "a")
	refused.refusedFor = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := refused.patch(ctx, boundPod{name: "a", uid: "uid-of-a"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	f, silent := startFakeAPI(t, nil, "a")
	f.mu.Lock() // no answer meanwhile
	defer f.mu.Unlock()
	because := errors.New("enough")
	running, end := context.WithCancelCause(t.Context())
	silent.start(running, end, 1, 1)
	silent.mark(boundPod{name: "a", uid: "uid-of-a"})
	end(because)
	silent.stop()
	if err := context.Cause(running); !errors.Is(err, because) {
		t.Errorf("%v", err)
	}
}
