package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

// podEvent is an event of a watch, as the scenarios look at it.
type podEvent struct {
	kind watch.EventType
	seenPod
	at time.Time
}

// watchPods tells the events of the default namespace's pods after a version, one after the other, until
// each answers false or the context ends. It answers how many bytes came.
func (c *caller) watchPods(ctx context.Context, version string, each func(podEvent) bool) (bytes int64, err error) {
	res, err := c.open(ctx, http.MethodGet, c.pods+"?watch=true&resourceVersion="+version, nil)
	if err != nil {
		return 0, fmt.Errorf("watch: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("watch: %s", res.Status)
	}
	count := &counting{r: res.Body}
	frames := &frameReader{r: bufio.NewReaderSize(count, 64<<10)}
	for {
		kind, object, err := frames.next()
		if ctx.Err() != nil {
			return count.n, nil
		}
		if err != nil {
			return count.n, fmt.Errorf("watch: %w", err)
		}
		ev := podEvent{kind: watch.EventType(kind), at: time.Now()}
		if ev.kind == watch.Error {
			return count.n, fmt.Errorf("watch: %q", object)
		}
		if ev.seenPod, err = readPod(object); err != nil {
			return count.n, err
		}
		if !each(ev) {
			return count.n, nil
		}
	}
}

// counting counts what is read.
type counting struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
