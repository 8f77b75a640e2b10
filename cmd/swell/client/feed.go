package client

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// Pauses between attempts to reach a server that is gone or doesn't hold a watch.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 3 * time.Second
)

// listWatch lists and watches one resource.
type listWatch[L runtime.Object] interface {
	List(ctx context.Context, opts metav1.ListOptions) (L, error)
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
}

// feed is the present state of some objects, followed by their changes. It outlives lost connections
// and expired versions: what was missed meanwhile comes as the difference to what was known. For one
// goroutine.
type feed struct {
	list    func(context.Context, metav1.ListOptions) (runtime.Object, error)
	connect func(context.Context, metav1.ListOptions) (watch.Interface, error)
	options metav1.ListOptions
	version string
	watch   watch.Interface
	known   map[types.UID]runtime.Object
	queue   []watch.Event
	pause   time.Duration
}

// openFeed lists, starts to watch and answers what there is now.
func openFeed[L runtime.Object](ctx context.Context, api listWatch[L], options metav1.ListOptions) (*feed, L, error) {
	f := &feed{
		list:    func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return api.List(ctx, o) },
		connect: api.Watch,
		options: options,
		known:   map[types.UID]runtime.Object{},
		pause:   firstPause,
	}
	var none L
	list, err := api.List(ctx, options)
	if err != nil {
		return nil, none, err
	}
	if _, err := f.learn(list); err != nil {
		return nil, none, err
	}
	if err := f.open(ctx); err != nil {
		return nil, none, err
	}
	return f, list, nil
}

// close ends the feed.
func (f *feed) close() {
	if f.watch != nil {
		f.watch.Stop()
		f.watch = nil
	}
}

// next answers the next change: Added, Modified or Deleted.
func (f *feed) next(ctx context.Context) (watch.Event, error) {
	for {
		if len(f.queue) > 0 {
			ev := f.queue[0]
			f.queue = f.queue[1:]
			return ev, nil
		}
		if f.watch == nil {
			if err := f.reopen(ctx); err != nil {
				return watch.Event{}, err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return watch.Event{}, ctx.Err()
		case ev, open := <-f.watch.ResultChan():
			if !open {
				f.close()
				continue
			}
			if err := f.accept(ctx, ev); err != nil {
				return watch.Event{}, err
			}
		}
	}
}

func (f *feed) accept(ctx context.Context, ev watch.Event) error {
	if ev.Type == watch.Error {
		f.close()
		err := apierrors.FromObject(ev.Object)
		if expired(err) {
			return f.relist(ctx)
		}
		if permanent(err) {
			return err
		}
		return nil
	}
	m, err := meta.Accessor(ev.Object)
	if err != nil {
		return err
	}
	f.version, f.pause = m.GetResourceVersion(), firstPause
	switch ev.Type {
	case watch.Bookmark:
		return nil
	case watch.Deleted:
		delete(f.known, m.GetUID())
	default:
		f.known[m.GetUID()] = ev.Object
	}
	f.queue = append(f.queue, ev)
	return nil
}

func (f *feed) open(ctx context.Context) error {
	options := f.options
	options.ResourceVersion, options.AllowWatchBookmarks = f.version, true
	w, err := f.connect(ctx, options)
	if err != nil {
		return err
	}
	f.watch = w
	return nil
}

// reopen goes on after a lost watch, each time a little later until something arrives again.
func (f *feed) reopen(ctx context.Context) error {
	timer := time.NewTimer(f.pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	f.pause = min(2*f.pause, lastPause)
	err := f.open(ctx)
	switch {
	case err == nil:
		return nil
	case expired(err):
		return f.relist(ctx)
	case permanent(err):
		return err
	}
	return ctx.Err() // else try again
}

func (f *feed) relist(ctx context.Context) error {
	list, err := f.list(ctx, f.options)
	if permanent(err) {
		return err
	}
	if err != nil {
		return ctx.Err()
	}
	events, err := f.learn(list)
	f.queue = append(f.queue, events...)
	return err
}

// learn takes over a list and answers how it differs from what was known.
func (f *feed) learn(list runtime.Object) ([]watch.Event, error) {
	accessor, err := meta.ListAccessor(list)
	if err != nil {
		return nil, err
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil, err
	}
	var events []watch.Event
	known := make(map[types.UID]runtime.Object, len(items))
	for _, item := range items {
		m, err := meta.Accessor(item)
		if err != nil {
			return nil, err
		}
		known[m.GetUID()] = item
		old, ok := f.known[m.GetUID()]
		if !ok {
			events = append(events, watch.Event{Type: watch.Added, Object: item})
			continue
		}
		if before, err := meta.Accessor(old); err == nil && before.GetResourceVersion() != m.GetResourceVersion() {
			events = append(events, watch.Event{Type: watch.Modified, Object: item})
		}
	}
	for uid, old := range f.known {
		if _, ok := known[uid]; !ok {
			events = append(events, watch.Event{Type: watch.Deleted, Object: old})
		}
	}
	f.known, f.version = known, accessor.GetResourceVersion()
	return events, nil
}

func expired(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err)
}

// permanent is an answer that trying again won't change.
func permanent(err error) bool {
	return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) || apierrors.IsNotFound(err) ||
		apierrors.IsBadRequest(err) || apierrors.IsInvalid(err) || apierrors.IsMethodNotSupported(err)
}
