package nodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/controlplane"
)

// TestSync: a session begins with everything that its node shall run, with what that refers to, and
// nothing of other nodes.
func TestSync(t *testing.T) {
	pod := podOn("a", "with")
	pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	pod.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "settings"}, Data: map[string]string{"k": "v"}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pull"}}
	w := newWorld(t, pod, podOn("a", "without"), podOn("b", "other"), podOn("", "nowhere"), config, secret)
	n, sync := w.connect("a")
	if got := names(t, sync); !slices.Equal(got, []string{"with", "without"}) {
		t.Fatalf("the node shall run %v", got)
	}
	for _, a := range sync.Pods {
		want := 0
		if assigned(t, a).Name == "with" {
			want = 1
		}
		if len(a.ConfigMaps) != want || len(a.Secrets) != want {
			t.Errorf("%s comes with %d config maps and %d secrets", assigned(t, a).Name, len(a.ConfigMaps), len(a.Secrets))
		}
	}

	// What a pod refers to is sent again when it changes, with the pod.
	next := config.DeepCopy()
	next.Data["k"] = "w"
	w.store.put(next)
	a := n.next().GetAssign()
	var got corev1.ConfigMap
	if assigned(t, a).Name != "with" || got.Unmarshal(a.ConfigMaps[0]) != nil || got.Data["k"] != "w" {
		t.Errorf("a changed config map sends %v", a)
	}
	// Placement, changes and the end of a pod are sent; what the node itself reported isn't.
	w.store.put(podOn("a", "new"))
	if got := assigned(t, n.next().GetAssign()); got.Name != "new" {
		t.Errorf("a placed pod sends %s", got.Name)
	}
	n.report(reportOf("new", corev1.PodRunning))
	w.until(t, "running", func() bool { return w.store.pod("new").Status.Phase == corev1.PodRunning })
	w.store.edit("new", func(p *corev1.Pod) { p.Generation = 2 })
	if got := assigned(t, n.next().GetAssign()); got.Generation != 2 || got.Status.Phase != corev1.PodRunning {
		t.Errorf("a changed pod sends generation %d, %s", got.Generation, got.Status.Phase)
	}
	w.store.remove(w.store.pod("new"))
	if got := n.next().GetRemove().GetUid(); got != "uid-new" {
		t.Errorf("a removed pod sends %q", got)
	}
}

// TestSyncPrecedesChanges: however much changes meanwhile, the first message is the whole, and nothing
// that follows is older than it.
func TestSyncPrecedesChanges(t *testing.T) {
	w := newWorld(t, podOn("a", "p0"), podOn("a", "p1"), podOn("a", "p2"))
	stop := make(chan struct{})
	var churn sync.WaitGroup
	churn.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				w.store.edit(fmt.Sprintf("p%d", i%3), func(p *corev1.Pod) { p.Generation++ })
			}
		}
	})
	for range 10 {
		n, sync := w.connect("a")
		if len(sync.Pods) != 3 {
			t.Fatalf("%d pods in the first message", len(sync.Pods))
		}
		seen := map[string]int64{}
		for _, a := range sync.Pods {
			seen[assigned(t, a).Name] = assigned(t, a).Generation
		}
		for range 20 {
			p := assigned(t, n.next().GetAssign())
			if p.Generation < seen[p.Name] {
				t.Fatalf("%s: generation %d follows %d", p.Name, p.Generation, seen[p.Name])
			}
			seen[p.Name] = p.Generation
		}
	}
	close(stop)
	churn.Wait()
}

// TestSlowNodelet: one that doesn't read costs an entry a pod, and gets the state as it is when it does.
func TestSlowNodelet(t *testing.T) {
	w := newWorld(t, podOn("a", "p0"), podOn("a", "p1"))
	n, _ := w.connect("a")
	const changes = 500
	filler := strings.Repeat("x", 32<<10) // soon more than the connection takes unread
	for i := range changes {
		for _, name := range []string{"p0", "p1"} {
			w.store.edit(name, func(p *corev1.Pod) { p.Annotations = map[string]string{"filler": filler, "i": fmt.Sprint(i)} })
		}
	}
	sent, last := 0, map[string]string{}
	for last["p0"] != fmt.Sprint(changes-1) || last["p1"] != fmt.Sprint(changes-1) {
		p := assigned(t, n.next().GetAssign())
		last[p.Name] = p.Annotations["i"]
		sent++
	}
	t.Logf("%d messages for %d changes", sent, 2*changes)
	if sent > 100 {
		t.Errorf("%d messages for %d changes: changes of a pod don't share an entry", sent, 2*changes)
	}
}

func newSession() *session {
	_, cancel := context.WithCancelCause(context.Background())
	return &session{node: "a", cancel: cancel, wake: make(chan struct{}, 1), dirty: map[string]controlplane.Key{}}
}

// TestBounds: each of the queues for a nodelet that reads nothing has its end.
func TestBounds(t *testing.T) {
	s := newSession()
	for i := range 3 * maxMarks {
		s.mark(fmt.Sprint(i), controlplane.Key{})
		s.mark(fmt.Sprint(i), controlplane.Key{})
		if len(s.order) != len(s.dirty) || len(s.dirty) > maxMarks {
			t.Fatalf("%d entries for %d pods", len(s.order), len(s.dirty))
		}
	}
	if work := s.take(); !work.sync || len(work.pods) != 0 {
		t.Errorf("too many marks become %v and %d pods", work.sync, len(work.pods))
	}
	s.mark("p", controlplane.Key{})
	if work := s.take(); work.sync || len(work.pods) != 1 {
		t.Errorf("afterwards a mark becomes %v and %d pods", work.sync, len(work.pods))
	}
	for range maxOpens {
		if !s.ask(&nodev1.Open{}) {
			t.Fatal("a request is refused too early")
		}
	}
	if s.ask(&nodev1.Open{}) {
		t.Error("requests have no bound")
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	s.cancel = cancel
	s.push(func() { s.acks = make([]*nodev1.SegmentID, maxAcks) })
	if ctx.Err() != nil {
		t.Error("the session ends too early")
	}
	s.push(func() { s.acks = append(s.acks, nil) })
	if ctx.Err() == nil {
		t.Error("acknowledgements have no bound")
	}
}

// TestRelist: a hub that fell behind sends everything again, and forgets what went meanwhile.
func TestRelist(t *testing.T) {
	w := newWorld(t, podOn("a", "stays"), podOn("a", "goes"))
	n, _ := w.connect("a")
	n.heartbeat(&nodev1.Heartbeat{Usage: []*nodev1.PodUsage{{Uid: "uid-goes", TimeUnixNano: 1 << 62}, {Uid: "uid-stays", TimeUnixNano: 1 << 62}}})
	// Usage has no event of its own: a report that comes after it has.
	n.report(reportOf("stays", corev1.PodRunning))
	w.until(t, "running", func() bool { return w.store.pod("stays").Status.Phase == corev1.PodRunning })
	if got := len(w.hub.Usage()); got != 2 {
		t.Fatalf("usage of %d pods", got)
	}
	goes := w.store.pod("goes")
	w.store.expire(func() {
		delete(w.store.objects, keyOf(goes))
		w.store.version++
		came := podOn("a", "came")
		w.store.objects[keyOf(came)] = came
	})
	if got := names(t, n.next().GetSync()); !slices.Equal(got, []string{"came", "stays"}) {
		t.Errorf("after falling behind the node shall run %v", got)
	}
	if got := w.hub.Usage(); len(got) != 1 || got[0].Uid != "uid-stays" {
		t.Errorf("usage of %v", got)
	}
}

// TestWhoMayBegin: a session is for the node that the certificate names.
func TestWhoMayBegin(t *testing.T) {
	w := newWorld(t)
	admin, err := w.ca.Client("admin", "admin", []string{"swell:admins"})
	if err != nil {
		t.Fatal(err)
	}
	liar, err := w.ca.Client("liar", "system:node:a", []string{"swell:admins"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		as    nodev1.FleetClient
		first *nodev1.FromNode
		want  codes.Code
	}{
		{"no certificate", w.dial(nil), helloOf("a"), codes.Unauthenticated},
		{"a user's certificate", w.dial(&admin), helloOf("a"), codes.PermissionDenied},
		{"a node's name without its group", w.dial(&liar), helloOf("a"), codes.PermissionDenied},
		{"another node's certificate", w.dial(w.certificate("b")), helloOf("a"), codes.PermissionDenied},
		{"no hello", w.dial(w.certificate("a")), &nodev1.FromNode{}, codes.InvalidArgument},
		{"a hello without a node", w.dial(w.certificate("a")), &nodev1.FromNode{Message: &nodev1.FromNode_Hello{Hello: &nodev1.Hello{}}}, codes.PermissionDenied},
		{"a hello that isn't one", w.dial(w.certificate("a")), &nodev1.FromNode{Message: &nodev1.FromNode_Hello{Hello: &nodev1.Hello{Node: []byte("x")}}}, codes.InvalidArgument},
	} {
		n := w.open(c.as)
		n.send(c.first)
		if got := n.end(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if _, ok := w.store.Get(nodeKey("a")); ok || len(w.sched.known()) != 0 {
		t.Error("a refused session has made a node")
	}
	n, _ := w.connect("a")
	n.send(helloOf("a"))
	if got := n.end(); got != codes.InvalidArgument {
		t.Errorf("a second hello: %s", got)
	}
}

// TestReplaced: the second session of a node ends the first, and begins when the first has said its last.
func TestReplaced(t *testing.T) {
	w := newWorld(t, podOn("a", "p"))
	entered, let := make(chan struct{}), make(chan struct{})
	w.ledger.intercept(func([]usagev1.Segment) error {
		close(entered)
		<-let
		return errors.New("too late")
	})
	first, _ := w.connect("a")
	first.segments(segmentFor("p", 1))
	<-entered
	second := w.open(w.dial(w.certificate("a")))
	second.send(helloOf("a", reportOf("p", corev1.PodRunning)))
	if got := first.end(); got != codes.Aborted {
		t.Errorf("the first session ends with %s", got)
	}
	if w.store.pod("p").Status.Phase != corev1.PodPending {
		t.Error("the second session speaks while the first still does")
	}
	close(let)
	w.until(t, "running", func() bool { return w.store.pod("p").Status.Phase == corev1.PodRunning })
	if second.next().GetSync() == nil || w.store.ready("a") != corev1.ConditionTrue || !w.sched.known()["a"].Ready {
		t.Error("the second session isn't the node's")
	}
}

// TestConnectFails: a session that can't be recorded leaves nothing behind.
func TestConnectFails(t *testing.T) {
	w := newWorld(t)
	w.store.mu.Lock()
	w.store.refuse = controlplane.ErrNotLeader
	w.store.mu.Unlock()
	n := w.open(w.dial(w.certificate("a")))
	n.send(helloOf("a"))
	if got := n.end(); got != codes.Unavailable {
		t.Errorf("a session without a leader: %s", got)
	}
	if w.hub.Connected("a") {
		t.Error("the node counts as connected")
	}
}

// TestStop: the hub ends with its context, sessions included.
func TestStop(t *testing.T) {
	w := newWorld(t)
	n, _ := w.connect("a")
	w.stop()
	if got := n.end(); got != codes.Unavailable {
		t.Errorf("the session ends with %s", got)
	}
	late := w.open(w.dial(w.certificate("b")))
	late.send(helloOf("b"))
	if got := late.end(); got != codes.Unavailable {
		t.Errorf("a session after the end: %s", got)
	}
}
