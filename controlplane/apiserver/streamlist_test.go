package apiserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"swell.dev/swell/controlplane"
)

// fillMaps stores config maps in two namespaces, behind the API's back.
func fillMaps(h *harness, n int) {
	for i := range n {
		o := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: []string{"default", "kube-system"}[i%2], Name: fmt.Sprintf("m%05d", i), UID: "u"},
			Data:       map[string]string{"<key>": "a \"value\"\n" + fmt.Sprint(i)},
		}
		h.store.put(controlplane.Key{Resource: "configmaps", Namespace: o.Namespace, Name: o.Name}, o)
	}
}

// TestStreamedListIsTheWholeList compares lists that are written item by item with those that are encoded
// as one.
func TestStreamedListIsTheWholeList(t *testing.T) {
	h := start(t)
	fillMaps(h, 2*streamedList+1)
	res := h.server.resources.find("", "v1", "configmaps")
	for _, c := range []struct{ media, query, namespace string }{
		{mediaJSON, "", ""},
		{mediaProtobuf, "", ""},
		{mediaJSON, "", "default"},
		{mediaProtobuf, fmt.Sprintf("?limit=%d", streamedList), ""},
		{mediaJSON, "?limit=3", ""},
		{mediaJSON, "?pretty=true", ""},
		{mediaYAML, "", ""},
	} {
		path := "/api/v1/configmaps"
		if c.namespace != "" {
			path = "/api/v1/namespaces/" + c.namespace + "/configmaps"
		}
		for _, encoding := range []string{"identity", "gzip"} {
			req, err := http.NewRequest(http.MethodGet, h.http.URL+path+c.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer admin")
			req.Header.Set("Accept", c.media)
			if encoding == "identity" { // else the transport asks for gzip, and undoes it
				req.Header.Set("Accept-Encoding", encoding)
			}
			resp, err := h.http.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != c.media {
				t.Fatalf("%+v: %s as %s: %v", c, resp.Status, resp.Header.Get("Content-Type"), err)
			}
			items, version := h.store.Items("configmaps", c.namespace)
			lm := metav1.ListMeta{ResourceVersion: formatVersion(version)}
			var limit int
			if _, err := fmt.Sscanf(c.query, "?limit=%d", &limit); err == nil {
				rest := int64(items.Len() - limit)
				items, lm.RemainingItemCount = items.Slice(0, limit), &rest
				last := items.Key(limit - 1)
				lm.Continue = continuation{Version: version, Namespace: last.Namespace, Name: last.Name}.String()
			}
			list, err := res.list(items, lm)
			if err != nil {
				t.Fatal(err)
			}
			want, err := h.server.codecs.encode(list, res.listKind(), format{media: c.media, pretty: c.query == "?pretty=true"})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%+v, %s: %d bytes, not the %d of the list", c, encoding, len(got), len(want))
			}
		}
	}
}

// TestPagesOfAChangingList goes through a list in pages, with and without a selector, while it changes.
func TestPagesOfAChangingList(t *testing.T) {
	h := start(t)
	const n = 2500
	fillMaps(h, n)
	config := h.rest()
	config.ContentType = mediaProtobuf
	client := kubernetes.NewForConfigOrDie(config)
	for _, selector := range []string{"", "metadata.namespace=default"} {
		seen := map[string]bool{}
		opts := metav1.ListOptions{Limit: 1100, FieldSelector: selector}
		for page := 0; ; page++ {
			list, err := client.CoreV1().ConfigMaps("").List(context.Background(), opts)
			if err != nil {
				t.Fatal(err)
			}
			for i := range list.Items {
				seen[list.Items[i].Namespace+"/"+list.Items[i].Name] = true
			}
			o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("z-%s-%d", selector, page)}}
			h.store.put(controlplane.Key{Resource: "configmaps", Namespace: o.Namespace, Name: o.Name}, o)
			if opts.Continue = list.Continue; opts.Continue == "" {
				break
			}
		}
		want := n
		if selector != "" {
			want = n/2 + 3 // and those that the first round added
		}
		if len(seen) != want {
			t.Errorf("selector %q: %d of %d", selector, len(seen), want)
		}
	}
}

func TestSnapshotsAreBounded(t *testing.T) {
	s := newSnapshots()
	large := controlplane.ItemsOf("pods", make([]controlplane.Object, snapshotsItems/4))
	for v := range uint64(10) {
		s.put(snapshotKey{resource: "pods", version: v}, large)
	}
	for v := range uint64(10) {
		if _, ok := s.get(snapshotKey{resource: "pods", version: v}); ok != (v >= 6) {
			t.Errorf("state %d is kept: %v", v, ok)
		}
	}
	for v := range uint64(100) {
		s.put(snapshotKey{resource: "nodes", version: v}, controlplane.ItemsOf("nodes", nil))
	}
	if len(s.kept) != snapshotsKept {
		t.Errorf("%d states are kept", len(s.kept))
	}
}
