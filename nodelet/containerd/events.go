package containerd

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/containerd/api/events"
	coreevents "github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	"github.com/google/uuid"

	"swell.dev/swell/nodelet"
)

// markerTopic is of events that we send ourselves in order to see them arrive.
const markerTopic = "/swell/subscribed"

const (
	markEvery     = 20 * time.Millisecond
	resubscribeIn = 200 * time.Millisecond
)

// watchExits delivers ends of containers until the runtime is closed, through restarts of containerd.
func (r *Runtime) watchExits() {
	ctx := r.in(r.ctx)
	for {
		err := r.subscribe(ctx)
		if ctx.Err() != nil {
			return
		}
		r.cfg.Log.Debug("containerd's events ended; subscribing again", "cause", err)
		select {
		case <-time.After(resubscribeIn):
		case <-ctx.Done():
			return
		}
	}
}

// subscribe delivers ends until the stream of events breaks. Once the stream stands it asks for all
// containers: an end that no stream told is found then.
func (r *Runtime) subscribe(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ns := `,namespace=="` + r.cfg.Namespace + `"`
	incoming, errs := r.client.EventService().Subscribe(ctx, `topic=="/tasks/exit"`+ns, `topic=="`+markerTopic+`"`+ns)
	early, err := r.awaitMarker(ctx, incoming, errs)
	if err != nil {
		return err
	}
	if err := r.reconcile(ctx); err != nil {
		return err
	}
	r.endStuckShims() // a nodelet or containerd was killed before this stream
	for _, e := range early {
		r.exitEvent(ctx, e)
	}
	for {
		select {
		case e := <-incoming:
			r.exitEvent(ctx, e)
		case err := <-errs:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitMarker returns when the stream is known to stand, because a marker has come through it, with
// the other events that came before. containerd doesn't say so otherwise.
func (r *Runtime) awaitMarker(ctx context.Context, incoming <-chan *coreevents.Envelope, errs <-chan error) ([]*coreevents.Envelope, error) {
	marker := &events.NamespaceUpdate{Name: uuid.NewString()}
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	var early []*coreevents.Envelope
	for {
		if err := r.client.EventService().Publish(ctx, markerTopic, marker); err != nil {
			return nil, err
		}
		for waiting := true; waiting; {
			select {
			case e := <-incoming:
				if e.Topic != markerTopic {
					early = append(early, e)
				} else if isMarker(e, marker.Name) {
					return early, nil
				}
			case err := <-errs:
				return nil, err
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-tick.C:
				waiting = false
			}
		}
	}
}

func isMarker(e *coreevents.Envelope, name string) bool {
	v, err := typeurl.UnmarshalAny(e.Event)
	if err != nil {
		return false
	}
	m, ok := v.(*events.NamespaceUpdate)
	return ok && m.Name == name
}

func (r *Runtime) reconcile(ctx context.Context) error {
	states, err := r.List(ctx)
	if err != nil {
		return err
	}
	for _, s := range states {
		if s.State == nodelet.StateExited {
			r.mu.Lock()
			k := r.known[s.ID]
			r.mu.Unlock()
			r.ended(k, nodelet.Exit{ID: s.ID, PodUID: s.PodUID, ExitCode: s.ExitCode, OOMKilled: s.OOMKilled, At: s.ExitedAt})
		}
	}
	return nil
}

func (r *Runtime) exitEvent(ctx context.Context, e *coreevents.Envelope) {
	if e.Topic == markerTopic {
		return
	}
	v, err := typeurl.UnmarshalAny(e.Event)
	if err != nil {
		r.cfg.Log.Error("containerd's event cannot be read", "topic", e.Topic, "cause", err)
		return
	}
	exit, ok := v.(*events.TaskExit)
	if !ok || exit.ID != exit.ContainerID { // the end of an exec
		return
	}
	if err := r.identify(ctx, exit.ContainerID); err != nil {
		if !errdefs.IsNotFound(err) {
			r.cfg.Log.Error("an ended container cannot be identified", "container", exit.ContainerID, "cause", err)
		}
		return
	}
	r.mu.Lock()
	k := r.known[exit.ContainerID]
	r.mu.Unlock()
	if k == nil || r.isFormer(k, exit) {
		return // removed just now
	}
	r.ended(k, nodelet.Exit{
		ID: exit.ContainerID, PodUID: k.podUID, ExitCode: int32(exit.ExitStatus),
		OOMKilled: r.isOOM(int32(exit.ExitStatus), k.cgroup), At: exit.ExitedAt.AsTime(),
	})
}

// isFormer reports that a container was removed and made again since an end.
func (r *Runtime) isFormer(k *known, exit *events.TaskExit) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k.pid != 0 {
		return exit.Pid != 0 && exit.Pid != uint32(k.pid)
	}
	return exit.ExitedAt.AsTime().Before(k.madeAt)
}

// identify makes a container known that an earlier process has made.
func (r *Runtime) identify(ctx context.Context, id string) error {
	r.mu.Lock()
	k := r.known[id]
	r.mu.Unlock()
	if k != nil {
		return nil
	}
	record, err := r.client.ContainerService().Get(ctx, id)
	if err != nil {
		return err
	}
	if record.Labels[labelPodUID] == "" {
		return fmt.Errorf("%w: not of Swell's making", errdefs.ErrNotFound)
	}
	r.note(stateOf(id, record.Labels, record.CreatedAt), record.Labels[labelCgroup])
	return nil
}

// deliver tells an end once.
func (r *Runtime) deliver(ctx context.Context, k *known, e nodelet.Exit) {
	r.mu.Lock()
	told := k == nil || r.known[e.ID] != k || k.exited
	if k != nil {
		k.exited = true
	}
	r.mu.Unlock()
	if told {
		return
	}
	select {
	case r.exits <- e:
	case <-ctx.Done(): // the runtime is closed
	}
}
