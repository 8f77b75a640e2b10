package client

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// selects reports whether the object is one that the request asks for.
func selects(r *http.Request, namespace string, obj runtime.Object) bool {
	m, err := meta.Accessor(obj)
	if err != nil || (namespace != "" && m.GetNamespace() != namespace) {
		return false
	}
	set := fields.Set{"metadata.name": m.GetName()}
	if ev, ok := obj.(*corev1.Event); ok {
		set["involvedObject.uid"] = string(ev.InvolvedObject.UID)
	}
	if s := r.URL.Query().Get("fieldSelector"); s != "" && !fields.ParseSelectorOrDie(s).Matches(set) {
		return false
	}
	l, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	return err == nil && l.Matches(labels.Set(m.GetLabels()))
}

func (f *fakeAPI) listObjects(w http.ResponseWriter, r *http.Request, resource, namespace string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	items := []runtime.Object{}
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		if strings.HasPrefix(key, resource+"/") && selects(r, namespace, f.objects[key]) {
			items = append(items, f.objects[key])
		}
	}
	kinds := map[string]string{"pods": "PodList", "nodes": "NodeList", "events": "EventList", "namespaces": "NamespaceList"}
	answer(w, 200, map[string]any{"kind": kinds[resource], "apiVersion": "v1",
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(f.version)}, "items": items})
}

func (f *fakeAPI) watch(w http.ResponseWriter, r *http.Request, resource, namespace string) {
	after, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	if err != nil {
		refuse(w, apierrors.NewBadRequest("a watch needs a version"))
		return
	}
	f.mu.Lock()
	cuts := f.cuts
	if after < f.oldest {
		f.mu.Unlock()
		refuse(w, apierrors.NewResourceExpired("too old resource version"))
		return
	}
	f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(200)
	w.(http.Flusher).Flush()
	for {
		f.mu.Lock()
		changed := f.changed
		ended := f.cuts != cuts
		var out []fakeChange
		for _, c := range f.history {
			if c.version > after && c.resource == resource && selects(r, namespace, c.object) {
				out = append(out, c)
			}
		}
		f.mu.Unlock()
		if ended {
			return
		}
		for _, c := range out {
			_ = json.NewEncoder(w).Encode(map[string]any{"type": c.kind, "object": c.object})
			after = c.version
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}
