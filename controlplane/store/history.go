package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"swell.dev/swell/controlplane"
)

// history answers the last events before this leadership, oldest first, and the version after which they
// are whole.
func (s *Store) history(ctx context.Context) (events []past, floor uint64, err error) {
	since, floor, err := s.historyStart(ctx)
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := historyReader{store: s, latest: map[controlplane.Key]*record{}}
	for resp := range s.cfg.Client.Watch(ctx, s.keys.root, clientv3.WithPrefix(), clientv3.WithRev(since+1), clientv3.WithPrevKV()) {
		if resp.CompactRevision != 0 {
			return nil, version(s.lead.revision, 0), nil // compacted this moment: start with what is there
		}
		if err := resp.Err(); err != nil {
			return nil, 0, err
		}
		for _, e := range resp.Events {
			if string(e.Kv.Key) == s.keys.fence && e.Kv.ModRevision >= s.lead.revision {
				return r.events, floor, nil // our own fence comes after all that others wrote
			}
			if err := r.add(e); err != nil {
				return nil, 0, err
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	return nil, 0, errors.New("the watch ended")
}

// historyStart finds the earliest revision that is not compacted and after which no more events were
// written than are wanted, and the last version that was written up to there. The fence's count at each
// revision makes that a binary search.
func (s *Store) historyStart(ctx context.Context) (since int64, floor uint64, err error) {
	var target uint64
	if want := uint64(min(s.cfg.History, s.cfg.Window)); s.lead.events > want {
		target = s.lead.events - want
	}
	floor = version(s.lead.revision, 0)
	low, high := int64(1), s.lead.revision // high always does
	for low < high {
		mid := low + (high-low)/2
		f, at, err := s.fenceAt(ctx, mid)
		switch {
		case err == nil && f.Events >= target:
			high, floor = mid, version(at, max(0, f.Last-1))
		case err == nil || errors.Is(err, rpctypes.ErrCompacted):
			low = mid + 1
		default:
			return 0, 0, err
		}
	}
	return high, floor, nil
}

// fenceAt answers the fence as it was at a revision, and when it had been written.
func (s *Store) fenceAt(ctx context.Context, revision int64) (f fence, written int64, err error) {
	resp, err := s.cfg.Client.Get(ctx, s.keys.fence, clientv3.WithRev(revision))
	if err != nil || len(resp.Kvs) == 0 {
		return f, 0, err
	}
	if err := json.Unmarshal(resp.Kvs[0].Value, &f); err != nil {
		return f, 0, fmt.Errorf("etcd key %q: %w", s.keys.fence, err)
	}
	return f, resp.Kvs[0].ModRevision, nil
}

// past is a change of the history.
type past struct {
	resource string
	change
}

// historyReader turns etcd's events into changes. Their entries are of no table yet.
type historyReader struct {
	store    *Store
	events   []past
	revision int64
	ordinal  int // of the next event in revision
	latest   map[controlplane.Key]*record
}

func (r *historyReader) add(e *clientv3.Event) error {
	if !strings.HasPrefix(string(e.Kv.Key), r.store.keys.objects) {
		return nil
	}
	if e.Kv.ModRevision != r.revision {
		r.revision, r.ordinal = e.Kv.ModRevision, 0
	}
	at := version(r.revision, r.ordinal)
	r.ordinal++
	key, err := r.store.keys.parse(string(e.Kv.Key))
	if err != nil {
		return err
	}
	out := past{resource: key.Resource}
	if e.PrevKv != nil {
		if out.was, err = r.previous(key, e.PrevKv); err != nil {
			return err
		}
	}
	switch {
	case e.Type == mvccpb.DELETE && out.was == nil:
		return fmt.Errorf("%s: deleted at revision %d without a last state", key, r.revision)
	case e.Type == mvccpb.DELETE:
		out.kind = controlplane.Deleted
		last := *out.was
		out.is, last.version = &last, at
		if last.object != nil {
			last.object = shallow(last.object)
			last.object.SetResourceVersion(formatVersion(at))
		}
		delete(r.latest, key)
	default:
		out.kind = controlplane.Modified
		if e.IsCreate() {
			out.kind = controlplane.Added
		}
		if out.is, err = r.record(key, e.Kv); err != nil {
			return err
		}
		r.latest[key] = out.is
	}
	r.events = append(r.events, out)
	return nil
}

// previous is mostly the object of an event before this one.
func (r *historyReader) previous(key controlplane.Key, kv *mvccpb.KeyValue) (*record, error) {
	if known, ok := r.latest[key]; ok {
		return known, nil
	}
	return r.record(key, kv)
}

func (r *historyReader) record(key controlplane.Key, kv *mvccpb.KeyValue) (*record, error) {
	out, _, err := r.store.read(key, kv.Value, kv.ModRevision)
	if err != nil {
		return nil, err
	}
	out.entry = &entry{name: nameOf(key)}
	return out, nil
}
