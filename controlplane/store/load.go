package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"swell.dev/swell/controlplane"
)

// loadPage is how many objects are read from etcd at once.
const loadPage = 1000

// load reads all objects and the history of their events. Nobody else writes: the lead is taken.
func (s *Store) load(ctx context.Context) error {
	history, floor, err := s.history(ctx)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = version(s.lead.revision, 0)
	s.floor = floor
	for _, e := range history {
		s.tableLocked(e.Key.Resource).window.append(e)
	}
	if err := s.loadObjectsLocked(ctx); err != nil {
		return err
	}
	s.version = s.started
	s.announceRestoredLocked()
	return nil
}

func (s *Store) loadObjectsLocked(ctx context.Context) error {
	from, end := s.keys.objects, clientv3.GetPrefixRangeEnd(s.keys.objects)
	for {
		resp, err := s.cfg.Client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(loadPage), clientv3.WithRev(s.lead.revision))
		if err != nil {
			return fmt.Errorf("objects: %w", err)
		}
		for _, kv := range resp.Kvs {
			key, o, err := s.read(kv.Key, kv.Value, kv.ModRevision)
			if err != nil {
				return err
			}
			s.tableLocked(key.Resource).put(key, o)
		}
		if !resp.More {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

func (s *Store) read(path, value []byte, modRevision int64) (controlplane.Key, controlplane.Object, error) {
	key, err := s.keys.parse(string(path))
	if err != nil {
		return key, nil, err
	}
	o := s.cfg.New(key.Resource)
	if o == nil {
		return key, nil, fmt.Errorf("%s: the resource is unknown: written by a newer version", key)
	}
	if err := decode(value, modRevision, o); err != nil {
		return key, nil, fmt.Errorf("%s: %w", key, err)
	}
	return key, o, nil
}

// announceRestoredLocked lets the owner say what may have been lost of each object, as modifications that
// come after all history.
func (s *Store) announceRestoredLocked() {
	for resource, t := range s.tables {
		for _, o := range t.list("") {
			next := s.cfg.Restored(o)
			if next == o {
				continue
			}
			key := controlplane.Key{Resource: resource, Namespace: o.GetNamespace(), Name: o.GetName()}
			s.installLocked(key, next, nil, s.version+1)
		}
	}
}
