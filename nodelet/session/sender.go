package session

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/nodelet"
)

var connectBackoff = backoff.Config{BaseDelay: firstRetry, Multiplier: 1.6, Jitter: 0.2, MaxDelay: lastRetry}

// batch bounds what one message carries.
const batch = 1000

// openEvery is how often open segments are told at most. They only inform: what is billed is closed ones.
const openEvery = 2 * time.Second

// sender is the only writer of a stream.
type sender struct {
	cfg    *Config
	stream grpc.BidiStreamingClient[nodev1.FromNode, nodev1.ToNode]
	sent   map[usagev1.ID]bool // closed segments sent on this stream and not acknowledged
	behind bool                // more closed segments wait than may be in flight
	opened time.Time           // when the open segments were last told
	ended  []*nodev1.PodReport // of pods that ended while there was no session
	pool   poolTeller
}

func (s *sender) run(ctx context.Context, acked <-chan []usagev1.ID, received <-chan error) error {
	if err := s.segments(true); err != nil {
		return err
	}
	beat := time.NewTicker(s.cfg.Heartbeat)
	defer beat.Stop()
	later := time.NewTimer(openEvery)
	later.Stop()
	defer later.Stop()
	if err := s.heartbeat(ctx); err != nil {
		return err
	}
	history := time.NewTimer(s.untilHistory())
	defer history.Stop()
	if s.cfg.History <= 0 {
		history.Stop()
	} else if err := s.histories(s.cfg.Pods.UnackedHistory()); err != nil {
		return err
	}
	for {
		changed := s.cfg.Pods.Changed()
		if s.behind {
			changed = nil // that a pod ended is told after its segments
		} else if err := s.reports(s.ended); err != nil {
			return err
		} else {
			s.ended = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-received:
			return err
		case ids := <-acked:
			for _, id := range ids {
				delete(s.sent, id)
			}
			if err := s.segments(false); err != nil {
				return err
			}
		case <-s.cfg.Journal.Changed():
			// Those that closed at once. The open ones are all told each time, so not at each change.
			wait := openEvery - time.Since(s.opened)
			if wait > 0 {
				later.Reset(wait)
			}
			if err := s.segments(wait <= 0); err != nil {
				return err
			}
		case <-later.C:
			if err := s.segments(true); err != nil {
				return err
			}
		case <-changed:
			if err := s.changes(); err != nil {
				return err
			}
		case <-s.pool.changed():
			if err := s.tellPool(); err != nil {
				return err
			}
		case <-s.pool.wait():
			if err := s.tellPool(); err != nil {
				return err
			}
		case <-beat.C:
			if err := s.heartbeat(ctx); err != nil {
				return err
			}
		case <-history.C:
			if err := s.histories(s.cfg.Pods.TakeHistory(nil, batch)); err != nil {
				return err
			}
			history.Reset(s.untilHistory())
		}
	}
}

func (s *sender) tellPool() error {
	report := s.pool.due(time.Now())
	if report == nil {
		return nil
	}
	if err := s.stream.Send(&nodev1.FromNode{Message: &nodev1.FromNode_Pool{Pool: report}}); err != nil {
		return fmt.Errorf("pool: %w", err)
	}
	return nil
}

// untilHistory spreads the histories of many nodes evenly.
func (s *sender) untilHistory() time.Duration {
	if s.cfg.History <= 0 {
		return 0
	}
	return s.cfg.History/2 + rand.N(s.cfg.History)
}

func (s *sender) histories(in []*nodev1.UsageHistory) error {
	for _, h := range in {
		if err := s.stream.Send(&nodev1.FromNode{Message: &nodev1.FromNode_History{History: h}}); err != nil {
			return fmt.Errorf("history of usage: %w", err)
		}
	}
	return nil
}

// historyOf tells what pods have used that have ended: nobody knows them any more once that was told.
func (s *sender) historyOf(taken []nodelet.Report) error {
	if s.cfg.History <= 0 {
		return nil
	}
	var uids []string
	for i := range taken {
		if hasEnded(taken[i]) {
			uids = append(uids, taken[i].UID)
		}
	}
	if len(uids) == 0 {
		return nil
	}
	return s.histories(s.cfg.Pods.TakeHistory(uids, batch))
}

// changes tells what changed since it was told last. What can't be told comes with the next session, or
// when fewer segments are in flight.
func (s *sender) changes() error {
	if slots := slotReports(s.cfg.Pods.TakeSlots(batch)); len(slots) > 0 {
		if err := s.stream.Send(&nodev1.FromNode{Message: &nodev1.FromNode_Slots{Slots: &nodev1.SlotReports{Slots: slots}}}); err != nil {
			return fmt.Errorf("slots: %w", err)
		}
	}
	taken := s.cfg.Pods.Take(batch)
	msgs, err := reports(taken)
	if err == nil && slices.ContainsFunc(taken, hasEnded) {
		err = s.segments(false)
		if err == nil {
			err = s.historyOf(taken)
		}
	}
	if err == nil && !s.behind {
		if err = s.reports(msgs); err == nil {
			return nil
		}
	}
	s.cfg.Pods.Return(taken)
	return err
}

// hasEnded reports whether a pod will have no more segments, or none but what its journal still lacks.
func hasEnded(r nodelet.Report) bool {
	return r.Finished || r.Status.Phase == corev1.PodSucceeded || r.Status.Phase == corev1.PodFailed
}

func (s *sender) reports(in []*nodev1.PodReport) error {
	for len(in) > 0 {
		n := min(len(in), batch)
		if err := s.stream.Send(&nodev1.FromNode{Message: &nodev1.FromNode_Reports{Reports: &nodev1.PodReports{Pods: in[:n]}}}); err != nil {
			return fmt.Errorf("reports: %w", err)
		}
		in = in[n:]
	}
	return nil
}

// maxUnacked bounds the closed segments in flight.
const maxUnacked = 10 * batch

// segments sends closed segments that this stream hasn't carried yet, as many as may be in flight, and
// the open ones if asked.
func (s *sender) segments(open bool) error {
	// Pending is oldest first, so what was sent and waits for its acknowledgement stands in front.
	pending := s.cfg.Journal.Pending(maxUnacked)
	s.behind = len(pending) == maxUnacked // there may be more
	var out []*nodev1.Segment
	for i := range pending {
		if !s.sent[pending[i].ID] {
			s.sent[pending[i].ID] = true
			out = append(out, segment(pending[i]))
		}
	}
	for len(out) > 0 {
		n := min(len(out), batch)
		if err := s.sendSegments(out[:n]); err != nil {
			return err
		}
		out = out[n:]
	}
	if !open {
		return nil
	}
	s.opened = time.Now()
	current := s.cfg.Journal.Open()
	msgs := make([]*nodev1.Segment, len(current))
	for i := range current {
		msgs[i] = segment(current[i])
	}
	return s.sendSegments(msgs)
}

func (s *sender) sendSegments(in []*nodev1.Segment) error {
	if err := s.stream.Send(&nodev1.FromNode{Message: &nodev1.FromNode_Segments{Segments: &nodev1.Segments{Segments: in}}}); err != nil {
		return fmt.Errorf("segments: %w", err)
	}
	return nil
}

func (s *sender) heartbeat(ctx context.Context) error {
	hb := &nodev1.Heartbeat{Usage: s.cfg.Pods.Usage(ctx)}
	if s.cfg.Conditions != nil {
		for _, c := range s.cfg.Conditions() {
			hb.Conditions = append(hb.Conditions, &nodev1.NodeCondition{
				Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message,
			})
		}
	}
	if err := s.stream.Send(&nodev1.FromNode{Message: &nodev1.FromNode_Heartbeat{Heartbeat: hb}}); err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	return nil
}
