package reflex

import (
	"errors"

	"swell.dev/swell/cgroups/throttle"
)

// Detection is how this host tells that the kernel has stopped a pod.
type Detection struct {
	Rung    throttle.Rung // empty: it can't, so no pod bursts
	Refused []error       // why not in a better way, or in none
}

// Detect tries what the host has, and leaves nothing loaded.
func (r *Reflex) Detect() {
	w, err := throttle.Open(throttle.Options{Rungs: r.cfg.Rungs})
	d := detected(w, err)
	if w != nil {
		if err := w.Close(); err != nil {
			r.cfg.Log.Warn("bursts: not all was unloaded", "error", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watcher == nil { // or else what is at work knows better
		r.detection = d
	}
}

func detected(w *throttle.Watcher, err error) Detection {
	if err != nil {
		return Detection{Refused: []error{err}}
	}
	return Detection{Rung: w.Rung(), Refused: w.Refused()}
}

// Detection answers what was found last: by Detect, or when a pod needed it.
func (r *Reflex) Detection() Detection {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.detection
}

// undetected notes that what was at work has ended.
func (r *Reflex) undetected(w *throttle.Watcher, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watcher == w {
		r.detection = Detection{Refused: []error{errors.Join(err, errors.New("it starts again once no pod may burst any more"))}}
	}
}
