package session

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/internal/pki"
	"swell.dev/swell/nodelet"
)

// TestSession: hello, then what the journal holds, then changes both ways.
func TestSession(t *testing.T) {
	w := newWorld(t)
	w.cfg.Conditions = func() []corev1.NodeCondition {
		return []corev1.NodeCondition{{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue}}
	}
	w.pods.all["u1"] = reportOf("u1", corev1.PodRunning)
	w.journal.add(closedSegment("u1", 1), openSegment("u1", 2))
	<-w.journal.changed
	w.run()
	c, hello := w.next()
	var node corev1.Node
	if err := node.Unmarshal(hello.Node); err != nil || node.Name != "a" || hello.Version != "test" || describeReports(hello.Pods) != " u1=Running" {
		t.Errorf("hello is %v, %v", hello, err)
	}
	c.expect("segments u1/1", "segments [u1/2]")
	hb := c.receive().GetHeartbeat()
	if len(hb.GetUsage()) != 1 || len(hb.GetConditions()) != 1 || hb.Conditions[0].Type != "DiskPressure" {
		t.Errorf("the heartbeat is %v", hb)
	}

	named := metav1.ObjectMeta{Name: "x"}
	c.sync(assign(t, "p"), assign(t, "q", &corev1.ConfigMap{ObjectMeta: named}))
	w.pods.expect(t, "sync [p q with x]")
	c.send(&nodev1.ToNode{Message: &nodev1.ToNode_Assign{Assign: assign(t, "r", &corev1.Secret{ObjectMeta: named})}})
	w.pods.expect(t, "assign r with x")
	c.send(&nodev1.ToNode{Message: &nodev1.ToNode_Remove{Remove: &nodev1.Remove{Uid: "u1"}}})
	w.pods.expect(t, "remove u1")

	r := reportOf("u1", corev1.PodRunning)
	r.Events = []nodelet.Event{{Reason: "Started"}}
	w.pods.set(r)
	c.expect("reports u1=Running+Started")
	w.journal.add(closedSegment("u1", 2))
	c.expect("segments u1/2", "segments [u1/2]")
	c.ack(id("u1", 1))
	if got := <-w.journal.acked; got.Sequence != 1 || w.journal.left() != 1 {
		t.Errorf("%v is acknowledged, %d are left", got, w.journal.left())
	}
}

// TestResume: after a loss everything is told again, but what was acknowledged.
func TestResume(t *testing.T) {
	w := newWorld(t)
	w.pods.all["u1"] = reportOf("u1", corev1.PodRunning)
	w.pods.all["u2"] = reportOf("u2", corev1.PodSucceeded)
	w.journal.add(closedSegment("u1", 1), closedSegment("u2", 1), openSegment("u1", 2))
	w.run()
	for i, lose := range []func(*talk){
		func(c *talk) { c.end <- errors.New("no") },
		func(c *talk) { c.end <- nil },
		func(*talk) { w.server.Stop(); w.serve() },
		func(*talk) {},
	} {
		c, hello := w.next()
		if got := describeReports(hello.Pods); got != " u1=Running" {
			t.Fatalf("hello %d tells%s", i, got)
		}
		segments := "segments u1/1 u2/1"
		if i > 1 {
			segments = "segments u1/1"
		}
		c.expect(segments, "segments [u1/2]", "heartbeat", "reports u2=Succeeded")
		if i == 1 {
			c.ack(id("u2", 1))
			<-w.journal.acked
		}
		lose(c)
	}
}

// TestPartOfTheDesiredState: what can't be read isn't acted on, for it would remove pods.
func TestPartOfTheDesiredState(t *testing.T) {
	for name, bad := range map[string]*nodev1.Assignment{
		"pod":        {Pod: []byte("x")},
		"config map": {ConfigMaps: [][]byte{[]byte("x")}},
		"secret":     {Secrets: [][]byte{[]byte("x")}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.run()
			c, _ := w.next()
			c.sync(assign(t, "p"), bad)
			c, _ = w.next()
			c.send(&nodev1.ToNode{Message: &nodev1.ToNode_Assign{Assign: bad}})
			c, _ = w.next()
			c.sync(assign(t, "whole"))
			w.pods.expect(t, "sync [whole]")
		})
	}
}

// TestSyncInParts: nothing is done before the last part is there.
func TestSyncInParts(t *testing.T) {
	w := newWorld(t)
	w.run()
	c, _ := w.next()
	for _, name := range []string{"a", "b"} {
		c.send(&nodev1.ToNode{Message: &nodev1.ToNode_Sync{Sync: &nodev1.Sync{Pods: []*nodev1.Assignment{assign(t, name)}, More: true}}})
	}
	c.sync(assign(t, "c"))
	c.sync(assign(t, "d"))
	w.pods.expect(t, "sync [a b c]")
	w.pods.expect(t, "sync [d]")
}

// TestAckFails: a journal that can't take an acknowledgement ends the session; the segments come again.
func TestAckFails(t *testing.T) {
	w := newWorld(t)
	w.journal.refuse = errors.New("disk full")
	w.journal.add(closedSegment("u1", 1))
	w.run()
	c, _ := w.next()
	c.expect("segments u1/1")
	c.ack(id("u1", 1))
	c, _ = w.next()
	c.expect("segments u1/1")
}

// TestStranger: a nodelet talks to the control plane whose authority it knows, and to nobody else.
func TestStranger(t *testing.T) {
	w := newWorld(t)
	other, err := pki.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 1)
	w.cfg.TLS = w.clientTLS(other)
	w.cfg.Node = func() *corev1.Node { asked <- struct{}{}; return &corev1.Node{} }
	s, err := New(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	// The handshake fails on this side: the connection is given up after it was tried.
	s.conn.Connect()
	for state := s.conn.GetState(); state.String() != "TRANSIENT_FAILURE"; state = s.conn.GetState() {
		if !s.conn.WaitForStateChange(ctx, state) {
			t.Fatal("no connection was tried")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(asked) != 0 || len(w.hub.sessions) != 0 {
		t.Error("the nodelet told a stranger of itself")
	}
}

// TestExchange: the nodelet opens the stream that it is asked to open, and what serves it ends with the
// stream or with the session.
func TestExchange(t *testing.T) {
	w := newWorld(t)
	ended := make(chan string, 2)
	w.cfg.Serve = func(ctx context.Context, open *nodev1.Open, s Stream) error {
		f, err := s.Recv()
		if err == nil {
			err = s.Send(f)
		}
		if err != nil {
			return err
		}
		if _, err := s.Recv(); err == io.EOF {
			ended <- open.GetExec().GetPodUid() + " by the other side"
			return nil
		}
		<-ctx.Done()
		ended <- open.GetExec().GetPodUid() + " with the session"
		return ctx.Err()
	}
	stop := w.run()
	c, _ := w.next()
	begin := func(uid string) *exchange {
		c.send(&nodev1.ToNode{Message: &nodev1.ToNode_Open{Open: &nodev1.Open{Id: "id-" + uid, Request: &nodev1.Open_Exec{Exec: &nodev1.ExecRequest{PodUid: uid}}}}})
		x := <-w.hub.streams
		if f, err := x.stream.Recv(); err != nil || f.GetBegin().GetId() != "id-"+uid {
			t.Fatalf("the stream begins with %v, %v", f, err)
		}
		data := &nodev1.Frame{Frame: &nodev1.Frame_Data{Data: &nodev1.Data{Bytes: []byte(uid)}}}
		if err := x.stream.Send(data); err != nil {
			t.Fatal(err)
		}
		if f, err := x.stream.Recv(); err != nil || string(f.GetData().GetBytes()) != uid {
			t.Fatalf("%v comes back, %v", f, err)
		}
		return x
	}
	// Several at once, and the first one ends first.
	one, two := begin("u1"), begin("u2")
	one.end <- nil
	if got := <-ended; got != "u1 by the other side" {
		t.Errorf("an exchange ends: %s", got)
	}
	stop()
	select {
	case got := <-ended:
		if got != "u2 with the session" {
			t.Errorf("an exchange ends: %s", got)
		}
	default:
		t.Error("Run doesn't wait for the exchanges")
	}
	if _, err := two.stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("its other side: %v", err)
	}
}

func TestConfig(t *testing.T) {
	w := newWorld(t)
	for says, change := range map[string]func(*Config){
		"address":     func(c *Config) { c.Address = "" },
		"TLS":         func(c *Config) { c.TLS = nil },
		"node":        func(c *Config) { c.Node = nil },
		"pods":        func(c *Config) { c.Pods = nil },
		"journal":     func(c *Config) { c.Journal = nil },
		"serve":       func(c *Config) { c.Serve = nil },
		"at most":     func(c *Config) { c.Heartbeat = time.Minute },
		"session wit": func(c *Config) { c.Address = "bad%zz://" },
	} {
		cfg := w.cfg
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("without %s: %v", says, err)
		}
	}
}

// TestHeartbeat: the interval is kept while nothing else is said.
func TestHeartbeat(t *testing.T) {
	w := newWorld(t)
	w.cfg.Heartbeat = time.Millisecond
	w.run()
	c, _ := w.next()
	c.expect("segments")
	c.expect(slices.Repeat([]string{"heartbeat"}, 5)...)
}
