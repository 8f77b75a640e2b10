package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/billing/ledger"
)

// billing's endpoints, of all projects.
const billingPath = "/apis/" + v1alpha1.Group + "/" + v1alpha1.Version + "/billing/"

func billCommand(s *setting) *cobra.Command {
	segments, focus := 1_000_000, true
	cmd := &cobra.Command{
		Use:   "bill",
		Short: "What a day of segments takes in a ledger, and what its bills take from it",
		Long: `A day's segments are recorded in a ledger of SQLite, 1,000 at a time. A control plane of its own process is asked
for the day: a report by project, the same with a savings plan laid onto the use, a FOCUS export, and a verification.
Times are until the answer's last byte.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.bill(cmd.Context(), segments, focus) },
	}
	cmd.Flags().IntVar(&segments, "segments", segments, "how many; 14400000 is a day of 10,000 pods a minute")
	cmd.Flags().BoolVar(&focus, "focus", focus, "also the FOCUS export, which takes the longest")
	return cmd
}

func (s *setting) bill(ctx context.Context, segments int, focus bool) error {
	if segments < 1 {
		return fmt.Errorf("--segments %d: at least 1", segments)
	}
	rates := &rates{}
	for range s.rounds {
		if err := s.billRound(ctx, segments, focus, rates); err != nil {
			return err
		}
	}
	return s.publish("bill", segments, map[string]string{"ledger": "SQLite, synchronous FULL", "projects": "1,000"}, rates)
}

func (s *setting) billRound(ctx context.Context, segments int, focus bool, rates *rates) (err error) {
	dir, err := os.MkdirTemp("", "swell-perf-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	where := filepath.Join(dir, "ledger")
	// Tomorrow: that is when a plan that is bought now begins.
	day := time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	took, err := record(ctx, where, segments, day)
	if err != nil {
		return err
	}
	rates.add("segments recorded a second", float64(segments)/took.Seconds())
	size, err := folderSize(where)
	if err != nil {
		return err
	}
	rates.add("the ledger, bytes a segment", float64(size)/float64(segments))

	t, err := s.startTrial(ctx, "--ledger", where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close(ctx)) }()
	pid := t.in.PID()
	idle, err := presentRSS(pid)
	if err != nil {
		return err
	}
	ask := func(figure, endpoint string, more ...string) error {
		request := t.client.CoreV1().RESTClient().Get().AbsPath(billingPath+endpoint).
			Param("from", day.Format(time.RFC3339)).Param("to", day.Add(24*time.Hour).Format(time.RFC3339))
		for i := 0; i < len(more); i += 2 {
			request.Param(more[i], more[i+1])
		}
		began := time.Now()
		body, err := request.Stream(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", endpoint, err)
		}
		_, err = io.Copy(io.Discard, body)
		if err = errors.Join(err, body.Close()); err != nil {
			return fmt.Errorf("%s: %w", endpoint, err)
		}
		rates.add(figure+", s", time.Since(began).Seconds())
		return nil
	}
	if err := ask("a report by project", "report", "format", "csv", "by", "project"); err != nil {
		return err
	}
	if err := buyPlan(ctx, t, day); err != nil {
		return err
	}
	for _, q := range []struct {
		figure, endpoint string
		more             []string
	}{
		{"the same, with a savings plan", "report", []string{"format", "csv", "by", "project"}},
		{"a FOCUS export, CSV", "focus", []string{"format", "csv", "version", "1.4"}},
		{"a verification", "verify", nil},
	} {
		if q.endpoint == "focus" && !focus {
			continue
		}
		if err := ask(q.figure, q.endpoint, q.more...); err != nil {
			return err
		}
	}
	peak, err := peakRSS(pid)
	if err != nil {
		return err
	}
	rates.add("control plane's peak memory beyond idle, MiB (RSS)", float64(peak-idle)/(1<<20))
	return nil
}

// record makes a ledger of a day, and answers how long recording took.
func record(ctx context.Context, where string, segments int, day time.Time) (took time.Duration, err error) {
	l, err := ledger.Open(ctx, where)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	maker := newSegments(segments, day)
	batch := make([]usagev1.Segment, 1000)
	for made := 0; made < segments; {
		n := min(len(batch), segments-made)
		for i := range n {
			maker.next(&batch[i])
		}
		began := time.Now()
		if err := l.Record(ctx, batch[:n]); err != nil {
			return 0, err
		}
		took += time.Since(began)
		made += n
	}
	return took, nil
}

func folderSize(dir string) (size int64, err error) {
	err = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return err
	})
	return size, err
}

// buyPlan buys a plan that a part of the day's use draws on.
func buyPlan(ctx context.Context, t *trial, day time.Time) error {
	plan := map[string]any{
		"apiVersion": v1alpha1.Group + "/" + v1alpha1.Version, "kind": "SavingsPlan", "metadata": map[string]any{"name": "perf"},
		"spec": map[string]any{"interval": "Day", "timeZone": "UTC", "termDays": 30, "commitment": "1000", "startDate": day.Format(time.DateOnly),
			"discounts": []map[string]any{{"discount": "55%"}}},
	}
	body, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	if err := t.client.CoreV1().RESTClient().Post().AbsPath("/apis/"+v1alpha1.Group+"/"+v1alpha1.Version+"/savingsplans").
		SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error(); err != nil {
		return fmt.Errorf("savings plan: %w", err)
	}
	return nil
}
