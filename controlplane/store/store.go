package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"swell.dev/swell/controlplane"
)

// Store is the leader's view of all objects. Everything that is answered is durable (or volatile).
type Store struct {
	cfg   Config
	keys  keys
	lead  *leadership
	locks keyLocks

	places chan struct{}       // one token for each mutation that waits or is under way
	queue  chan *write         // to the committer; has room for every token's write
	room   *semaphore.Weighted // bytes of writes in the queue

	family   *family
	packable chan struct{} // holds a token when there is a batch to pack

	mu      sync.RWMutex // guards what follows; no call leaves the package while it is held
	tables  map[string]*table
	floor   uint64 // versions up to it were not read back at the start
	started uint64 // the version at the start
	version uint64 // the last issued
	limit   uint64 // of ordinals; maxOrdinal but in tests

	closing   chan struct{} // closed by Close: no new mutation is taken
	closeOnce sync.Once
	committed chan struct{} // closed when the committer has ended
	ended     chan struct{} // closed when leadership is lost or the store is closed
	endOnce   sync.Once
	endErr    error         // why; written once before ended is closed
	lost      chan struct{} // closed when leadership is lost
	wg        sync.WaitGroup
	cancel    context.CancelFunc // ends the goroutines' calls to etcd

	stats counters
}

// Stats counts what a store has done since it was opened.
type Stats struct {
	Transactions uint64 // that went into etcd
	Mutations    uint64 // written by them
	Observations uint64 // changes in memory only
	Retries      uint64 // attempts of a transaction after the first
	LargestBatch uint64
	Refused      uint64 // mutations, because too many waited
	Waiting      int    // mutations that wait or are under way now
}

type counters struct{ transactions, mutations, observations, retries, largest, refused atomic.Uint64 }

// Open waits until this control plane leads, then reads everything. It returns with the state loaded; the
// caller closes the store.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s := &Store{
		cfg: cfg, keys: newKeys(cfg.Prefix),
		places: make(chan struct{}, cfg.MaxQueue), queue: make(chan *write, cfg.MaxQueue),
		room: semaphore.NewWeighted(int64(cfg.MaxQueueBytes)), family: newFamily(), packable: make(chan struct{}, 1),
		tables: map[string]*table{}, limit: maxOrdinal,
		closing: make(chan struct{}), committed: make(chan struct{}), ended: make(chan struct{}), lost: make(chan struct{}),
	}
	lead, err := s.campaign(ctx)
	if err != nil {
		return nil, fmt.Errorf("store: leadership: %w", err)
	}
	s.lead = lead
	if err := s.load(ctx); err != nil {
		s.resign()
		return nil, fmt.Errorf("store: %w", err)
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	if err := s.keepLeading(background); err != nil {
		cancel()
		s.resign()
		return nil, fmt.Errorf("store: leadership: %w", err)
	}
	s.wg.Add(2)
	go s.commitLoop(background)
	go s.packLoop()
	return s, nil
}

// Lost is closed when this control plane no longer leads. All commits then fail with ErrNotLeader, and
// subscriptions end. The store is closed and a new one opened to lead again.
func (s *Store) Lost() <-chan struct{} { return s.lost }

// Close commits what is queued, gives up leadership and waits for all goroutines. It is idempotent.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		close(s.closing)
		<-s.committed
		s.end(fmt.Errorf("the store is closed: %w", controlplane.ErrUnavailable))
		s.cancel()
		s.wg.Wait()
		s.resign()
	})
	return nil
}

// end stops everything that goes on; the first reason holds.
func (s *Store) end(err error) {
	s.endOnce.Do(func() {
		s.endErr = err
		close(s.ended)
		if errors.Is(err, controlplane.ErrNotLeader) {
			close(s.lost)
		}
	})
}

// endedErr is nil while the store works.
func (s *Store) endedErr() error {
	select {
	case <-s.ended:
		return s.endErr
	default:
		return nil
	}
}

// Get answers the present object. It is shared and must not be changed.
func (s *Store) Get(key controlplane.Key) (controlplane.Object, bool) {
	_, o := s.present(key)
	return o, o != nil
}

// present answers what Get does, with its record: both nil where there is none.
func (s *Store) present(key controlplane.Key) (*record, controlplane.Object) {
	s.mu.RLock()
	var r *record
	if t := s.tables[key.Resource]; t != nil {
		r = t.current(key)
	}
	v := r.viewLocked()
	s.mu.RUnlock()
	if r == nil {
		return nil, nil
	}
	return r, s.mustOpen(key.Resource, v)
}

// List answers the objects of a resource, in one namespace or (empty) in all, sorted by namespace and
// name, and the version whose state that is. See Items for many.
func (s *Store) List(resource, namespace string) (objects []controlplane.Object, version uint64) {
	items, version := s.Items(resource, namespace)
	if n := items.Len(); n > 0 {
		objects = make([]controlplane.Object, n)
		for i := range objects {
			objects[i] = items.Object(i)
		}
	}
	return objects, version
}

// Items is List without the cost of having all objects decoded at once.
func (s *Store) Items(resource, namespace string) (controlplane.Items, uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := items{store: s, resource: resource}
	if t := s.tables[resource]; t != nil {
		out.records = t.list(namespace)
		if t.volatile {
			t.listed.Store(time.Now().UnixNano())
		}
	}
	return out, s.version
}

// Version is the last one issued.
func (s *Store) Version() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.version
}

// Stats answers what was done so far.
func (s *Store) Stats() Stats {
	return Stats{
		Transactions: s.stats.transactions.Load(), Mutations: s.stats.mutations.Load(),
		Observations: s.stats.observations.Load(), Retries: s.stats.retries.Load(), LargestBatch: s.stats.largest.Load(),
		Refused: s.stats.refused.Load(), Waiting: len(s.places),
	}
}

func (s *Store) tableLocked(resource string) *table {
	t := s.tables[resource]
	if t == nil {
		floor := s.floor
		if s.cfg.Volatile[resource] {
			floor = s.started // what was there before is gone
		}
		t = newTable(resource, &s.cfg, floor)
		s.tables[resource] = t
	}
	return t
}

// installLocked makes a change visible, under its version. The removed object is the copy that the
// deletion's event shows. Size is that of the encoded object, 0 where nobody encoded it.
func (s *Store) installLocked(key controlplane.Key, next, removed controlplane.Object, size uint32, version uint64) {
	t := s.tableLocked(key.Resource)
	s.version = version
	was := t.current(key)
	if next == nil && was == nil {
		return // a volatile object that made room for others meanwhile
	}
	c := change{kind: controlplane.Modified, was: was}
	is := &record{held: held{object: next}, entry: t.place(key), version: version, size: size}
	if size == 0 && was != nil {
		is.size = was.size
	}
	switch {
	case next == nil:
		c.kind, is.object = controlplane.Deleted, removed
		t.remove(is.entry)
	case was == nil:
		c.kind = controlplane.Added
		fallthrough
	default:
		t.put(is)
	}
	is.object.SetResourceVersion(formatVersion(version))
	if t.volatile && !t.followed() {
		t.window.skip(version)
		return
	}
	if is.size == 0 {
		is.size = sizeOf(is.object)
	}
	c.is = is
	t.append(c)
	if len(t.due) >= packBatch {
		select {
		case s.packable <- struct{}{}:
		default: // the packer knows
		}
	}
}
