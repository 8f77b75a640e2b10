package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"

	"swell.dev/swell/api/v1alpha1"
)

// fakeAPI speaks as much of the API as the commands need. What a node would do, tests do with set and drop.
type fakeAPI struct {
	t      *testing.T
	server *httptest.Server

	mu       sync.Mutex // guards what follows
	version  int
	objects  map[string]runtime.Object // resource/namespace/name
	history  []fakeChange
	oldest   int           // versions up to here are forgotten: a watch from before is expired
	changed  chan struct{} // closed and replaced at each change, and by cut
	cuts     int           // watches begun before the last cut end
	requests []string      // METHOD path?query
	bodies   map[string][]byte

	created func(*corev1.Pod) // runs after a pod was created, on a goroutine of its own
	resized func(*corev1.Pod) // likewise after a resize
	deleted func(*corev1.Pod) // likewise after a deletion with grace; without it the pod is dropped at once
	log     func(io.Writer, *http.Request)
	extra   http.ServeMux // other paths
	wg      sync.WaitGroup
}

type fakeChange struct {
	version  int
	kind     watch.EventType
	resource string
	object   runtime.Object
}

func newFakeAPI(t *testing.T) *fakeAPI {
	t.Helper()
	f := &fakeAPI{t: t, objects: map[string]runtime.Object{}, changed: make(chan struct{}), bodies: map[string][]byte{}, version: 100}
	f.server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(func() {
		f.server.CloseClientConnections()
		f.server.Close()
		f.wg.Wait()
	})
	return f
}

func (f *fakeAPI) go1(hook func(*corev1.Pod), pod *corev1.Pod) {
	if hook != nil {
		f.wg.Go(func() { hook(pod.DeepCopy()) })
	}
}

// set stores an object: Added or Modified.
func (f *fakeAPI) set(resource string, obj runtime.Object) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.setLocked(resource, obj)
}

func (f *fakeAPI) setLocked(resource string, obj runtime.Object) {
	obj = obj.DeepCopyObject()
	setKind(obj)
	m, err := meta.Accessor(obj)
	if err != nil {
		f.t.Error(err)
		return
	}
	f.version++
	m.SetResourceVersion(strconv.Itoa(f.version))
	if m.GetUID() == "" {
		m.SetUID(types.UID(fmt.Sprintf("uid-%d", f.version)))
	}
	key := resource + "/" + m.GetNamespace() + "/" + m.GetName()
	kind := watch.Modified
	if _, ok := f.objects[key]; !ok {
		kind = watch.Added
	}
	f.objects[key] = obj
	f.recordLocked(kind, resource, obj)
}

// drop removes an object.
func (f *fakeAPI) drop(resource, namespace, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := resource + "/" + namespace + "/" + name
	obj, ok := f.objects[key]
	if !ok {
		f.t.Errorf("drop: no %s", key)
		return
	}
	delete(f.objects, key)
	obj = obj.DeepCopyObject()
	f.version++
	if m, err := meta.Accessor(obj); err == nil {
		m.SetResourceVersion(strconv.Itoa(f.version))
	}
	f.recordLocked(watch.Deleted, resource, obj)
}

func (f *fakeAPI) recordLocked(kind watch.EventType, resource string, obj runtime.Object) {
	f.history = append(f.history, fakeChange{f.version, kind, resource, obj})
	close(f.changed)
	f.changed = make(chan struct{})
}

// cut ends all watches; with forget, none can resume from a version of before.
func (f *fakeAPI) cut(forget bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cuts++
	if forget {
		f.version++
		f.oldest, f.history = f.version, nil
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeAPI) pod(name string) *corev1.Pod {
	f.mu.Lock()
	defer f.mu.Unlock()
	pod, ok := f.objects["pods/default/"+name].(*corev1.Pod)
	if !ok {
		return nil
	}
	return pod.DeepCopy()
}

// update changes a pod.
func (f *fakeAPI) update(name string, change func(*corev1.Pod)) {
	pod := f.pod(name)
	if pod == nil {
		f.t.Errorf("update: no pod %s", name)
		return
	}
	change(pod)
	f.set("pods", pod)
}

// requested answers the requests with that prefix.
func (f *fakeAPI) requested(prefix string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, r := range f.requests {
		if strings.HasPrefix(r, prefix) {
			out = append(out, r)
		}
	}
	return out
}

func (f *fakeAPI) body(request string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.bodies[request]
}

func (f *fakeAPI) serve(w http.ResponseWriter, r *http.Request) {
	var body []byte
	if r.Method != http.MethodGet && !strings.HasSuffix(r.URL.Path, "/exec") {
		body, _ = io.ReadAll(r.Body)
	}
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.URL.RequestURI())
	f.bodies[r.Method+" "+r.URL.Path] = body
	f.mu.Unlock()

	path, ok := strings.CutPrefix(r.URL.Path, "/api/v1/")
	if !ok {
		f.extra.ServeHTTP(w, r)
		return
	}
	namespace := ""
	parts := strings.Split(path, "/")
	if parts[0] == "namespaces" && len(parts) > 2 {
		namespace, parts = parts[1], parts[2:]
	}
	switch {
	case len(parts) == 1 && r.Method == http.MethodGet && r.URL.Query().Get("watch") == "true":
		f.watch(w, r, parts[0], namespace)
	case len(parts) == 1 && r.Method == http.MethodGet:
		f.listObjects(w, r, parts[0], namespace)
	case len(parts) == 1 && r.Method == http.MethodPost:
		f.create(w, r, namespace, body)
	case len(parts) == 2 && r.Method == http.MethodGet:
		f.get(w, parts[0], namespace, parts[1])
	case len(parts) == 2 && r.Method == http.MethodDelete:
		f.remove(w, namespace, parts[1], body)
	case r.Method == http.MethodPatch:
		f.patch(w, parts[0], namespace, parts[1], strings.Join(parts[2:], "/"), body)
	case len(parts) == 3 && parts[2] == "log":
		f.mu.Lock()
		log := f.log
		f.mu.Unlock()
		log(w, r)
	default:
		f.extra.ServeHTTP(w, r)
	}
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, err error) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		status = apierrors.NewInternalError(err)
	}
	s := status.Status()
	s.Kind, s.APIVersion = "Status", "v1"
	answer(w, int(s.Code), s)
}

func missing(resource, name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: resource}, name)
}

func (f *fakeAPI) get(w http.ResponseWriter, resource, namespace, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	obj, ok := f.objects[resource+"/"+namespace+"/"+name]
	if !ok {
		refuse(w, missing(resource, name))
		return
	}
	answer(w, 200, obj)
}

func (f *fakeAPI) create(w http.ResponseWriter, r *http.Request, namespace string, body []byte) {
	obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	pod, ok := obj.(*corev1.Pod)
	if err != nil || !ok {
		refuse(w, apierrors.NewBadRequest(fmt.Sprintf("no pod: %v", err)))
		return
	}
	pod.Namespace, pod.Generation = namespace, 1
	pod.Spec.NodeName, pod.Status.Phase = "n1", corev1.PodPending
	setKind(pod)
	if r.URL.Query().Get("dryRun") != "" {
		answer(w, 201, pod)
		return
	}
	f.mu.Lock()
	key := "pods/" + namespace + "/" + pod.Name
	if _, ok := f.objects[key]; ok {
		f.mu.Unlock()
		refuse(w, apierrors.NewAlreadyExists(schema.GroupResource{Resource: "pods"}, pod.Name))
		return
	}
	f.setLocked("pods", pod)
	stored := f.objects[key].(*corev1.Pod)
	hook := f.created
	f.mu.Unlock()
	answer(w, 201, stored)
	f.go1(hook, stored)
}

func (f *fakeAPI) remove(w http.ResponseWriter, namespace, name string, body []byte) {
	options := metav1.DeleteOptions{}
	if obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil); err == nil {
		options = *obj.(*metav1.DeleteOptions)
	}
	f.mu.Lock()
	stored, ok := f.objects["pods/"+namespace+"/"+name].(*corev1.Pod)
	if !ok {
		f.mu.Unlock()
		refuse(w, missing("pods", name))
		return
	}
	hook := f.deleted
	f.mu.Unlock()
	if options.Preconditions == nil || *options.Preconditions.UID != stored.UID {
		f.t.Errorf("delete %s without the right UID", name)
	}
	answer(w, 200, stored)
	if hook == nil || (options.GracePeriodSeconds != nil && *options.GracePeriodSeconds == 0) {
		f.drop("pods", namespace, name)
		return
	}
	f.go1(hook, stored)
}

func (f *fakeAPI) patch(w http.ResponseWriter, resource, namespace, name, subresource string, body []byte) {
	f.mu.Lock()
	key := resource + "/" + namespace + "/" + name
	obj, ok := f.objects[key]
	if !ok {
		f.mu.Unlock()
		refuse(w, missing(resource, name))
		return
	}
	old, _ := json.Marshal(obj)
	merged, err := strategicpatch.StrategicMergePatch(old, body, obj)
	if err != nil {
		f.mu.Unlock()
		refuse(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	next, _, err := scheme.Codecs.UniversalDeserializer().Decode(merged, nil, nil)
	if err != nil {
		f.mu.Unlock()
		refuse(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	pod, isPod := next.(*corev1.Pod)
	if isPod != (subresource == "resize") {
		f.t.Errorf("patch of %s/%s", resource, subresource)
	}
	if isPod {
		pod.Generation++
	}
	f.setLocked(resource, next)
	stored := f.objects[key]
	hook := f.resized
	f.mu.Unlock()
	answer(w, 200, stored)
	if isPod {
		f.go1(hook, stored.(*corev1.Pod))
	}
}

// group serves a path of our own API group.
func (f *fakeAPI) group(pattern string, handler http.HandlerFunc) {
	method, path, _ := strings.Cut(pattern, " ")
	f.extra.HandleFunc(method+" /apis/"+v1alpha1.Group+"/"+v1alpha1.Version+path, handler)
}
