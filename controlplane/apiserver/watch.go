package apiserver

import (
	"errors"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"swell.dev/swell/controlplane"
)

// As kube-apiserver does: a watch without a timeout lives for 30 to 60 minutes, and is told where it
// stands about every minute.
const (
	watchLifeMin  = 30 * time.Minute
	bookmarkEvery = time.Minute
)

// watcher serves one watch. It runs on the request's goroutine alone.
type watcher struct {
	s      *Server
	q      *request
	sel    selector
	out    *frames
	opened bool   // whether an object went out; a Table has its columns in the first
	at     uint64 // version up to which everything was sent or didn't match
}

func (s *Server) watch(q *request) error {
	opts, err := q.listOptions()
	if err != nil {
		return err
	}
	sel, err := q.res.selector(opts)
	if err != nil {
		return err
	}
	if q.as, err = negotiate(q.r, []string{mediaJSON, mediaProtobuf}, true); err != nil {
		return err
	}
	q.as.pretty = false // an event is a line
	initial, after, err := s.watchStart(q, opts)
	if err != nil {
		return err
	}
	sub, err := s.cfg.Store.Watch(q.res.plural, q.namespace, after)
	if err != nil {
		if errors.Is(err, controlplane.ErrExpired) {
			return apierrors.NewResourceExpired("too old resource version: " + formatVersion(after))
		}
		return err
	}
	defer sub.Stop()

	life := watchLifeMin + rand.N(watchLifeMin)
	if opts.TimeoutSeconds != nil && *opts.TimeoutSeconds > 0 {
		life = time.Duration(*opts.TimeoutSeconds) * time.Second
	}
	out, err := startFrames(q.w, q.as.media)
	if err != nil {
		return nil // the client is gone
	}
	w := &watcher{s: s, q: q, sel: sel, out: out, at: after}
	announce := opts.SendInitialEvents != nil && *opts.SendInitialEvents && opts.AllowWatchBookmarks
	if err := w.sendInitial(initial, announce); err != nil {
		return nil
	}
	w.follow(sub, life, opts.AllowWatchBookmarks)
	return nil
}

// watchStart answers what a watch begins with: the present objects where it asks for them, and the version
// after which events follow.
func (s *Server) watchStart(q *request, opts *internalversion.ListOptions) (controlplane.Items, uint64, error) {
	asked, err := parseVersion(opts.ResourceVersion)
	if err != nil {
		return nil, 0, err
	}
	if present := s.cfg.Store.Version(); asked > present {
		return nil, 0, tooNew(asked, present)
	}
	withInitial := asked == 0
	if opts.SendInitialEvents != nil {
		withInitial = *opts.SendInitialEvents
	}
	if withInitial {
		items, version := s.cfg.Store.Items(q.res.plural, q.namespace)
		return items, version, nil
	}
	if asked == 0 {
		asked = s.cfg.Store.Version()
	}
	return controlplane.ItemsOf(q.res.plural, nil), asked, nil
}

func (w *watcher) sendInitial(items controlplane.Items, announceEnd bool) error {
	for i := range items.Len() {
		o := items.Object(i)
		if w.sel.matches(o) {
			if err := w.object(watch.Added, o, true); err != nil {
				return err
			}
		}
	}
	if announceEnd {
		if err := w.bookmark(map[string]string{metav1.InitialEventsAnnotationKey: "true"}); err != nil {
			return err
		}
	}
	return w.out.flush()
}

// flushEvery is how often a watch sends at most, while events come one by one.
const flushEvery = 2 * time.Millisecond

// follow passes events on until the client leaves, the time is over or the subscription ends.
func (w *watcher) follow(sub *controlplane.Subscription, life time.Duration, bookmarks bool) {
	defer func() { _ = w.out.flush() }() // what is still held back; the watch is over either way
	end := time.NewTimer(life)
	defer end.Stop()
	tick := time.NewTicker(bookmarkEvery)
	defer tick.Stop()
	hold := time.NewTimer(0) // fires when what was written is to be sent
	defer hold.Stop()
	var sent time.Time
	for {
		select {
		case ev, ok := <-sub.Events:
			if !ok {
				w.ended(sub.Err())
				return
			}
			if w.event(ev) != nil {
				return
			}
			if len(sub.Events) > 0 {
				continue
			}
			// One event goes out at once; of many, those of a moment go out together.
			if wait := flushEvery - time.Since(sent); wait > 0 {
				hold.Reset(wait)
				continue
			}
			if w.out.flush() != nil {
				return
			}
			sent = time.Now()
		case <-hold.C:
			if w.out.flush() != nil {
				return
			}
			sent = time.Now()
		case <-tick.C:
			if bookmarks && (w.bookmark(nil) != nil || w.out.flush() != nil) {
				return
			}
		case <-end.C:
			if bookmarks {
				_ = w.bookmark(nil) // the watch is over either way
			}
			return
		case <-w.q.r.Context().Done():
			return
		case <-w.s.closing:
			return
		}
	}
}

// event turns a change into what a client with this selector sees: an object that begins to match is
// added, one that no longer does is deleted.
func (w *watcher) event(ev controlplane.Event) error {
	w.at = ev.Version
	is := ev.Type != controlplane.Deleted && w.sel.matches(ev.Object)
	was := ev.Previous != nil && w.sel.matches(ev.Previous)
	if ev.Type == controlplane.Deleted {
		was = was || ev.Previous == nil && w.sel.matches(ev.Object)
	}
	switch {
	case is && was:
		return w.object(watch.Modified, ev.Object, true)
	case is:
		return w.object(watch.Added, ev.Object, true)
	case was && ev.Type == controlplane.Deleted:
		return w.object(watch.Deleted, ev.Object, true)
	case was:
		gone := ev.Previous.DeepCopyObject().(controlplane.Object)
		gone.SetResourceVersion(formatVersion(ev.Version))
		return w.object(watch.Deleted, gone, false)
	}
	return nil
}

// object sends one. Shared says that its version names its content, so that the encoding can be kept.
func (w *watcher) object(t watch.EventType, o controlplane.Object, shared bool) error {
	var data []byte
	var err error
	if w.q.as.as == "" && shared {
		data, err = w.s.codecs.encodeStored(o, w.q.res.gvk, w.q.as)
	} else {
		out, gvk, terr := w.q.transform(o, tableOptions{withColumns: !w.opened})
		if terr != nil {
			return terr
		}
		data, err = w.s.codecs.encode(out, gvk, w.q.as)
	}
	if err != nil {
		return err
	}
	w.opened = true
	return w.out.send(t, data)
}

func (w *watcher) bookmark(annotations map[string]string) error {
	o := w.q.res.rules.new()
	o.SetResourceVersion(formatVersion(w.at))
	o.SetAnnotations(annotations)
	return w.object(watch.Bookmark, o, false)
}

// ended tells the client why there is no more: it has to list again.
func (w *watcher) ended(err error) {
	if err == nil {
		return
	}
	data, encErr := w.s.codecs.encode(statusOf(err, w.q.groupResource(), w.q.name), statusKind, format{media: w.q.as.media})
	if encErr == nil {
		_ = w.out.send(watch.Error, data) // the watch is over either way
	}
}
