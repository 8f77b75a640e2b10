package streaming

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// get answers the Status that a request gets, one to upgrade where a protocol is given.
func (w *world) get(path string, upgrade ...string) *metav1.Status {
	w.t.Helper()
	req, err := http.NewRequest(http.MethodGet, w.http.URL+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, protocol := range upgrade {
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", protocol)
	}
	res, err := w.client(false).Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // it is read to its end
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	st := &metav1.Status{Message: string(body), Code: int32(res.StatusCode)}
	if res.Header.Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(body, st); err != nil || st.Kind != "Status" || st.APIVersion != "v1" || int(st.Code) != res.StatusCode {
			w.t.Errorf("%d %s is no Status: %v", res.StatusCode, body, err)
		}
	}
	return st
}

// TestLogRequest: what the client asks for is what the nodelet is asked for.
func TestLogRequest(t *testing.T) {
	for query, want := range map[string]*nodev1.LogRequest{
		"":                                 {TailLines: -1},
		"container=main&follow":            {TailLines: -1, Follow: true},
		"follow=false&timestamps=1":        {TailLines: -1, Timestamps: true},
		"tailLines=0&limitBytes=5":         {LimitBytes: 5},
		"tailLines=7&stream=All":           {TailLines: 7},
		"sinceTime=2026-01-02T03:04:05.5Z": {TailLines: -1, SinceUnixNano: time.Date(2026, 1, 2, 3, 4, 5, 5e8, time.UTC).UnixNano()},
		"previous=true":                    {TailLines: -1, Previous: true},
	} {
		var got *nodev1.LogRequest
		w := newWorld(t, func(n *node) {
			got = n.open.GetLog()
			n.write(stdout, "one\n")
			n.write(stdout, "two\n")
			n.result(&nodev1.Result{})
		})
		w.setPod(with(func(p *corev1.Pod) {
			p.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{}
		}))
		st := w.get("/log?" + query)
		want.PodUid, want.Container = "u1", "main"
		if st.Code != 200 || st.Message != "one\ntwo\n" || got.String() != want.String() || !slices.Equal(w.on, []string{"a"}) {
			t.Errorf("%q: %d %q, %v asks for %v, want %v", query, st.Code, st.Message, w.on, got, want)
		}
	}
	var since int64
	w := newWorld(t, func(n *node) { since = n.open.GetLog().SinceUnixNano; n.result(&nodev1.Result{}) })
	before := time.Now().Add(-time.Minute)
	if st := w.get("/log?sinceSeconds=60"); st.Code != 200 || st.Message != "" {
		t.Errorf("an empty log is %d %q", st.Code, st.Message)
	}
	if at := time.Unix(0, since); at.Before(before) || at.After(time.Now().Add(-time.Minute)) {
		t.Errorf("sinceSeconds=60 is %s", at)
	}
}

// TestLogRefused: as Kubernetes says it.
func TestLogRefused(t *testing.T) {
	two := with(func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "side"}) })
	init := with(func(p *corev1.Pod) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "side"})
		p.Spec.InitContainers = []corev1.Container{{Name: "init"}}
	})
	waiting := func(reason string) *corev1.Pod {
		return with(func(p *corev1.Pod) {
			p.Status.Phase = corev1.PodPending
			p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "m"}}
		})
	}
	for _, c := range []struct {
		query string
		pod   *corev1.Pod
		open  error
		code  int32
		says  string
	}{
		{"", two, nil, 400, "a container name must be specified for pod web, choose one of: [main side]"},
		{"", init, nil, 400, "a container name must be specified for pod web, choose one of: [main side] or one of the init containers: [init]"},
		{"container=nope", running(), nil, 400, "container nope is not valid for pod web"},
		{"", with(func(p *corev1.Pod) { p.Spec.NodeName = "" }), nil, 400, "pod web does not have a host assigned"},
		{"", waiting("ContainerCreating"), nil, 400, `container "main" in pod "web" is waiting to start: ContainerCreating`},
		{"follow=true", waiting("PodInitializing"), nil, 400, `container "main" in pod "web" is waiting to start: PodInitializing`},
		{"", waiting("ErrImagePull"), nil, 400, `container "main" in pod "web" is waiting to start: image can't be pulled`},
		{"", waiting("ImagePullBackOff"), nil, 400, `container "main" in pod "web" is waiting to start: trying and failing to pull image`},
		{"", with(func(p *corev1.Pod) { p.Status = corev1.PodStatus{Phase: corev1.PodPending} }), nil, 400, `container "main" in pod "web" is waiting to start: ContainerCreating`},
		{"previous=1", running(), nil, 400, `previous terminated container "main" in pod "web" not found`},
		{"follow=maybe", running(), nil, 400, `follow: "maybe" is neither true nor false`},
		{"tailLines=x", running(), nil, 400, `tailLines: "x" is not a whole number`},
		{"sinceTime=yesterday", running(), nil, 400, `sinceTime: "yesterday" is not a time as in RFC 3339`},
		{"tailLines=-1", running(), nil, 422, `PodLogOptions "web" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0`},
		{"limitBytes=0", running(), nil, 422, `PodLogOptions "web" is invalid: limitBytes: Invalid value: 0: must be greater than 0`},
		{"sinceSeconds=0", running(), nil, 422, `PodLogOptions "web" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0`},
		{"sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z", running(), nil, 422, "PodLogOptions \"web\" is invalid: sinceTime: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"},
		{"stream=Stderr", running(), nil, 422, `PodLogOptions "web" is invalid: stream: Unsupported value: "Stderr": supported values: "All"`},
		{"", running(), fmt.Errorf("node a: %w", controlplane.ErrUnavailable), 503, "node a: not available now"},
		{"", running(), errors.New("odd"), 500, "Internal error occurred: odd"},
	} {
		w := newWorld(t, func(n *node) { t.Errorf("%s: a node is asked", c.query) })
		w.setPod(c.pod)
		w.openErr = c.open
		if st := w.get("/log?" + c.query); st.Code != c.code || st.Message != c.says {
			t.Errorf("%s: %d %q, want %d %q", c.query, st.Code, st.Message, c.code, c.says)
		}
	}
	// What the nodelet says, as long as nothing was written.
	w := newWorld(t, func(n *node) { n.result(&nodev1.Result{Reason: "NotFound", Message: "container main: log: not found"}) })
	if st := w.get("/log"); st.Code != 404 || st.Message != "container main: log: not found" {
		t.Errorf("%d %q", st.Code, st.Message)
	}
	w = newWorld(t, func(n *node) { close(n.w.broken); n.left() })
	if st := w.get("/log"); st.Code != 500 || !strings.Contains(st.Message, "the node ended the stream") {
		t.Errorf("%d %q", st.Code, st.Message)
	}
	// A container that crashed has a log while it waits, and so has one that nothing is known of.
	for _, p := range []*corev1.Pod{
		with(func(p *corev1.Pod) {
			p.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
			p.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{}
		}),
		with(func(p *corev1.Pod) { p.Status = corev1.PodStatus{Phase: corev1.PodUnknown} }),
	} {
		w = newWorld(t, func(n *node) { n.write(stdout, "log"); n.result(&nodev1.Result{}) })
		w.setPod(p)
		if st := w.get("/log"); st.Code != 200 || st.Message != "log" {
			t.Errorf("%s: %d %q", p.Status.Phase, st.Code, st.Message)
		}
	}
}

// TestLogFollow: the client knows at once that it is connected, gets each line as it comes, and ends the
// nodelet's work when it goes, also while nothing comes.
func TestLogFollow(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", http2), func(t *testing.T) {
			lines := make(chan string)
			left := make(chan struct{})
			w := newWorld(t, func(n *node) {
				for line := range lines {
					n.write(stdout, line)
				}
				n.left()
				close(left)
			})
			ctx, leave := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.http.URL+"/log?follow=true", nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := w.client(http2).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close() //nolint:errcheck // it was left
			if res.ProtoMajor == 2 != http2 || res.Header.Get("Content-Type") != "text/plain" {
				t.Errorf("%s %s", res.Proto, res.Header.Get("Content-Type"))
			}
			r := bufio.NewReader(res.Body)
			for _, line := range []string{"one\n", "two\n"} {
				lines <- line
				if got, err := r.ReadString('\n'); err != nil || got != line {
					t.Errorf("%q, %v", got, err)
				}
			}
			close(lines)
			leave()
			<-left
		})
	}
}

// TestLogFollowEnds: with the container.
func TestLogFollowEnds(t *testing.T) {
	w := newWorld(t, func(n *node) { n.write(stdout, "last\n"); n.result(&nodev1.Result{}) })
	if st := w.get("/log?follow=1"); st.Code != 200 || st.Message != "last\n" {
		t.Errorf("%d %q", st.Code, st.Message)
	}
}
