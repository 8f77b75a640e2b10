package store

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"swell.dev/swell/controlplane"
)

// How many objects are read from etcd at once: so many that they are of about that size together. For each
// page etcd walks over all keys that are left, so few pages are better.
const (
	firstPage, maxPage = 1000, 20_000
	pageBytes          = 8 << 20
)

// load reads all objects and the history of their events. Nobody else writes: the lead is taken.
func (s *Store) load(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = version(s.lead.revision, 0)
	var history, restored []past
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if history, s.floor, err = s.history(ctx); err != nil {
			return fmt.Errorf("history: %w", err)
		}
		return nil
	})
	group.Go(func() (err error) {
		restored, err = s.loadObjectsLocked(ctx)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	for _, t := range s.tables {
		t.window.floor = s.floor
	}
	for _, e := range history {
		s.tableLocked(e.resource).append(e.change)
	}
	s.version = s.started
	// What may have been lost of objects is announced as modifications that come after all history.
	for _, e := range restored {
		s.version++
		e.is.version = s.version
		if e.is.object != nil {
			e.is.object.SetResourceVersion(formatVersion(s.version))
		}
		t := s.tables[e.resource]
		t.put(e.is)
		t.append(e.change)
	}
	return nil
}

// found is an object as etcd has it, and as it is restored: the same, or another one.
type found struct {
	key      controlplane.Key
	record   *record
	restored *record // nil: nothing was lost
}

// loadObjectsLocked fills the tables and answers the changes that announce what was restored. While some
// are decoded the next ones are on their way.
func (s *Store) loadObjectsLocked(ctx context.Context) ([]past, error) {
	group, ctx := errgroup.WithContext(ctx)
	workers := runtime.GOMAXPROCS(0)
	pages := make(chan loading, 2*workers) // in order; its room bounds what waits undecoded
	work := make(chan loading)
	group.Go(func() error {
		defer close(pages)
		defer close(work)
		return s.fetchObjects(ctx, func(kvs []*mvccpb.KeyValue) error {
			for part := range slices.Chunk(kvs, firstPage) {
				next := loading{part, make(chan []found, 1)}
				for _, to := range []chan loading{pages, work} {
					select {
					case to <- next:
					case <-ctx.Done():
						return ctx.Err()
					}
				}
			}
			return nil
		})
	})
	for range workers {
		group.Go(func() error {
			for page := range work {
				out, err := s.readPage(page.kvs)
				if err != nil {
					return err
				}
				page.out <- out
			}
			return nil
		})
	}
	var restored []past
	group.Go(func() error {
		for page := range pages {
			select {
			case out := <-page.out:
				restored = s.enterLocked(out, restored)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return restored, group.Wait()
}

// loading is a part of a page on its way.
type loading struct {
	kvs []*mvccpb.KeyValue
	out chan []found
}

func (s *Store) fetchObjects(ctx context.Context, take func([]*mvccpb.KeyValue) error) error {
	from, end := s.keys.objects, clientv3.GetPrefixRangeEnd(s.keys.objects)
	for page := firstPage; ; {
		resp, err := s.cfg.Client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(int64(page)), clientv3.WithRev(s.lead.revision))
		if err != nil {
			return fmt.Errorf("objects: %w", err)
		}
		if err := take(resp.Kvs); err != nil || !resp.More {
			return err
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
		size := 0
		for _, kv := range resp.Kvs {
			size += len(kv.Value)
		}
		page = max(1, min(maxPage, page*pageBytes/max(size, 1)))
	}
}

func (s *Store) readPage(kvs []*mvccpb.KeyValue) ([]found, error) {
	out := make([]found, 0, len(kvs))
	for _, kv := range kvs {
		key, err := s.keys.parse(string(kv.Key))
		if err != nil {
			return nil, err
		}
		r, o, err := s.read(key, kv.Value, kv.ModRevision)
		if err != nil {
			return nil, err
		}
		out = append(out, found{key, r, s.restore(r, o)})
	}
	return out, nil
}

// enterLocked puts objects into their tables.
func (s *Store) enterLocked(page []found, restored []past) []past {
	for _, f := range page {
		t := s.tableLocked(f.key.Resource)
		f.record.entry = t.place(f.key)
		t.put(f.record)
		if f.restored != nil {
			f.restored.entry = f.record.entry
			restored = append(restored, past{f.key.Resource, change{controlplane.Modified, f.restored, f.record}})
		}
	}
	return restored
}

// read decodes a value, or packs it where its resource is packed.
func (s *Store) read(key controlplane.Key, value []byte, modRevision int64) (*record, controlplane.Object, error) {
	o := s.cfg.New(key.Resource)
	if o == nil {
		return nil, nil, fmt.Errorf("%s: the resource is unknown: written by a newer version", key)
	}
	if err := decode(value, modRevision, o); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", key, err)
	}
	r := &record{version: version(modRevision, ordinal(value)), size: uint32(len(value))}
	if kin := s.cfg.Pack[key.Resource]; kin != nil && value[1] == formatProtobuf {
		r.packed = s.family.pack(kin(o), formStored, value[headerSize:])
	} else {
		r.object = o
	}
	return r, o, nil
}

// restore answers the record of what is left of an object, nil if that is all.
func (s *Store) restore(r *record, o controlplane.Object) *record {
	next := s.cfg.Restored(o)
	s.cfg.Loaded(next)
	if next == o {
		return nil
	}
	out := *r
	if r.object != nil {
		out.object = next
	} else {
		out.packed.form = formRestored
	}
	return &out
}
