package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
)

// takeOver records what a ledger of an earlier version holds: one file, one table, beside the folder. When all of
// it is durable here the file gets another name; until then it is begun anew at every start, which counts nothing
// twice.
func (s *sqlite) takeOver(ctx context.Context, old string) error {
	if info, err := os.Stat(old); errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	} else if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: old}).EscapedPath()+"?_pragma=busy_timeout(10000)")
	if err != nil {
		return err
	}
	defer db.Close()
	if err := s.takeOverFrom(ctx, db); err != nil {
		return fmt.Errorf("taking over %s: %w", old, err)
	}
	if err := db.Close(); err != nil { // which empties its write-ahead log
		return err
	}
	return os.Rename(old, old+".taken-over")
}

// takeOverChunk is how many segments are taken over in a transaction.
const takeOverChunk = 4096

func (s *sqlite) takeOverFrom(ctx context.Context, db *sql.DB) error {
	bursts := "burst_ms, burst_cpu_milli_ms, burst_memory_mib_ms"
	var n int
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM pragma_table_info('segments') WHERE name = 'burst_ms'").Scan(&n); err != nil {
		return err
	}
	if n == 0 { // from before bursts were metered
		bursts = "0, 0, 0"
	}
	rows, err := db.QueryContext(ctx, "SELECT pod_uid, generation, sequence, namespace, pod, node, class, qos, cpu_milli, memory_bytes, start_ms, end_ms, labels, "+
		bursts+" FROM segments ORDER BY pod_uid, generation, sequence")
	if err != nil {
		return err
	}
	defer rows.Close()
	var chunk []*row
	flush := func() error {
		if err := s.record(ctx, chunk, nil); err != nil {
			return err
		}
		for _, r := range chunk {
			if r.verdict != recorded && r.verdict != repeated {
				return fmt.Errorf("segment %s: it is here with other contents", r.segment.ID)
			}
		}
		chunk = nil
		return nil
	}
	for rows.Next() {
		var seg usagev1.Segment
		var start, end int64
		var labels string
		if err := rows.Scan(&seg.PodUID, &seg.Generation, &seg.Sequence, &seg.Namespace, &seg.Pod, &seg.Node, &seg.ComputeClass, &seg.QoS,
			&seg.CPUMilli, &seg.MemoryBytes, &start, &end, &labels, &seg.Burst.Millis, &seg.Burst.CPUMillis, &seg.Burst.MemoryMillis); err != nil {
			return err
		}
		seg.Start, seg.End = time.UnixMilli(start).UTC(), time.UnixMilli(end).UTC()
		if err := json.Unmarshal([]byte(labels), &seg.Labels); err != nil {
			return fmt.Errorf("segment %s: labels: %w", seg.ID, err)
		}
		r, err := newRow(&seg)
		if err != nil {
			return err
		}
		if chunk = append(chunk, r); len(chunk) == takeOverChunk {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return flush()
}
