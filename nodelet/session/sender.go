package session

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	nodev1 "swell.dev/swell/api/node/v1"
	usagev1 "swell.dev/swell/api/usage/v1"
)

var connectBackoff = backoff.Config{BaseDelay: firstRetry, Multiplier: 1.6, Jitter: 0.2, MaxDelay: lastRetry}

// batch bounds what one message carries.
const batch = 1000

// sender is the only writer of a stream.
type sender struct {
	cfg    *Config
	stream grpc.BidiStreamingClient[nodev1.FromNode, nodev1.ToNode]
	sent   map[usagev1.ID]bool // closed segments sent on this stream and not acknowledged
}

func (s *sender) run(ctx context.Context, finished []*nodev1.PodReport, acked <-chan []usagev1.ID, received <-chan error) error {
	if err := s.segments(true); err != nil {
		return err
	}
	if err := s.reports(finished); err != nil {
		return err
	}
	beat := time.NewTicker(s.cfg.Heartbeat)
	defer beat.Stop()
	if err := s.heartbeat(ctx); err != nil {
		return err
	}
	for {
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
			if err := s.segments(true); err != nil {
				return err
			}
		case <-s.cfg.Pods.Changed():
			if err := s.changes(); err != nil {
				return err
			}
		case <-beat.C:
			if err := s.heartbeat(ctx); err != nil {
				return err
			}
		}
	}
}

// changes tells what changed since it was told last. What can't be told comes with the next session.
func (s *sender) changes() error {
	taken := s.cfg.Pods.Take(batch)
	msgs, err := reports(taken)
	if err == nil && anyFinished(msgs) {
		err = s.segments(true)
	}
	if err == nil {
		err = s.reports(msgs)
	}
	if err != nil {
		s.cfg.Pods.Return(taken)
	}
	return err
}

func anyFinished(in []*nodev1.PodReport) bool {
	for _, r := range in {
		if r.Finished {
			return true
		}
	}
	return false
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

// segments sends every closed segment that this stream hasn't carried yet, and the open ones if asked.
func (s *sender) segments(open bool) error {
	// Pending is oldest first, so what was sent and waits for its acknowledgement stands in front.
	pending := s.cfg.Journal.Pending(len(s.sent) + maxUnacked)
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
	current := s.cfg.Journal.Open()
	msgs := make([]*nodev1.Segment, len(current))
	for i := range current {
		msgs[i] = segment(current[i])
	}
	return s.sendSegments(msgs)
}

// maxUnacked bounds the closed segments that one call adds to those in flight.
const maxUnacked = 10 * batch

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
