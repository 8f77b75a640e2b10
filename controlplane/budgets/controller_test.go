package budgets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// memory is a store, and the rest of the control plane, in memory.
type memory struct {
	mu       sync.Mutex
	objects  map[controlplane.Key]controlplane.Object
	commits  int
	observed int
	fails    error // of commits
	events   []string
	ended    []string
	spent    map[string]Spending
	unknown  error
	asked    int
	accounts map[string]string
}

func newMemory() *memory {
	return &memory{objects: map[controlplane.Key]controlplane.Object{}, spent: map[string]Spending{}, accounts: map[string]string{}}
}

func (m *memory) List(resource, namespace string) ([]controlplane.Object, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []controlplane.Object
	for k, o := range m.objects {
		if k.Resource == resource && (namespace == "" || k.Namespace == namespace) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b controlplane.Object) int {
		return cmp.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	})
	return out, 1
}

func (m *memory) Items(resource, namespace string) (controlplane.Items, uint64) {
	list, v := m.List(resource, namespace)
	return controlplane.ItemsOf(resource, list), v
}

func (m *memory) Commit(_ context.Context, mu controlplane.Mutation) (controlplane.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil {
		return nil, m.fails
	}
	next, err := mu.Change(m.objects[mu.Key])
	if err == nil && next != m.objects[mu.Key] {
		m.commits++
		m.objects[mu.Key] = next
	}
	return next, err
}

func (m *memory) Observe(key controlplane.Key, change func(controlplane.Object) controlplane.Object) (controlplane.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return nil, controlplane.ErrNotFound
	}
	if next := change(o); next != o {
		m.observed++
		m.objects[key] = next
	}
	return m.objects[key], nil
}

func (m *memory) put(o controlplane.Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	resource := map[string]string{"*v1alpha1.Budget": budgetsResource, "*v1alpha1.AccountBudget": accountBudgetsResource, "*v1.Pod": "pods", "*v1.Namespace": "namespaces"}[fmt.Sprintf("%T", o)]
	m.objects[controlplane.Key{Resource: resource, Namespace: o.GetNamespace(), Name: o.GetName()}] = o
}

func (m *memory) budget(t *testing.T) *v1alpha1.Budget {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.objects[controlplane.Key{Resource: budgetsResource, Namespace: "shop", Name: "monthly"}].(*v1alpha1.Budget)
}

func (m *memory) config() Config {
	return Config{
		Store: m,
		Spending: func(_ context.Context, _ time.Time, since []time.Time) ([]map[string]Spending, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.asked++
			out := make([]map[string]Spending, len(since))
			for i := range out {
				out[i] = map[string]Spending{}
				for p, s := range m.spent {
					out[i][p] = s
				}
			}
			return out, m.unknown
		},
		Account: func(project string) string { return cmp.Or(m.accounts[project], "default") },
		End: func(_ context.Context, key controlplane.Key, _, why string) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.ended = append(m.ended, key.Namespace+"/"+key.Name)
			pod := m.objects[key].(*corev1.Pod).DeepCopy()
			pod.DeletionTimestamp = &metav1.Time{Time: time.Now()}
			m.objects[key] = pod
			if !strings.Contains(why, "is spent") {
				return fmt.Errorf("why is %q", why)
			}
			return nil
		},
		Log: slog.New(slog.DiscardHandler),
		Record: func(_ context.Context, about controlplane.Object, _, reason, _ string) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.events = append(m.events, about.GetName()+" "+reason)
		},
	}
}

func (m *memory) set(project string, spent int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spent[project] = Spending{Spent: spent, First: time.Now()}
}

// counted answers how often was asked, observed and committed, and begins to count observations anew.
func (m *memory) counted() (asked, observed, commits int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	observed, m.observed = m.observed, 0
	return m.asked, observed, m.commits
}

func (m *memory) took() (events, ended []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	events, ended, m.events, m.ended = m.events, m.ended, nil, nil
	return events, ended
}

func shopBudget(t *testing.T, spec string) *v1alpha1.Budget {
	o := &v1alpha1.Budget{Spec: specOf(t, spec)}
	o.Name, o.Namespace, o.UID, o.Generation = "monthly", "shop", "u1", 1
	return o
}

func podIn(namespace, name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name)}}
}

// running runs a controller within a bubble of fake time.
func running(t *testing.T, m *memory) (*Controller, func()) {
	t.Helper()
	c, err := New(m.config())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	synctest.Wait()
	return c, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// pass lets fake time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestStopsWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.put(shopBudget(t, "{amount: '10', thresholds: [{percent: 50}], hardStop: DenyAndStop, graceSeconds: 60}"))
		m.put(podIn("shop", "web"))
		m.put(podIn("other", "web"))
		done := podIn("shop", "done")
		done.Status.Phase = corev1.PodSucceeded
		m.put(done)
		c, stop := running(t, m)
		defer stop()
		if err := c.Spent("shop"); err != nil {
			t.Fatal(err)
		}
		m.set("shop", 10*unit)
		pass(time.Second)
		if err := c.Spent("shop"); err == nil || c.Spent("other") != nil || !c.Closed("shop") || c.Closed("other") {
			t.Errorf("a second later: %v", err)
		}
		if st := m.budget(t).Status; st.State != v1alpha1.BudgetDenying || st.Spent != "10.000000" || st.StopTime.Sub(st.SpentTime.Time) != time.Minute {
			t.Errorf("%+v", st)
		}
		if events, ended := m.took(); !slices.Equal(events, []string{"monthly BudgetThreshold", "monthly BudgetSpent"}) || ended != nil {
			t.Errorf("%v, %v", events, ended)
		}
		pass(time.Minute + time.Second)
		if events, ended := m.took(); events != nil || !slices.Equal(ended, []string{"shop/web"}) {
			t.Errorf("%v, %v", events, ended)
		}
		m.put(podIn("shop", "late")) // whose create was under way when the budget was found spent
		pass(time.Second)
		if _, ended := m.took(); !slices.Equal(ended, []string{"shop/late"}) {
			t.Errorf("%v", ended)
		}
		if s := c.Stats(); s.Refused != 1 || s.Ended != 2 || s.Budgets[0].Spent != 10*unit {
			t.Errorf("%+v", s)
		}
		if _, _, commits := m.counted(); commits != 2 { // the month, and that it's spent
			t.Errorf("%d commits", commits)
		}
	})
}

// TestRestart: what was spent is refused from the start, before anything is known, and nothing is told twice.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.put(shopBudget(t, "{amount: '10', thresholds: [{percent: 100}], hardStop: DenyAndStop, graceSeconds: 60}"))
		m.set("shop", 11*unit)
		_, stop := running(t, m)
		stop()
		m.took()
		b := m.budget(t).DeepCopy()
		b.Status = Kept(b.Status) // all that etcd has
		m.put(b)
		m.unknown = errors.New("the ledger is away")
		pass(30 * time.Second)
		c, stop := running(t, m)
		if err := c.Spent("shop"); err == nil || !strings.Contains(err.Error(), "all of 10.000000 CNY") {
			t.Errorf("at the start: %v", err)
		}
		if st := m.budget(t).Status; st.State != v1alpha1.BudgetUnknown || !strings.Contains(st.UnknownReason, "the ledger is away") {
			t.Errorf("%+v", st)
		}
		m.put(podIn("shop", "web"))
		pass(31 * time.Second)
		if events, ended := m.took(); events != nil || !slices.Equal(ended, []string{"shop/web"}) {
			t.Errorf("the grace goes on where it was: %v, %v", events, ended)
		}
		m.mu.Lock()
		m.unknown = nil
		m.mu.Unlock()
		pass(time.Second)
		if st := m.budget(t).Status; st.State != v1alpha1.BudgetStopping || st.UnknownReason != "" {
			t.Errorf("%+v", st)
		}
		if events, _ := m.took(); events != nil {
			t.Error(events)
		}
		stop()
		// The control plane starts anew and its nodes have told of nothing yet: it is still spent. In the end it isn't.
		m.set("shop", 5*unit)
		c, stop = running(t, m)
		pass(time.Minute)
		if c.Spent("shop") == nil {
			t.Error("restored too early")
		}
		pass(61 * time.Second)
		if events, _ := m.took(); c.Spent("shop") != nil || !slices.Equal(events, []string{"monthly BudgetRestored"}) {
			t.Errorf("%v, %v", c.Spent("shop"), events)
		}
		m.set("shop", 11*unit)
		pass(time.Second)
		stop()
		// In another month nothing of it holds.
		pass(32 * 24 * time.Hour)
		m.set("shop", 0)
		c, stop = running(t, m)
		defer stop()
		if err := c.Spent("shop"); err != nil {
			t.Error(err)
		}
	})
}

func TestStatusIsWrittenSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.put(shopBudget(t, "{amount: '1000000'}"))
		_, stop := running(t, m)
		defer stop()
		for i := range 100 {
			m.set("shop", int64(i))
			pass(time.Second)
		}
		if asked, observed, commits := m.counted(); observed < 9 || observed > 11 || commits != 1 || asked < 100 {
			t.Errorf("%d observations, %d commits in 100 s, asked %d times", observed, commits, asked)
		}
		pass(time.Minute)
		if _, observed, _ := m.counted(); observed > 1 {
			t.Errorf("%d observations of nothing new", observed)
		}
	})
}

func TestNobodyAsksWithoutBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		c, stop := running(t, m)
		defer stop()
		pass(time.Minute)
		if asked, _, _ := m.counted(); asked != 0 {
			t.Errorf("asked %d times", asked)
		}
		m.set("shop", 5*unit)
		m.put(shopBudget(t, "{amount: '1', hardStop: Deny}"))
		c.Reload()
		synctest.Wait()
		if c.Spent("shop") == nil {
			t.Error("a new budget on what is spent already doesn't hold")
		}
		m.mu.Lock()
		delete(m.objects, controlplane.Key{Resource: budgetsResource, Namespace: "shop", Name: "monthly"})
		m.mu.Unlock()
		c.Reload()
		if err := c.Spent("shop"); err != nil {
			t.Error(err)
		}
	})
}

// TestAlertsAreToldOnceStored: a store that refuses loses none, and tells none twice.
func TestAlertsAreToldOnceStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.put(shopBudget(t, "{amount: '10', thresholds: [{percent: 50}, {percent: 100}]}"))
		_, stop := running(t, m)
		defer stop()
		m.mu.Lock()
		m.fails = controlplane.ErrOverloaded
		m.mu.Unlock()
		m.set("shop", 6*unit)
		pass(3 * time.Second)
		if events, _ := m.took(); events != nil {
			t.Error(events)
		}
		m.set("shop", 10*unit)
		m.mu.Lock()
		m.fails = nil
		m.mu.Unlock()
		pass(3 * time.Second)
		if events, _ := m.took(); !slices.Equal(events, []string{"monthly BudgetThreshold", "monthly BudgetThreshold", "monthly BudgetSpent"}) {
			t.Error(events)
		}
	})
}

func TestAccountStopsItsProjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.accounts["shop"], m.accounts["blog"] = "acme", "acme"
		for _, ns := range []string{"shop", "blog", "other"} {
			m.put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
			m.put(podIn(ns, "p"))
		}
		o := &v1alpha1.AccountBudget{Spec: v1alpha1.AccountBudgetSpec{Account: "acme", BudgetSpec: specOf(t, "{amount: '10', hardStop: DenyAndStop, graceSeconds: 0}")}}
		o.Name, o.UID = "acme", "u2"
		m.put(o)
		m.set("shop", 4*unit)
		m.set("blog", 5*unit)
		m.set("other", 100*unit)
		c, stop := running(t, m)
		defer stop()
		if c.Spent("shop") != nil || c.Spent("other") != nil {
			t.Error("too early")
		}
		m.set("blog", 6*unit)
		pass(time.Second)
		if c.Spent("shop") == nil || c.Spent("blog") == nil || c.Spent("other") != nil {
			t.Error("not the account's projects")
		}
		if events, ended := m.took(); !slices.Equal(events, []string{"acme BudgetSpent"}) || !slices.Equal(ended, []string{"blog/p", "shop/p"}) {
			t.Errorf("%v, %v", events, ended)
		}
	})
}
