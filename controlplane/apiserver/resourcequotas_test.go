package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"swell.dev/swell/controlplane"
)

// charges is a Quota that notes what it is told, and refuses what it is told to.
type charges struct {
	mu     sync.Mutex // guards what follows
	told   []string
	refuse error
}

func (c *charges) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, fmt.Sprintf(format, args...))
}

func (c *charges) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.told
	c.told = nil
	return out
}

func (c *charges) refuseAll(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = err
}

// sizeIn shows the CPU of a pod.
func sizeIn(o controlplane.Object) string {
	if pod, ok := o.(*corev1.Pod); ok {
		return " of " + pod.Spec.Containers[0].Resources.Limits.Cpu().String()
	}
	return ""
}

func (c *charges) Charge(key controlplane.Key, next controlplane.Object) (func(controlplane.Object), error) {
	c.mu.Lock()
	refuse := c.refuse
	c.mu.Unlock()
	if refuse != nil && key.Resource != "namespaces" {
		return nil, refuse
	}
	c.note("charge %s/%s%s", key.Resource, key.Name, sizeIn(next))
	return func(stored controlplane.Object) {
		if stored == nil {
			c.note("back %s/%s", key.Resource, key.Name)
			return
		}
		c.note("stored %s/%s%s", key.Resource, key.Name, sizeIn(stored))
	}, nil
}

func (c *charges) Removed(key controlplane.Key, last controlplane.Object) {
	c.note("removed %s/%s", key.Resource, key.Name)
}

func (c *charges) Reload(namespace string) { c.note("reload %s", namespace) }

func withQuota(c *charges) func(*Config) {
	return func(cfg *Config) {
		cfg.Quota = c
		cfg.Admission.ValidateResourceQuota = func(q *corev1.ResourceQuota, counted []string) field.ErrorList {
			for _, list := range []corev1.ResourceList{q.Spec.Hard, q.Status.Used} {
				for name := range list {
					if name != "pods" && name != "limits.cpu" && !slices.Contains(counted, strings.TrimPrefix(string(name), "count/")) {
						return field.ErrorList{field.NotSupported(field.NewPath("spec", "hard").Key(string(name)), string(name), counted)}
					}
				}
			}
			return nil
		}
		cfg.Admission.ValidateResourceQuotaUpdate = func(next, _ *corev1.ResourceQuota, counted []string) field.ErrorList {
			return cfg.Admission.ValidateResourceQuota(next, counted)
		}
		cfg.Admission.ValidateUpdate = func(next, old *corev1.Pod) field.ErrorList {
			same := next.DeepCopy()
			same.Spec.ActiveDeadlineSeconds = old.Spec.ActiveDeadlineSeconds
			return testValidateUpdate(same, old)
		}
	}
}

const quotasPath = "/api/v1/namespaces/default/resourcequotas"

func TestResourceQuotas(t *testing.T) {
	c := &charges{}
	h := start(t, withQuota(c))
	quotas := h.client().CoreV1().ResourceQuotas("default")
	expect := func(what string, want ...string) {
		t.Helper()
		if got := c.take(); !slices.Equal(got, want) {
			t.Errorf("%s: told %q, want %q", what, got, want)
		}
	}
	expect("the start")
	hard := corev1.ResourceList{"pods": quantity.MustParse("2"), "count/configmaps": quantity.MustParse("1"), "count/resourcequotas": quantity.MustParse("3")}
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}, Status: corev1.ResourceQuotaStatus{Used: hard}}
	q, err := quotas.Create(t.Context(), q, metav1.CreateOptions{})
	if err != nil || len(q.Status.Used) != 0 {
		t.Fatalf("%+v, %v", q, err)
	}
	expect("a create", "charge resourcequotas/q", "reload default", "stored resourcequotas/q")
	bad := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "bad"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/events": quantity.MustParse("1")}}}
	if _, err := quotas.Create(t.Context(), bad, metav1.CreateOptions{}); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), `spec.hard[count/events]: Unsupported value: "count/events": supported values: "configmaps", "pods", "secrets", "resourcequotas"`) {
		t.Errorf("what isn't counted: %v", err)
	}
	if q, err = quotas.Patch(t.Context(), "q", types.MergePatchType, []byte(`{"spec":{"hard":{"pods":"3"}},"status":{"used":{"pods":"9"}}}`), metav1.PatchOptions{}); err != nil || q.Spec.Hard.Pods().Value() != 3 || len(q.Status.Used) != 0 {
		t.Errorf("%+v, %v", q, err)
	}
	expect("a patch", "reload default")

	q.Status.Used, q.Spec.Hard = corev1.ResourceList{"pods": quantity.MustParse("1")}, nil
	if q, err = quotas.UpdateStatus(t.Context(), q, metav1.UpdateOptions{}); err != nil || q.Status.Used.Pods().Value() != 1 || q.Spec.Hard.Pods().Value() != 3 {
		t.Errorf("%+v, %v", q, err)
	}
	expect("a status", "reload default")
	if q, err = quotas.Patch(t.Context(), "q", types.MergePatchType, []byte(`{"status":{"used":{"count/thing":"9"}}}`), metav1.PatchOptions{}, "status"); !apierrors.IsInvalid(err) {
		t.Errorf("%+v, %v", q, err)
	}
	if a := h.do(http.MethodGet, quotasPath+"/q/status", ""); a.code != http.StatusOK {
		t.Errorf("%d", a.code)
	}
	h.store.put(controlplane.Key{Resource: "resourcequotas", Namespace: "default", Name: "q"}, func() *corev1.ResourceQuota {
		o, _ := h.store.Get(controlplane.Key{Resource: "resourcequotas", Namespace: "default", Name: "q"})
		next := o.(*corev1.ResourceQuota).DeepCopy()
		next.Status.Hard = corev1.ResourceList{"pods": quantity.MustParse("3"), "limits.cpu": quantity.MustParse("2")}
		next.Status.Used = corev1.ResourceList{"pods": quantity.MustParse("1"), "limits.cpu": quantity.MustParse("500m")}
		return next
	}())
	if a := h.do(http.MethodGet, quotasPath, "", "Accept", "application/json;as=Table;g=meta.k8s.io;v=v1"); !strings.Contains(string(a.body), `"cells":["q","pods: 1/3","limits.cpu: 500m/2",`) {
		t.Errorf("table %s", a.body)
	}
	if a := h.do(http.MethodGet, "/api/v1", ""); !strings.Contains(string(a.body), `"shortNames":["quota"]`) || !strings.Contains(string(a.body), `"resourcequotas/status"`) {
		t.Errorf("discovery %s", a.body)
	}
	apply := `{"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"q"},"status":{"used":{"pods":"2"}}}`
	if q, err = quotas.Patch(t.Context(), "q", types.ApplyYAMLPatchType, []byte(apply), metav1.PatchOptions{FieldManager: "m", Force: ptr.To(true)}, "status"); err != nil || q.Status.Used.Pods().Value() != 2 ||
		!slices.ContainsFunc(q.ManagedFields, func(f metav1.ManagedFieldsEntry) bool {
			return f.Manager == "m" && f.Subresource == "status" && strings.Contains(string(f.FieldsV1.Raw), "f:pods")
		}) {
		t.Errorf("%+v, %v", q, err)
	}
	c.take()
	if err := quotas.Delete(t.Context(), "q", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	expect("a delete", "reload default", "removed resourcequotas/q")
	if a := start(t).do(http.MethodGet, quotasPath, ""); a.code != http.StatusNotFound {
		t.Errorf("not served, and yet %d", a.code)
	}
}

// TestCharges: what is stored is charged first, and what isn't stored is given back.
func TestCharges(t *testing.T) {
	c := &charges{}
	h := start(t, withQuota(c))
	ctx, pods := t.Context(), h.client().CoreV1().Pods("default")
	expect := func(what string, want ...string) {
		t.Helper()
		if got := c.take(); !slices.Equal(got, want) {
			t.Errorf("%s: told %q, want %q", what, got, want)
		}
	}
	if _, err := pods.Create(ctx, testPod("a"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	expect("a create", "charge pods/a of 500m", "stored pods/a of 500m")
	if _, err := pods.Create(ctx, testPod("a"), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("%v", err)
	}
	expect("a name that is taken")
	if _, err := pods.Create(ctx, testPod("dry"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Error(err)
	}
	expect("a dry run", "charge pods/dry of 500m", "back pods/dry")
	h.store.failWith(controlplane.ErrNoStorage)
	if _, err := pods.Create(ctx, testPod("b"), metav1.CreateOptions{}); err == nil {
		t.Errorf("%v", err)
	}
	expect("a commit that fails", "charge pods/b of 500m", "back pods/b")
	if _, err := h.resize("a", "1"); err == nil {
		t.Errorf("%v", err)
	}
	expect("a resize whose commit fails", "charge pods/a of 1", "back pods/a")
	h.store.failWith(nil)
	if _, err := h.resize("a", "1"); err != nil {
		t.Error(err)
	}
	expect("a resize", "charge pods/a of 1", "stored pods/a of 1")
	if _, err := h.resize("a", "64"); !apierrors.IsForbidden(err) {
		t.Errorf("%v", err)
	}
	expect("a resize that no node could hold", "charge pods/a of 64", "back pods/a")
	if _, err := pods.Patch(ctx, "a", types.StrategicMergePatchType, resizePatch("2"), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}, "resize"); err != nil {
		t.Error(err)
	}
	expect("a resize as a dry run", "charge pods/a of 2", "back pods/a")

	if _, err := pods.Patch(ctx, "a", types.StrategicMergePatchType, []byte(`{"metadata":{"labels":{"x":"y"}}}`), metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
	expect("a label")
	if _, err := pods.Patch(ctx, "a", types.StrategicMergePatchType, []byte(`{"spec":{"activeDeadlineSeconds":9}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Error(err)
	}
	expect("a deadline as a dry run", "charge pods/a of 1", "back pods/a")
	deadline := func() error {
		_, err := pods.Patch(ctx, "a", types.StrategicMergePatchType, []byte(`{"spec":{"activeDeadlineSeconds":9}}`), metav1.PatchOptions{})
		return err
	}
	over := errors.New("exceeded quota: q, requested: cpu=1, used: cpu=1, limited: cpu=1")
	c.refuseAll(over)
	refused := func(what string, resource, name string, err error) {
		t.Helper()
		if want := resource + ` "` + name + `" is forbidden: ` + over.Error(); !apierrors.IsForbidden(err) || err.Error() != want {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
	}
	refused("a deadline", "pods", "a", deadline())
	_, err := h.resize("a", "2")
	refused("a resize", "pods", "a", err)
	_, err = pods.Create(ctx, testPod("c"), metav1.CreateOptions{})
	refused("a create", "pods", "c", err)
	_, err = pods.Create(ctx, testPod("c"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	refused("a dry run", "pods", "c", err)
	_, err = h.client().CoreV1().ConfigMaps("default").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}}, metav1.CreateOptions{})
	refused("a config map", "configmaps", "m", err)
	if d := h.ledger.holds("a"); d != (controlplane.Demand{}) {
		t.Errorf("the ledger was asked: %+v", d)
	}
	if _, err := h.client().CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "free"}}, metav1.CreateOptions{}); err != nil {
		t.Errorf("what is in no namespace: %v", err)
	}
	c.refuseAll(nil)
	c.take()
	if err := deadline(); err != nil {
		t.Error(err)
	}
	expect("a deadline", "charge pods/a of 1", "stored pods/a of 1")
	if err := pods.Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	expect("a pod that is to end")
	if err := pods.Delete(ctx, "a", metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))}); err != nil {
		t.Error(err)
	}
	expect("a pod that is gone", "removed pods/a")
}
