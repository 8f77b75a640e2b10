package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/billing"
	"swell.dev/swell/billing/rating"
)

// What `perf rate` measures, and the targets name.
const (
	rateOneCore = "segments a CPU-second, rating alone"
	rateDay     = "a day of 14.4 million segments, s"
	ratePeak    = "peak memory, MiB (RSS)"
	dayMillions = 14_400_000 // 10,000 pods a minute
)

func rateCommand(s *setting) *cobra.Command {
	segments := dayMillions
	cmd := &cobra.Command{
		Use:   "rate",
		Short: "A day's segments into sums by project, class and day, on one core",
		Long: `Each round is a process of its own that runs on one core (GOMAXPROCS=1). It makes a day's segments, some 8,192 at a
time, and rates them: 1,000 projects, classes and qualities of service, sizes off and on a grid, every tenth with a
burst, every fiftieth with GPUs, a price that changes at noon. "Rating alone" leaves out the making, and what else
ran on the machine: it is CPU time.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return rateRounds(cmd.Context(), s, segments) },
	}
	cmd.Flags().IntVar(&segments, "segments", segments, "how many")
	return cmd
}

func rateProcess() *cobra.Command {
	return &cobra.Command{Use: "rate-day SEGMENTS", Hidden: true, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		done, err := rateSegments(n)
		if err != nil {
			return err
		}
		return json.NewEncoder(cmd.OutOrStdout()).Encode(done)
	}}
}

// ratedDay is what a round's process answers.
type ratedDay struct {
	Rating, All time.Duration // CPU time, time
	Lines, Sums int
	Total       string
	PeakRSS     int64
}

func rateRounds(ctx context.Context, s *setting, segments int) error {
	if segments < 1 {
		return fmt.Errorf("--segments %d: at least 1", segments)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var r rates
	var total string
	for range s.rounds {
		cmd := exec.CommandContext(ctx, self, "rate-day", strconv.Itoa(segments))
		cmd.Env, cmd.Stderr = append(os.Environ(), "GOMAXPROCS=1"), os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("rate-day: %w", err)
		}
		var done ratedDay
		if err := json.Unmarshal(out, &done); err != nil {
			return fmt.Errorf("rate-day: %w", err)
		}
		if total != "" && total != done.Total {
			return fmt.Errorf("one round's bill is %s, another's %s", total, done.Total)
		}
		total = done.Total
		r.add(rateOneCore, float64(segments)/done.Rating.Seconds())
		if segments == dayMillions {
			r.add(rateDay, done.All.Seconds())
		}
		r.add("lines of each segment", float64(done.Lines)/float64(segments))
		r.add("sums by project, class and day", float64(done.Sums))
		r.add(ratePeak, float64(done.PeakRSS)/(1<<20))
	}
	return s.publish("rate", segments, map[string]string{"cores": "1 (GOMAXPROCS)", "total of each round": total + " CNY"}, &r)
}

// rateBooks are two versions: the second holds from noon on.
const rateBooks = `
version: %s
effective: %s
currency: CNY
bestEffort: 20%%
sizeGrid:
  - {vcpu: 0.25, gib: [0.5, 1]}
  - {vcpu: 0.5, gib: [1, 2]}
  - {vcpu: {from: 1, to: 64, step: 1}, gib: {from: 1, to: 256, step: 1}}
prices:
  general-purpose: {default: {vcpu: 0.06, gib: 0.03}}
  performance: {default: {vcpu: 0.078, gib: 0.039}}
gpus: {H100: {default: {gpu: 30, gib: 0.1}}}
storage: {gib: 0.0005, includedGiB: 30}
`

var rateBegin = time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)

// rateSum is what a project used of a class in a day.
type rateSum struct {
	list     billing.Money
	quantity [5]billing.Quantity
}

type rateKey struct {
	project, class string
	day            int64
}

func rateSegments(n int) (*ratedDay, error) {
	var versions []*billing.Book
	for version, from := range map[string]time.Time{"morning": rateBegin, "afternoon": rateBegin.Add(12 * time.Hour)} {
		b, err := billing.ParseBook(version, fmt.Appendf(nil, rateBooks, version, from.Format(time.RFC3339)))
		if err != nil {
			return nil, err
		}
		versions = append(versions, b)
	}
	books, err := billing.NewBooks(versions...)
	if err != nil {
		return nil, err
	}
	const day = 86_400_000
	midnight := rateBegin.UnixMilli() + day
	rater := &rating.Rater{Books: books, Cuts: []int64{midnight}}
	sums := map[rateKey]*rateSum{}
	done := &ratedDay{}
	var of rateKey
	var sum *rateSum
	emit := func(l *billing.Line) error {
		done.Lines++
		if k := (rateKey{l.Segment.Namespace, l.Segment.ComputeClass, l.From / day}); k != of {
			if of, sum = k, sums[k]; sum == nil {
				sum = &rateSum{}
				sums[k] = sum
			}
		}
		sum.list = sum.list.Plus(l.List())
		sum.quantity[l.Item.SKU.Resource] += l.Quantity
		return nil
	}
	began := time.Now()
	make := newSegments(n, rateBegin)
	batch := [8192]usagev1.Segment{}
	for made := 0; made < n; {
		k := min(len(batch), n-made)
		for i := range k {
			make.next(&batch[i])
		}
		made += k
		from := clock(unix.CLOCK_PROCESS_CPUTIME_ID)
		for i := range k {
			if err := rater.Rate(&batch[i], emit); err != nil {
				return nil, err
			}
		}
		done.Rating += clock(unix.CLOCK_PROCESS_CPUTIME_ID) - from
	}
	done.All = time.Since(began)
	done.Sums = len(sums)
	var total billing.Money
	for _, s := range sums {
		total = total.Plus(s.list)
	}
	done.Total = total.String()
	if done.PeakRSS, err = peakRSS(os.Getpid()); err != nil {
		return nil, err
	}
	return done, nil
}

// segmentMaker makes the segments of the day that begins at a time, evenly over it.
type segmentMaker struct {
	r        *rand.Rand
	projects []string
	step     time.Duration
	at       time.Time
	made     int
}

func newSegments(n int, begin time.Time) *segmentMaker {
	m := &segmentMaker{r: rand.New(rand.NewPCG(1, 2)), step: 24 * time.Hour / time.Duration(n), at: begin}
	for i := range 1000 {
		m.projects = append(m.projects, fmt.Sprintf("project-%03d", i))
	}
	return m
}

func (m *segmentMaker) next(s *usagev1.Segment) {
	m.made++
	m.at = m.at.Add(m.step)
	start := m.at.Truncate(time.Millisecond)
	*s = usagev1.Segment{
		ID: usagev1.ID{PodUID: strconv.Itoa(m.made), Generation: 1, Sequence: 1}, Namespace: m.projects[m.r.IntN(len(m.projects))],
		Pod: "worker", Node: "node-1", ComputeClass: "general-purpose", QoS: "default",
		CPUMilli: 50 + m.r.Int64N(8000), MemoryBytes: (64 + m.r.Int64N(16<<10)) << 20,
		Start: start, End: start.Add(time.Duration(1_000+m.r.IntN(900_000)) * time.Millisecond),
	}
	switch m.r.IntN(10) {
	case 0, 1:
		s.ComputeClass = "performance"
	case 2, 3, 4:
		s.QoS = "best-effort"
	}
	if m.made%10 == 0 {
		s.Burst = usagev1.Burst{Millis: 1000, CPUMillis: m.r.Int64N(4_000_000), MemoryMillis: m.r.Int64N(1 << 20)}
	}
	if m.made%50 == 0 {
		s.ComputeClass, s.GPU = "gpu", usagev1.GPU{Model: "H100", Milli: 125 * (1 + m.r.Int64N(8)), MemoryMiB: 10 << 10}
		s.StorageBytes = 100 << 30
	}
}
