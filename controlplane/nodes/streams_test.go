package nodes

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// asked begins an exchange and answers what the nodelet is asked for, and what Open will answer.
func (w *world) asked(n *fakeNodelet, ctx context.Context, node string) (*nodev1.Open, chan opened) {
	w.t.Helper()
	out := make(chan opened, 1)
	go func() {
		s, err := w.hub.Open(ctx, node, &nodev1.Open{Request: &nodev1.Open_Log{Log: &nodev1.LogRequest{PodUid: "p"}}})
		out <- opened{s, err}
	}()
	open := n.next().GetOpen()
	if open.GetLog().GetPodUid() != "p" || open.GetId() == "" {
		w.t.Fatalf("the nodelet is asked for %v", open)
	}
	return open, out
}

type opened struct {
	stream controlplane.Stream
	err    error
}

// answer opens the nodelet's side of an exchange.
func answer(t *testing.T, client nodev1.FleetClient, id string) grpc.BidiStreamingClient[nodev1.Frame, nodev1.Frame] {
	t.Helper()
	stream, err := client.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// An error of Send is told by Recv.
	_ = stream.Send(&nodev1.Frame{Frame: &nodev1.Frame_Begin{Begin: &nodev1.Begin{Id: id}}})
	return stream
}

func text(s string) *nodev1.Frame {
	return &nodev1.Frame{Frame: &nodev1.Frame_Data{Data: &nodev1.Data{Bytes: []byte(s)}}}
}

func TestStream(t *testing.T) {
	w := newWorld(t)
	n, _ := w.connect("a")
	open, result := w.asked(n, t.Context(), "a")

	// Another node that knows the id gets nothing, and neither does one who makes an id up.
	b, _ := w.connect("b")
	for _, c := range []struct {
		client nodev1.FleetClient
		id     string
		want   codes.Code
	}{
		{b.client, open.Id, codes.NotFound}, {n.client, "made-up", codes.NotFound}, {n.client, "", codes.NotFound},
		{w.dial(nil), open.Id, codes.Unauthenticated},
	} {
		if _, err := answer(t, c.client, c.id).Recv(); status.Code(err) != c.want {
			t.Errorf("stream %q: %v, want %s", c.id, err, c.want)
		}
	}
	if !w.logs.has("stream refused", "node=b", open.Id) {
		t.Error("nobody is told")
	}

	far := answer(t, n.client, open.Id)
	o := <-result
	if o.err != nil {
		t.Fatal(o.err)
	}
	if err := errors.Join(far.Send(text("up")), o.stream.Send(text("down"))); err != nil {
		t.Fatal(err)
	}
	if f, err := o.stream.Recv(); err != nil || string(f.GetData().GetBytes()) != "up" {
		t.Errorf("up comes %v, %v", f, err)
	}
	if f, err := far.Recv(); err != nil || string(f.GetData().GetBytes()) != "down" {
		t.Errorf("down comes %v, %v", f, err)
	}
	// It can't be opened twice.
	if _, err := answer(t, n.client, open.Id).Recv(); status.Code(err) != codes.NotFound {
		t.Errorf("the second answer: %v", err)
	}
	// Close ends both sides, and may be repeated.
	if err := errors.Join(o.stream.Close(), o.stream.Close()); err != nil {
		t.Error(err)
	}
	if _, err := far.Recv(); err != io.EOF {
		t.Errorf("the nodelet's side ends with %v", err)
	}
	if _, err := o.stream.Recv(); err != io.EOF {
		t.Errorf("this side ends with %v", err)
	}
}

// TestStreamIsLeft: the exchange fails when the nodelet's side does.
func TestStreamIsLeft(t *testing.T) {
	w := newWorld(t)
	n, _ := w.connect("a")
	open, result := w.asked(n, t.Context(), "a")
	ctx, leave := context.WithCancel(t.Context())
	far, err := n.client.Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := far.Send(&nodev1.Frame{Frame: &nodev1.Frame_Begin{Begin: &nodev1.Begin{Id: open.Id}}}); err != nil {
		t.Fatal(err)
	}
	o := <-result
	leave()
	if _, err := o.stream.Recv(); err == nil || err == io.EOF {
		t.Errorf("a broken exchange ends with %v", err)
	}
}

// TestOpenFails: who asks isn't left waiting.
func TestOpenFails(t *testing.T) {
	w := newWorld(t)
	if _, err := w.hub.Open(t.Context(), "a", &nodev1.Open{}); !errors.Is(err, controlplane.ErrUnavailable) {
		t.Errorf("a node that isn't there: %v", err)
	}
	n, _ := w.connect("a")
	ctx, cancel := context.WithCancel(t.Context())
	open, result := w.asked(n, ctx, "a")
	cancel()
	if o := <-result; !errors.Is(o.err, context.Canceled) {
		t.Errorf("who gives up gets %v", o.err)
	}
	if _, err := answer(t, n.client, open.Id).Recv(); status.Code(err) != codes.NotFound {
		t.Errorf("the nodelet that comes too late: %v", err)
	}
	_, result = w.asked(n, t.Context(), "a")
	n.leave()
	if o := <-result; !errors.Is(o.err, controlplane.ErrUnavailable) || !strings.Contains(o.err.Error(), "not connected") {
		t.Errorf("the session ends meanwhile: %v", o.err)
	}
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if len(w.hub.streams) != 0 {
		t.Errorf("%d exchanges are still awaited", len(w.hub.streams))
	}
}
