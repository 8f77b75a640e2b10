package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"swell.dev/swell/controlplane"
)

// holder is the value of the leader key.
type holder struct {
	Identity string `json:"identity"`
	Epoch    string `json:"epoch"` // of one process's leadership
}

// fence is the value of the fence key.
type fence struct {
	Epoch  string `json:"epoch"`
	Events uint64 `json:"events"` // written under this prefix, ever
	Last   int    `json:"last"`   // of them, those of this transaction
}

// leadership is what one process holds while it leads. Once the committer runs, only that changes it.
type leadership struct {
	holder   holder
	lease    clientv3.LeaseID
	ttl      int64 // of the lease, seconds
	revision int64 // mod revision of the fence
	events   uint64
}

// campaign waits until nobody else leads and takes the lead.
func (s *Store) campaign(ctx context.Context) (*leadership, error) {
	for {
		seen, err := s.standing(ctx)
		if err != nil {
			return nil, err
		}
		if seen.leader != nil && seen.holder.Identity != s.cfg.Identity {
			s.cfg.Log.Info("another control plane leads", "leader", seen.holder.Identity)
			if err := s.awaitVacancy(ctx, seen.revision); err != nil {
				return nil, err
			}
			continue
		}
		lead, err := s.take(ctx, seen)
		if err != nil || lead != nil {
			return lead, err
		}
	}
}

// standing is what etcd says of the leadership, at one revision.
type standing struct {
	leader   *mvccpb.KeyValue // nil: nobody leads
	holder   holder
	fenceMod int64
	fence    fence
	revision int64
}

func (s *Store) standing(ctx context.Context) (standing, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.TxnTimeout)
	defer cancel()
	resp, err := s.cfg.Client.Txn(ctx).Then(clientv3.OpGet(s.keys.leader), clientv3.OpGet(s.keys.fence)).Commit()
	if err != nil {
		return standing{}, err
	}
	out := standing{revision: resp.Header.Revision}
	if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		out.leader = kvs[0]
		if err := json.Unmarshal(kvs[0].Value, &out.holder); err != nil {
			return out, fmt.Errorf("etcd key %q: %w", s.keys.leader, err)
		}
	}
	if kvs := resp.Responses[1].GetResponseRange().Kvs; len(kvs) > 0 {
		out.fenceMod = kvs[0].ModRevision
		if err := json.Unmarshal(kvs[0].Value, &out.fence); err != nil {
			return out, fmt.Errorf("etcd key %q: %w", s.keys.fence, err)
		}
	}
	return out, nil
}

// take replaces what was seen: nobody, or this control plane's own former self. It answers nil if
// somebody was faster. The fence makes it safe that the former self may still run: its next transaction
// fails.
func (s *Store) take(ctx context.Context, seen standing) (*leadership, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.TxnTimeout)
	defer cancel()
	lease, err := s.cfg.Client.Grant(ctx, int64(s.cfg.LeaseTTL/time.Second))
	if err != nil {
		return nil, err
	}
	lead := &leadership{holder: holder{Identity: s.cfg.Identity, Epoch: uuid.NewString()}, lease: lease.ID, ttl: lease.TTL, events: seen.fence.Events}
	value, err := json.Marshal(lead.holder)
	if err != nil {
		return nil, err
	}
	var leaderMod int64
	if seen.leader != nil {
		leaderMod = seen.leader.ModRevision
	}
	resp, err := s.cfg.Client.Txn(ctx).If(
		clientv3.Compare(clientv3.ModRevision(s.keys.leader), "=", leaderMod),
		clientv3.Compare(clientv3.ModRevision(s.keys.fence), "=", seen.fenceMod),
	).Then(
		clientv3.OpPut(s.keys.leader, string(value), clientv3.WithLease(lease.ID)),
		clientv3.OpPut(s.keys.fence, lead.fenceValue(0)),
	).Commit()
	if err != nil || !resp.Succeeded {
		s.revoke(lease.ID)
		return nil, err
	}
	lead.revision = resp.Header.Revision
	if seen.leader != nil && seen.leader.Lease != 0 {
		s.revoke(clientv3.LeaseID(seen.leader.Lease)) // the key is bound to the new one already
	}
	return lead, nil
}

// fenceValue is what the next transaction writes, with that many events in it.
func (l *leadership) fenceValue(events int) string {
	b, err := json.Marshal(fence{Epoch: l.holder.Epoch, Events: l.events + uint64(events), Last: events})
	if err != nil {
		panic(err) // a string and a number
	}
	return string(b)
}

// awaitVacancy returns when the leader key was deleted after the revision.
func (s *Store) awaitVacancy(ctx context.Context, revision int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range s.cfg.Client.Watch(ctx, s.keys.leader, clientv3.WithRev(revision+1), clientv3.WithFilterPut()) {
		if resp.CompactRevision != 0 || len(resp.Events) > 0 {
			return nil // gone, or so long ago that it has to be looked up
		}
		if err := resp.Err(); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errors.New("the watch of the present leader ended")
}

// keepLeading renews the lease until leadership is lost or ctx ends.
func (s *Store) keepLeading(ctx context.Context) error {
	alive, err := s.cfg.Client.KeepAlive(ctx, s.lead.lease)
	if err != nil {
		return err
	}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		for range alive { //nolint:revive // it is closed when the lease has run out, was revoked or ctx ended
		}
		if ctx.Err() == nil {
			s.end(fmt.Errorf("the lease was lost: %w", controlplane.ErrNotLeader))
		}
	}()
	return nil
}

// resign gives the lead back at once; without it the lease runs out.
func (s *Store) resign() { s.revoke(s.lead.lease) }

// revokeTimeout is short: what can't be revoked runs out.
const revokeTimeout = time.Second

func (s *Store) revoke(id clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.Background(), revokeTimeout)
	defer cancel()
	if _, err := s.cfg.Client.Revoke(ctx, id); err != nil {
		s.cfg.Log.Debug("lease not revoked, it will run out", "error", err)
	}
}
