package nodelet

import "time"

const (
	backoffFirst = 10 * time.Second
	backoffMax   = 300 * time.Second
)

// backoff is a kubelet's: the first retry is free, each further one waits twice as long as the last, and
// ten quiet minutes forget everything.
type backoff struct {
	Delay time.Duration
	At    time.Time // when Delay was set
}

func (b *backoff) expired(now time.Time) bool {
	return b.Delay == 0 || now.Sub(b.At) > 2*backoffMax
}

// until answers the earliest time of a retry of what went wrong at since.
func (b *backoff) until(now, since time.Time) time.Time {
	if b.expired(now) {
		return time.Time{}
	}
	return since.Add(b.Delay)
}

// bump lengthens the delay that the next failure will have to wait.
func (b *backoff) bump(now time.Time) {
	if b.expired(now) {
		b.Delay = backoffFirst
	} else {
		b.Delay = min(2*b.Delay, backoffMax)
	}
	b.At = now
}
