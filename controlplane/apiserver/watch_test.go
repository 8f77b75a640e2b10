package apiserver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type line struct {
	Type   string
	Object struct {
		Kind              string
		Metadata          metav1.ObjectMeta
		Code              int
		Reason            string
		ColumnDefinitions []any
		Rows              []struct{ Cells []any }
	}
}

// watchLines opens a watch and answers how to read its next event.
func (h *harness) watchLines(query string, headers ...string) func() line {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	h.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", h.http.URL+podsPath+"?watch=true&"+query, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer admin")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := h.http.Client().Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 {
		h.t.Fatalf("watch: %s", resp.Status)
	}
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	return func() line {
		h.t.Helper()
		var l line
		if !in.Scan() {
			h.t.Fatalf("the watch ended: %v", in.Err())
		}
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			h.t.Fatalf("%v: %s", err, in.Text())
		}
		return l
	}
}

func (h *harness) mustCreate(names ...string) {
	h.t.Helper()
	for _, n := range names {
		if a := h.do("POST", podsPath, podJSON(n, "")); a.code != 201 {
			h.t.Fatalf("%d %s", a.code, a.body)
		}
	}
}

func (l line) is(t *testing.T, kind, name string) {
	t.Helper()
	if l.Type != kind || l.Object.Metadata.Name != name {
		t.Fatalf("%s %s, want %s %s", l.Type, l.Object.Metadata.Name, kind, name)
	}
}

func TestWatchList(t *testing.T) {
	h := start(t)
	h.mustCreate("a", "b")
	read := h.watchLines("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
	read().is(t, "ADDED", "a")
	read().is(t, "ADDED", "b")
	end := read()
	if end.Type != "BOOKMARK" || end.Object.Kind != "Pod" || end.Object.Metadata.Annotations[metav1.InitialEventsAnnotationKey] != "true" ||
		end.Object.Metadata.ResourceVersion != formatVersion(h.store.Version()) {
		t.Fatalf("%+v", end)
	}
	h.mustCreate("c")
	read().is(t, "ADDED", "c")
}

func TestWatchResumes(t *testing.T) {
	h := start(t)
	h.mustCreate("a")
	from := h.store.Version()
	h.mustCreate("b", "c")
	read := h.watchLines(fmt.Sprintf("resourceVersion=%d", from))
	read().is(t, "ADDED", "b")
	read().is(t, "ADDED", "c")

	h.store.forget()
	if l := read(); l.Type != "ERROR" || l.Object.Kind != "Status" || l.Object.Code != 410 || l.Object.Reason != "Expired" {
		t.Errorf("%+v", l)
	}
	if a := h.do("GET", fmt.Sprintf("%s?watch=1&resourceVersion=%d", podsPath, from), ""); a.code != 410 || a.status(t).Reason != metav1.StatusReasonExpired {
		t.Errorf("%d %s", a.code, a.body)
	}
}

// TestWatchSelectorTransitions checks that objects appear and disappear as they begin and cease to match.
func TestWatchSelectorTransitions(t *testing.T) {
	h := start(t)
	h.mustCreate("a", "b")
	read := h.watchLines(fmt.Sprintf("resourceVersion=%d&labelSelector=on%%3Dyes&fieldSelector=metadata.name%%3Da", h.store.Version()))
	set := func(name, v string) {
		h.store.observe("default", name, func(p *corev1.Pod) { p.Labels = map[string]string{"on": v} })
	}
	set("b", "yes") // another name
	set("a", "yes")
	read().is(t, "ADDED", "a")
	h.store.observe("default", "a", func(p *corev1.Pod) { p.Status.Message = "x" })
	read().is(t, "MODIFIED", "a")
	set("a", "no")
	gone := read()
	gone.is(t, "DELETED", "a")
	if gone.Object.Metadata.Labels["on"] != "yes" || gone.Object.Metadata.ResourceVersion != formatVersion(h.store.Version()) {
		t.Errorf("the last state that matched, with the version of now: %+v", gone.Object.Metadata)
	}
	set("a", "yes")
	read().is(t, "ADDED", "a")
	h.store.drop(podKey{Resource: "pods", Namespace: "default", Name: "a"})
	read().is(t, "DELETED", "a")
}

func TestWatchTable(t *testing.T) {
	h := start(t)
	h.mustCreate("a")
	read := h.watchLines("resourceVersion=0", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	first := read()
	if first.Object.Kind != "Table" || len(first.Object.ColumnDefinitions) == 0 || first.Object.Rows[0].Cells[0] != "a" {
		t.Errorf("%+v", first)
	}
	h.store.observe("default", "a", func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning })
	if second := read(); len(second.Object.ColumnDefinitions) != 0 || second.Object.Rows[0].Cells[2] != "Running" {
		t.Errorf("%+v", second)
	}
}

// TestWatchTimeout ends with a bookmark, from which another watch loses nothing.
func TestWatchTimeout(t *testing.T) {
	h := start(t)
	h.mustCreate("a")
	a := h.do("GET", podsPath+"?watch=1&timeoutSeconds=1&allowWatchBookmarks=true", "")
	lines := strings.Split(strings.TrimSpace(string(a.body)), "\n")
	if len(lines) != 2 || !strings.Contains(lines[1], `"BOOKMARK"`) || !strings.Contains(lines[1], fmt.Sprintf(`"resourceVersion":"%d"`, h.store.Version())) {
		t.Errorf("%q", lines)
	}
}

func TestListPages(t *testing.T) {
	h := start(t)
	h.mustCreate("a", "b", "c", "d", "e")
	var names []string
	token, version := "", ""
	for page := 0; ; page++ {
		var list corev1.PodList
		h.do("GET", podsPath+"?limit=2&continue="+token, "").into(t, &list)
		for _, p := range list.Items {
			names = append(names, p.Name)
		}
		if page == 0 {
			version = list.ResourceVersion
			if list.RemainingItemCount == nil || *list.RemainingItemCount != 3 {
				t.Errorf("remaining %v", list.RemainingItemCount)
			}
			// What happens meanwhile isn't seen: the pages are one state.
			h.mustCreate("cc")
			h.store.drop(podKey{Resource: "pods", Namespace: "default", Name: "d"})
		}
		if list.ResourceVersion != version {
			t.Errorf("page %d is of %s, not of %s", page, list.ResourceVersion, version)
		}
		if token = list.Continue; token == "" {
			break
		}
	}
	if got := strings.Join(names, ""); got != "abcde" {
		t.Errorf("names %s", got)
	}
	old := continuation{Version: 3, Namespace: "default", Name: "a"}.String()
	if a := h.do("GET", podsPath+"?limit=2&continue="+old, ""); a.code != 410 || a.status(t).Reason != metav1.StatusReasonExpired {
		t.Errorf("%d %s", a.code, a.body)
	}
	var list corev1.PodList
	h.do("GET", podsPath+"?limit=1&labelSelector=none%3Dsuch", "").into(t, &list)
	if len(list.Items) != 0 || list.Continue != "" {
		t.Errorf("%+v", list.ListMeta)
	}
}
