package main

import (
	"context"
	"time"
)

// growth is the control plane's memory and etcd's size over time.
type growth struct {
	cancel   context.CancelFunc
	done     chan error
	rss, etc [][2]float64 // seconds, MiB
}

const growthEvery = time.Second

// startGrowth begins to look. The caller stops it.
func startGrowth(ctx context.Context, t *trial) *growth {
	g := &growth{done: make(chan error, 1)}
	ctx, g.cancel = context.WithCancel(ctx)
	go func() { g.done <- g.run(ctx, t) }()
	return g
}

func (g *growth) run(ctx context.Context, t *trial) error {
	began := time.Now()
	for pause(ctx, growthEvery) == nil {
		at := time.Since(began).Seconds()
		rss, err := presentRSS(t.in.PID())
		if err != nil {
			return err
		}
		m, err := scrape(ctx, t.client)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		g.rss = append(g.rss, [2]float64{rounded(at), rounded(float64(rss) / (1 << 20))})
		g.etc = append(g.etc, [2]float64{rounded(at), rounded(m[metricDBSize] / (1 << 20))})
	}
	return nil
}

// stop is called once.
func (g *growth) stop() error {
	g.cancel()
	return <-g.done
}

func (g *growth) curves() []curve {
	return []curve{
		{Plot: "growth", Name: "control plane, RSS in MiB", Points: thinned(g.rss, 120)},
		{Plot: "growth", Name: "etcd's database, MiB", Points: thinned(g.etc, 120)},
	}
}

// thinned leaves at most n points, evenly chosen, the last among them.
func thinned(points [][2]float64, n int) [][2]float64 {
	if len(points) <= n {
		return points
	}
	out := make([][2]float64, n)
	for i := range out {
		out[i] = points[(i+1)*len(points)/n-1]
	}
	return out
}

// most answers the largest database in MiB.
func (g *growth) most() float64 {
	var most float64
	for _, p := range g.etc {
		most = max(most, p[1])
	}
	return most
}

// slope answers by how much RSS grew a minute in the second half, by least squares: the first half fills
// what is kept.
func (g *growth) slope() float64 { return slope(g.rss[len(g.rss)/2:]) * 60 }

func slope(points [][2]float64) float64 {
	var n, x, y, xx, xy float64
	for _, p := range points {
		n, x, y, xx, xy = n+1, x+p[0], y+p[1], xx+p[0]*p[0], xy+p[0]*p[1]
	}
	if d := n*xx - x*x; d != 0 {
		return (n*xy - x*y) / d
	}
	return 0
}
