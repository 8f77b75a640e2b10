package apiserver

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// TestTypedClient goes through a pod's life with client-go, in protobuf and in JSON.
func TestTypedClient(t *testing.T) {
	for _, media := range []string{mediaProtobuf, mediaJSON} {
		t.Run(media, func(t *testing.T) {
			h := start(t)
			cfg := h.rest()
			cfg.ContentType, cfg.AcceptContentTypes = media, media
			client, err := kubernetes.NewForConfig(cfg)
			if err != nil {
				t.Fatal(err)
			}
			ctx := testContext(t)
			pods := client.CoreV1().Pods("default")
			w, err := pods.Watch(ctx, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Stop()

			created, err := pods.Create(ctx, testPod("a"), metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if created.Spec.NodeName != "n1" || created.UID == "" || created.Generation != 1 || created.Status.Phase != corev1.PodPending {
				t.Errorf("created: %+v", created)
			}
			if created.Status.QOSClass != corev1.PodQOSGuaranteed {
				t.Errorf("qos %s", created.Status.QOSClass)
			}
			if ev := next(t, w); ev.Type != watch.Added || ev.Object.(*corev1.Pod).Name != "a" {
				t.Errorf("event %v", ev)
			}
			if _, err := pods.Create(ctx, testPod("a"), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
				t.Errorf("created twice: %v", err)
			}
			got, err := pods.Get(ctx, "a", metav1.GetOptions{})
			if err != nil || got.UID != created.UID {
				t.Fatalf("get: %v %v", got, err)
			}

			got.Labels["tier"] = "web"
			updated, err := pods.Update(ctx, got, metav1.UpdateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if updated.Generation != 1 || updated.Labels["tier"] != "web" {
				t.Errorf("updated: %+v", updated.ObjectMeta)
			}
			if ev := next(t, w); ev.Type != watch.Modified {
				t.Errorf("event %v", ev)
			}
			if _, err := pods.Update(ctx, got, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
				t.Errorf("stale update: %v", err)
			}
			if _, err := pods.Patch(ctx, "a", types.StrategicMergePatchType, []byte(`{"spec":{"containers":[{"name":"c","image":"example.com/app:2"}]}}`), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			ev := next(t, w)
			if p := ev.Object.(*corev1.Pod); ev.Type != watch.Modified || p.Generation != 2 || p.Spec.Containers[0].Image != "example.com/app:2" {
				t.Errorf("event %v", ev)
			}

			if err := pods.Delete(ctx, "a", metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions("other")}); !apierrors.IsConflict(err) {
				t.Errorf("deleted another: %v", err)
			}
			if err := pods.Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			if p := next(t, w).Object.(*corev1.Pod); p.DeletionTimestamp == nil || *p.DeletionGracePeriodSeconds != 30 {
				t.Errorf("marked: %+v", p.ObjectMeta)
			}
			zero := int64(0)
			if err := pods.Delete(ctx, "a", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
				t.Fatal(err)
			}
			if ev := next(t, w); ev.Type != watch.Deleted {
				t.Errorf("event %v", ev)
			}
			if _, err := pods.Get(ctx, "a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("get after delete: %v", err)
			}
			if d := h.ledger.holds(string(created.UID)); d.CPUMilli != 0 {
				t.Errorf("still held: %+v", d)
			}
		})
	}
}

func next(t *testing.T, w watch.Interface) watch.Event {
	t.Helper()
	select {
	case ev, ok := <-w.ResultChan():
		if !ok {
			t.Fatal("the watch ended")
		}
		return ev
	case <-time.After(deadline):
		t.Fatal("no event")
	}
	return watch.Event{}
}

// TestInformer uses watch-list, and after the window was lost a fresh start.
func TestInformer(t *testing.T) {
	h := start(t)
	ctx := testContext(t)
	client := h.client()
	for _, name := range []string{"a", "b"} {
		if _, err := client.CoreV1().Pods("default").Create(ctx, testPod(name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	informer := factory.Core().V1().Pods().Informer()
	seen := make(chan string, 64)
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { seen <- "added " + o.(*corev1.Pod).Name },
		UpdateFunc: func(_, o any) { seen <- "updated " + o.(*corev1.Pod).Labels["step"] },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			seen <- "deleted " + o.(*corev1.Pod).Name
		},
	}); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	factory.Start(stop)
	defer factory.Shutdown()
	defer close(stop)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Fatal("not synced")
	}
	await(t, seen, "added a", "added b")
	h.store.observe("default", "a", func(p *corev1.Pod) { p.Labels["step"] = "one" })
	await(t, seen, "updated one")
	h.store.forget()
	h.store.observe("default", "a", func(p *corev1.Pod) { p.Labels["step"] = "two" })
	await(t, seen, "updated two")
	zero := int64(0)
	if err := client.CoreV1().Pods("default").Delete(ctx, "b", metav1.DeleteOptions{GracePeriodSeconds: &zero}); err != nil {
		t.Fatal(err)
	}
	await(t, seen, "deleted b")
}

// await reads until every one of want has come; others may come between.
func await(t *testing.T, seen <-chan string, want ...string) {
	t.Helper()
	missing := map[string]bool{}
	for _, s := range want {
		missing[s] = true
	}
	for len(missing) > 0 {
		select {
		case s := <-seen:
			delete(missing, s)
		case <-time.After(deadline):
			t.Fatalf("still waiting for %v", missing)
		}
	}
}

// TestApplyConflict checks server-side apply: creation, ownership, conflict, force.
func TestApplyConflict(t *testing.T) {
	h := start(t)
	ctx := testContext(t)
	maps := h.client().CoreV1().ConfigMaps("default")
	apply := func(manager string, force bool, data map[string]string) (*corev1.ConfigMap, error) {
		return maps.Apply(ctx, applycorev1.ConfigMap("cm", "default").WithData(data), metav1.ApplyOptions{FieldManager: manager, Force: force})
	}
	if _, err := apply("one", false, map[string]string{"a": "1", "b": "1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := apply("two", false, map[string]string{"c": "2"}); err != nil {
		t.Fatal(err)
	}
	_, err := apply("two", false, map[string]string{"a": "2"})
	if !apierrors.IsConflict(err) {
		t.Fatalf("no conflict: %v", err)
	}
	if causes := err.(apierrors.APIStatus).Status().Details.Causes; len(causes) != 1 || causes[0].Field != ".data.a" {
		t.Errorf("causes %+v", causes)
	}
	cm, err := apply("two", true, map[string]string{"a": "2"})
	if err != nil {
		t.Fatal(err)
	}
	// "two" no longer names c, so it goes; b stays with "one".
	if cm.Data["a"] != "2" || cm.Data["b"] != "1" || cm.Data["c"] != "" {
		t.Errorf("data %v", cm.Data)
	}
	cm.Data["d"] = "3"
	cm, err = maps.Update(ctx, cm, metav1.UpdateOptions{FieldManager: "three"})
	if err != nil {
		t.Fatal(err)
	}
	managers := map[string]bool{}
	for _, f := range cm.ManagedFields {
		managers[f.Manager] = true
	}
	if !managers["one"] || !managers["two"] || !managers["three"] {
		t.Errorf("managers %v", managers)
	}
	again, err := apply("two", true, map[string]string{"a": "2"})
	if err != nil {
		t.Fatal(err)
	}
	if again.ResourceVersion != cm.ResourceVersion {
		t.Errorf("an apply that changes nothing wrote: %s → %s", cm.ResourceVersion, again.ResourceVersion)
	}

	p, err := h.client().CoreV1().Pods("default").Apply(ctx, applycorev1.Pod("p", "default").WithSpec(
		applycorev1.PodSpec().WithContainers(applycorev1.Container().WithName("c").WithImage("example.com/app:1"))),
		metav1.ApplyOptions{FieldManager: "one"})
	if err != nil || p.Spec.NodeName != "n1" {
		t.Errorf("pod applied: %v %v", p, err)
	}
}

func TestDynamicClient(t *testing.T) {
	h := start(t)
	ctx := testContext(t)
	dyn, err := dynamic.NewForConfig(h.rest())
	if err != nil {
		t.Fatal(err)
	}
	bills, err := dyn.Resource(swellVersion.WithResource("bills")).Namespace("default").List(ctx, metav1.ListOptions{})
	if err != nil || len(bills.Items) != 1 || bills.Items[0].GetName() != "a" {
		t.Errorf("bills: %v %v", bills, err)
	}
	if _, err := dyn.Resource(swellVersion.WithResource("bills")).Namespace("default").Get(ctx, "none", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("bill: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	h := start(t, func(c *Config) {
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("a_total 1\n")) })
	})
	if a := h.do(http.MethodGet, "/metrics", ""); a.code != http.StatusOK || string(a.body) != "a_total 1\n" {
		t.Errorf("%d %s", a.code, a.body)
	}
	if a := h.do(http.MethodGet, "/", ""); !strings.Contains(string(a.body), `"/metrics"`) {
		t.Errorf("not among the paths: %s", a.body)
	}
	if a := h.do(http.MethodPost, "/metrics", ""); a.code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d %s", a.code, a.body)
	}
	if a := start(t).do(http.MethodGet, "/metrics", ""); a.code != http.StatusNotFound {
		t.Errorf("without any: %d %s", a.code, a.body)
	}
}

func TestDiscoveryClient(t *testing.T) {
	h := start(t)
	for name, cfg := range map[string]*rest.Config{"aggregated": h.rest()} {
		client, err := kubernetes.NewForConfig(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, legacy := range []bool{false, true} {
			client.Discovery()
			d := client.DiscoveryClient
			d.UseLegacyDiscovery = legacy
			_, lists, err := d.ServerGroupsAndResources()
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, l := range lists {
				for _, r := range l.APIResources {
					seen[l.GroupVersion+" "+r.Name] = true
				}
			}
			for _, want := range []string{"v1 pods", "v1 pods/resize", "v1 pods/exec", "v1 nodes", "swell.dev/v1alpha1 bills", "swell.dev/v1alpha1 nodes/images", "metrics.k8s.io/v1beta1 pods"} {
				if !seen[want] {
					t.Errorf("%s, legacy %t: no %s", name, legacy, want)
				}
			}
		}
		v, err := client.Discovery().ServerVersion()
		if err != nil || v.Minor != kubernetesMinor {
			t.Errorf("version %v %v", v, err)
		}
		schema, err := client.Discovery().OpenAPISchema()
		if err != nil || schema.GetDefinitions() == nil {
			t.Errorf("openapi v2: %v", err)
		}
	}
}
