package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"

	"swell.dev/swell/controlplane"
)

// commitLoop commits batch after batch until the store ends. What is queued when it is closed is still
// committed.
func (s *Store) commitLoop(ctx context.Context) {
	defer s.wg.Done()
	defer close(s.committed)
	var held *write // didn't fit into the last batch
	batch := make([]*write, 0, s.cfg.MaxBatchOps)
	for {
		first := held
		if first == nil {
			select {
			case first = <-s.queue:
			case <-s.ended:
			case <-s.closing:
				select {
				case first = <-s.queue:
				default:
					return
				}
			}
		}
		if s.endedErr() != nil {
			s.refuseQueued(first)
			return
		}
		batch, held = s.gather(append(batch[:0], first))
		s.commitBatch(ctx, batch)
		clear(batch)
	}
}

// gather adds what is queued. Those who are about to queue their writes, woken by the last batch, get the
// processor first: else each second batch would have one write.
func (s *Store) gather(batch []*write) (full []*write, held *write) {
	runtime.Gosched()
	bytes := batch[0].size()
	for len(batch) < s.cfg.MaxBatchOps {
		select {
		case w := <-s.queue:
			if bytes += w.size(); bytes > s.cfg.MaxBatchBytes {
				return batch, w
			}
			batch = append(batch, w)
		default:
			return batch, nil
		}
	}
	return batch, nil
}

func (s *Store) refuseQueued(first *write) {
	if first != nil {
		first.done <- s.endErr
	}
	for {
		select {
		case w := <-s.queue:
			w.done <- s.endErr
		default:
			return
		}
	}
}

func (s *Store) commitBatch(ctx context.Context, batch []*write) {
	ops := make([]clientv3.Op, 1, len(batch)+1)
	events := 0
	for _, w := range batch {
		switch {
		case w.path == "":
			continue
		case w.value == nil:
			ops = append(ops, clientv3.OpDelete(w.path))
		default:
			setOrdinal(w.value, events)
			ops = append(ops, clientv3.OpPut(w.path, string(w.value)))
		}
		events++
	}
	ops[0] = clientv3.OpPut(s.keys.fence, s.lead.fenceValue(events))
	revision, err := s.transact(ctx, ops)
	if err != nil {
		if errors.Is(err, controlplane.ErrNotLeader) {
			s.end(err)
		}
		for _, w := range batch {
			w.done <- err
		}
		return
	}
	s.lead.revision, s.lead.events = revision, s.lead.events+uint64(events)
	s.publish(batch, revision)
	s.stats.transactions.Add(1)
	s.stats.mutations.Add(uint64(events))
	if n := uint64(events); n > s.stats.largest.Load() {
		s.stats.largest.Store(n)
	}
	for _, w := range batch {
		w.done <- nil
	}
}

func (s *Store) publish(batch []*write, revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = version(revision, 0)
	n := 0
	for _, w := range batch {
		if w.path == "" {
			continue
		}
		s.installLocked(w.key, w.next, w.removed, uint32(len(w.value)), version(revision, n))
		n++
	}
	for _, w := range batch {
		if w.path != "" {
			s.tables[w.key.Resource].wake()
		}
	}
}

// retryAfter is the pause before a transaction is attempted again.
const retryAfter = 100 * time.Millisecond

// transact applies the operations exactly once and answers the revision. It tries again for as long as the
// outcome is unknown: until then nothing else can be committed, because nothing else would be true.
func (s *Store) transact(ctx context.Context, ops []clientv3.Op) (int64, error) {
	for attempt := 0; ; attempt++ {
		if attempt > 0 {
			s.stats.retries.Add(1)
		}
		revision, err := s.attempt(ctx, ops)
		if err == nil || errors.Is(err, controlplane.ErrNotLeader) {
			return revision, err
		}
		if final(err) {
			return 0, fmt.Errorf("etcd refuses the write: %w: %w", controlplane.ErrUnavailable, err)
		}
		s.cfg.Log.Warn("etcd doesn't answer a transaction, trying again", "error", err)
		pause := time.NewTimer(retryAfter)
		select {
		case <-pause.C:
		case <-s.ended:
			return 0, fmt.Errorf("%w: %w: %w", s.endErr, errUnknownOutcome, err)
		case <-s.closing: // Close doesn't wait for an etcd that is gone
			return 0, fmt.Errorf("the store is closed: %w: %w: %w", controlplane.ErrNotLeader, errUnknownOutcome, err)
		}
	}
}

func (s *Store) attempt(ctx context.Context, ops []clientv3.Op) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.TxnTimeout)
	defer cancel()
	resp, err := s.cfg.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(s.keys.fence), "=", s.lead.revision)).
		Then(ops...).
		Else(clientv3.OpGet(s.keys.fence)).
		Commit()
	if err != nil {
		return 0, err
	}
	if resp.Succeeded {
		return resp.Header.Revision, nil
	}
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) == 1 {
		var f fence
		if err := json.Unmarshal(kvs[0].Value, &f); err == nil && f.Epoch == s.lead.holder.Epoch {
			return kvs[0].ModRevision, nil // an earlier attempt, whose answer was lost
		}
	}
	return 0, fmt.Errorf("another control plane has taken over: %w", controlplane.ErrNotLeader)
}

// final tells refusals, after which nothing was applied, from errors that leave that open.
func final(err error) bool {
	var e rpctypes.EtcdError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() {
	case codes.InvalidArgument, codes.ResourceExhausted, codes.FailedPrecondition, codes.NotFound,
		codes.PermissionDenied, codes.Unauthenticated, codes.OutOfRange, codes.Unimplemented:
		return true
	}
	return false
}
