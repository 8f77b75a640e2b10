package quota

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// show answers a list as it stands in messages, all of it or what is named.
func show(list corev1.ResourceList, names ...corev1.ResourceName) string {
	var out []string
	for _, name := range names {
		q := list[name]
		out = append(out, string(name)+"="+q.String())
	}
	return strings.Join(out, ",")
}

func TestChargeRefuses(t *testing.T) {
	deadline := func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = ptr.To(int64(60)) }
	bestEffort := func(p *corev1.Pod) { p.Annotations = map[string]string{v1alpha1.AnnotationQoS: v1alpha1.QoSBestEffort} }
	class := func(name string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.PriorityClassName = name } }
	in := func(operator, values string) string {
		return "{hard: {pods: 0}, scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: " + operator + ", values: " + values + "}]}}"
	}
	plain := func(*corev1.Pod) {}
	const over = "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"
	for _, c := range []struct {
		name, quota string
		change      func(*corev1.Pod)
		want        string
	}{
		{"room", "hard: {pods: 1, cpu: 1, requests.cpu: 1, limits.cpu: 2, memory: 1Gi, requests.memory: 1Gi, limits.memory: 1Gi, count/pods: 1}", plain, ""},
		{"nothing hard", "{}", plain, ""},
		{"cpu", "hard: {cpu: 999m}", plain, "exceeded quota: q, requested: cpu=1, used: cpu=0, limited: cpu=999m"},
		{"a part of a thousandth", "hard: {cpu: 999999u}", plain, "exceeded quota: q, requested: cpu=1, used: cpu=0, limited: cpu=999999u"},
		{"limits", "hard: {requests.cpu: 1, limits.cpu: 1500m, limits.memory: 1Mi}", plain,
			"exceeded quota: q, requested: limits.cpu=2,limits.memory=1Gi, used: limits.cpu=0,limits.memory=0, limited: limits.cpu=1500m,limits.memory=1Mi"},
		{"more than can be counted", "hard: {cpu: 100E, memory: 100E}", plain, ""},
		{"pods", "hard: {pods: 0}", plain, over},
		{"with a deadline", "{hard: {pods: 0}, scopes: [Terminating]}", deadline, over},
		{"without a deadline", "{hard: {pods: 0}, scopes: [NotTerminating]}", plain, over},
		{"not with a deadline", "{hard: {pods: 0}, scopes: [NotTerminating]}", deadline, ""},
		{"best effort", "{hard: {pods: 0}, scopes: [BestEffort]}", bestEffort, over},
		{"best effort by its class", "{hard: {pods: 0}, scopes: [BestEffort]}", func(p *corev1.Pod) { p.Status.QOSClass = corev1.PodQOSBestEffort }, over},
		{"not best effort", "{hard: {pods: 0}, scopes: [NotBestEffort]}", bestEffort, ""},
		{"ordinary", "{hard: {pods: 0}, scopes: [NotBestEffort]}", plain, over},
		{"two scopes, one of them", "{hard: {pods: 0}, scopes: [Terminating, BestEffort]}", deadline, ""},
		{"two scopes, both", "{hard: {pods: 0}, scopes: [Terminating, BestEffort]}", func(p *corev1.Pod) { deadline(p); bestEffort(p) }, over},
		{"a class", "{hard: {pods: 0}, scopes: [PriorityClass]}", class("high"), over},
		{"no class", "{hard: {pods: 0}, scopes: [PriorityClass]}", plain, ""},
		{"class in", in("In", "[low, high]"), class("high"), over},
		{"class in others", in("In", "[low]"), class("high"), ""},
		{"class not in", in("NotIn", "[low]"), class("high"), over},
		{"no class not in", in("NotIn", "[low]"), plain, over},
		{"class not in it", in("NotIn", "[high]"), class("high"), ""},
		{"class absent", in("DoesNotExist", "[]"), plain, over},
		{"class not absent", in("DoesNotExist", "[]"), class("high"), ""},
		{"a scope of others", "{hard: {pods: 0}, scopes: [CrossNamespacePodAffinity]}", plain, ""},
	} {
		m := newMemory()
		m.put(quotaKey("q"), quotaOf(t, "q", c.quota))
		p := pod("p", 1000, 1<<30)
		c.change(p)
		_, err := counterOf(t, m).Charge(podKey("p"), p)
		if (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestPodsLife: what a pod counts with from its create to its end.
func TestPodsLife(t *testing.T) {
	m := newMemory()
	m.put(quotaKey("q"), quotaOf(t, "q", "hard: {pods: 2, count/pods: 3, requests.cpu: 3, limits.memory: 4Gi}"))
	c := counterOf(t, m)
	expect := func(what, want string) {
		t.Helper()
		if got := show(c.usedOf("ns", "q"), "pods", "count/pods", "requests.cpu", "limits.memory"); got != want {
			t.Errorf("%s: used %s, want %s", what, got, want)
		}
	}
	charge := func(p *corev1.Pod) func(controlplane.Object) {
		t.Helper()
		settle, err := c.Charge(podKey(p.Name), p)
		if err != nil {
			t.Fatal(err)
		}
		return settle
	}
	tell := func() { // the events that there were
		m.mu.Lock()
		log := m.log
		m.log = nil
		m.mu.Unlock()
		for _, ev := range log {
			if ev.Key.Resource == podsResource {
				c.take(ev)
			}
		}
	}
	expect("nothing", "pods=0,count/pods=0,requests.cpu=0,limits.memory=0")
	settle := charge(pod("a", 1000, 1<<30))
	expect("charged", "pods=1,count/pods=1,requests.cpu=1,limits.memory=1Gi")
	settle(nil)
	expect("not stored", "pods=0,count/pods=0,requests.cpu=0,limits.memory=0")
	settle = charge(pod("a", 1000, 1<<30))
	settle(m.put(podKey("a"), pod("a", 1000, 1<<30)))
	tell()
	expect("stored", "pods=1,count/pods=1,requests.cpu=1,limits.memory=1Gi")

	settle = charge(pod("a", 3000, 1<<30))
	expect("to grow", "pods=1,count/pods=1,requests.cpu=3,limits.memory=1Gi")
	if _, err := c.Charge(podKey("b"), pod("b", 1000, 1<<30)); err == nil || err.Error() != "exceeded quota: q, requested: requests.cpu=1, used: requests.cpu=3, limited: requests.cpu=3" {
		t.Errorf("beyond what is charged: %v", err)
	}
	settle(nil)
	expect("not grown", "pods=1,count/pods=1,requests.cpu=1,limits.memory=1Gi")
	if _, err := c.Charge(podKey("a"), pod("a", 5000, 1<<30)); err == nil || err.Error() != "exceeded quota: q, requested: requests.cpu=4, used: requests.cpu=1, limited: requests.cpu=3" {
		t.Errorf("grown beyond: %v", err)
	}

	settle = charge(pod("a", 500, 2<<30))
	expect("to shrink and grow", "pods=1,count/pods=1,requests.cpu=1,limits.memory=2Gi")
	waiting := pod("a", 500, 2<<30) // admitted is the old size
	waiting.Annotations = map[string]string{v1alpha1.AnnotationAllocated: `{"c":{"requests":{"cpu":"1","memory":"1Gi"},"limits":{"cpu":"2","memory":"1Gi"}}}`}
	settle(m.put(podKey("a"), waiting))
	expect("waiting", "pods=1,count/pods=1,requests.cpu=1,limits.memory=2Gi")
	waiting.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodResizePending, Reason: corev1.PodReasonInfeasible}}
	m.put(podKey("a"), waiting)
	tell()
	expect("infeasible", "pods=1,count/pods=1,requests.cpu=1,limits.memory=1Gi")
	m.put(podKey("a"), pod("a", 500, 2<<30))
	tell()
	expect("admitted", "pods=1,count/pods=1,requests.cpu=500m,limits.memory=2Gi")

	ended := pod("a", 500, 2<<30)
	ended.Status.Phase = corev1.PodSucceeded
	m.put(podKey("a"), ended)
	tell()
	expect("ended", "pods=0,count/pods=1,requests.cpu=0,limits.memory=0")
	c.Removed(podKey("a"), m.put(podKey("a"), nil))
	expect("removed", "pods=0,count/pods=0,requests.cpu=0,limits.memory=0")
	tell()
	c.Removed(podKey("a"), m.put(podKey("a"), pod("a", 1, 1))) // late: its event was there before
	tell()
	m.put(podKey("a"), pod("a", 2, 2))
	c.Removed(podKey("a"), m.put(podKey("a"), nil))
	c.take(m.log[0])
	expect("removed, and its last change comes late", "pods=0,count/pods=0,requests.cpu=0,limits.memory=0")
	tell()
	expect("removed again", "pods=0,count/pods=0,requests.cpu=0,limits.memory=0")
	if n := len(c.tally("ns").objects[podsResource]); n != 0 {
		t.Errorf("%d pods are remembered that are gone", n)
	}
}

// TestCountsOfObjects: other resources count by their number.
func TestCountsOfObjects(t *testing.T) {
	m := newMemory()
	key := controlplane.Key{Resource: "configmaps", Namespace: "ns", Name: "a"}
	m.put(key, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a"}})
	m.put(quotaKey("q"), quotaOf(t, "q", "hard: {count/configmaps: 2, configmaps: 2, count/autosizes.swell.dev: 0, resourcequotas: 1, secrets: 1}"))
	c := counterOf(t, m)
	if got := show(c.usedOf("ns", "q"), "configmaps", "count/configmaps", "resourcequotas", "secrets"); got != "configmaps=1,count/configmaps=1,resourcequotas=1,secrets=0" {
		t.Errorf("used %s", got)
	}
	key.Name = "b"
	if _, err := c.Charge(key, &corev1.ConfigMap{}); err != nil {
		t.Error(err)
	}
	key.Name = "c"
	if _, err := c.Charge(key, &corev1.ConfigMap{}); err == nil || err.Error() != "exceeded quota: q, requested: configmaps=1,count/configmaps=1, used: configmaps=2,count/configmaps=2, limited: configmaps=2,count/configmaps=2" {
		t.Errorf("%v", err)
	}
	if _, err := c.Charge(controlplane.Key{Resource: "autosizes", Namespace: "ns", Name: "a"}, &v1alpha1.Autosize{}); err == nil {
		t.Error("a policy beyond the quota")
	}
	if _, err := c.Charge(quotaKey("q2"), quotaOf(t, "q2", "{}")); err == nil {
		t.Error("a quota beyond the quota")
	}
	if _, err := c.Charge(podKey("p"), pod("p", 1, 1)); err != nil {
		t.Errorf("pods aren't bounded: %v", err)
	}
}

// TestQuotasChange: what holds is the quotas as they are, and of other namespaces nobody is asked.
func TestQuotasChange(t *testing.T) {
	m := newMemory()
	m.put(podKey("a"), pod("a", 1000, 1))
	c := counterOf(t, m)
	if settle, err := c.Charge(podKey("b"), pod("b", 1, 1)); err != nil || c.tally("ns") != nil {
		t.Errorf("without quotas: %v", err)
	} else {
		settle(nil)
	}
	m.put(quotaKey("q"), quotaOf(t, "q", "hard: {cpu: 1}"))
	c.Reload("ns")
	before := c.tally("ns")
	if _, err := c.Charge(podKey("b"), pod("b", 1, 1)); err == nil {
		t.Error("what was there before isn't counted")
	}
	if q := m.all(quotasResource)[quotaKey("q")].(*corev1.ResourceQuota); show(q.Status.Hard, "cpu")+show(q.Status.Used, "cpu") != "cpu=1cpu=1" {
		t.Errorf("status %+v", q.Status)
	}
	m.put(quotaKey("q"), quotaOf(t, "q", "hard: {cpu: 2, count/secrets: 1}"))
	m.put(quotaKey("r"), quotaOf(t, "r", "hard: {pods: 3}"))
	c.Reload("ns")
	settle, err := c.Charge(podKey("b"), pod("b", 1000, 1))
	if err != nil {
		t.Error(err)
	}
	if got := show(c.usedOf("ns", "q"), "cpu") + show(c.usedOf("ns", "r"), "pods"); got != "cpu=2pods=2" {
		t.Errorf("used %s", got)
	}
	m.put(quotaKey("q"), quotaOf(t, "q", "hard: {count/secrets: 1}"))
	m.put(quotaKey("r"), nil)
	c.Reload("ns")
	settle(m.put(podKey("b"), pod("b", 1000, 1))) // of a resource that isn't counted now
	m.put(quotaKey("q"), nil)
	c.Reload("ns")
	c.Reload("ns")
	if c.tally("ns") != nil {
		t.Error("there is a tally without quotas")
	}
	if _, err := before.charge(podKey("d"), &claim{}); !errors.Is(err, errDropped) {
		t.Errorf("a tally that is dropped counts: %v", err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("made without a store")
	}
}

// TestRun follows the store: events, falling behind, statuses, and pods that should be gone.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.put(quotaKey("q"), quotaOf(t, "q", "hard: {pods: 1000}"))
		c := counterOf(t, m)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		status := func(name string, of corev1.ResourceName) string {
			t.Helper()
			time.Sleep(3 * time.Second) // of synctest
			synctest.Wait()
			used := m.all(quotasResource)[quotaKey(name)].(*corev1.ResourceQuota).Status.Used[of]
			return used.String()
		}
		if got := status("q", "pods"); got != "0" {
			t.Errorf("at the start: %s", got)
		}
		for i := range 500 { // more than its subscription holds
			m.put(podKey(fmt.Sprint(i)), pod(fmt.Sprint(i), 1, 1))
		}
		if got := status("q", "pods"); got != "500" {
			t.Errorf("after many: %s", got)
		}
		leaving := pod("0", 1, 1)
		leaving.DeletionTimestamp, leaving.DeletionGracePeriodSeconds = ptr.To(metav1.NewTime(time.Now().Add(30*time.Second))), ptr.To(int64(30))
		m.put(podKey("0"), leaving)
		if got := status("q", "pods"); got != "500" {
			t.Errorf("while it ends: %s", got)
		}
		time.Sleep(time.Minute)
		if got := status("q", "pods"); got != "499" {
			t.Errorf("after twice its grace: %s", got)
		}
		m.put(quotaKey("s"), quotaOf(t, "s", "hard: {secrets: 5}"))
		c.Reload("ns")
		m.put(controlplane.Key{Resource: "secrets", Namespace: "ns", Name: "a"}, &corev1.Secret{})
		m.put(controlplane.Key{Resource: "secrets", Namespace: "other", Name: "a"}, &corev1.Secret{})
		if got := status("s", "secrets"); got != "1" {
			t.Errorf("a resource that wasn't counted at the start: %s", got)
		}
		wrong := m.all(quotasResource)[quotaKey("q")].DeepCopyObject().(*corev1.ResourceQuota)
		wrong.Status.Used = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("7")}
		m.put(quotaKey("q"), wrong)
		c.Reload("ns")
		if got := status("q", "pods"); got != "499" {
			t.Errorf("what another wrote stays: %s", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestCreatesAtOnce: however many charge at the same time, no more are stored than there may be, and all that may.
func TestCreatesAtOnce(t *testing.T) {
	const at, hard = 64, 17
	m := newMemory()
	m.put(quotaKey("q"), quotaOf(t, "q", fmt.Sprintf("hard: {pods: %d, cpu: %dm}", hard, 10*hard)))
	c := counterOf(t, m)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	for round := range 20 {
		var wg sync.WaitGroup
		var stored, failed atomic.Int64
		for i := range at {
			wg.Go(func() {
				name := fmt.Sprintf("p%d-%d", round, i)
				settle, err := c.Charge(podKey(name), pod(name, 10, 1))
				if err != nil {
					return
				}
				if i%5 == 0 { // the commit fails
					failed.Add(1)
					settle(nil)
					return
				}
				stored.Add(1)
				settle(m.put(podKey(name), pod(name, 10, 1)))
			})
		}
		wg.Wait()
		if n := stored.Load(); n > hard || n+failed.Load() < hard {
			t.Fatalf("%d were stored and %d failed, of %d that may be", n, failed.Load(), hard)
		}
		if used := c.usedOf("ns", "q")[corev1.ResourcePods]; used.Value() != stored.Load() {
			t.Fatalf("%s are counted, %d are stored", used.String(), stored.Load())
		}
		for key := range m.all(podsResource) {
			c.Removed(key, m.put(key, nil))
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
