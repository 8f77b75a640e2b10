package store

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"swell.dev/swell/controlplane"
)

// Config says what a store keeps and where. Zero values of the limits are filled.
type Config struct {
	Client *clientv3.Client
	// Identity names this control plane, the same after a restart: it takes over from its own former
	// self at once, and from others when their lease has run out.
	Identity string
	Prefix   string // of all keys; default /swell

	// New makes an empty object of a resource; nil for one that isn't known.
	New func(resource string) controlplane.Object
	// Durable answers what of an object is written: a copy without observed status, or the object itself
	// where there is nothing to leave out. Nil: everything is written.
	Durable func(controlplane.Object) controlplane.Object
	// Restored is asked for each object that was read at the start. Where observed state may have been
	// lost it answers another object, which is then announced as modified, so that clients that resume
	// their watches learn of the loss. Nil: nothing was observed.
	Restored func(controlplane.Object) controlplane.Object
	// Loaded is told each object that was read at the start, as it then is, on several goroutines at once and
	// in no order. Nil: nobody wants to know.
	Loaded func(controlplane.Object)
	// Pack names the resources whose objects are packed once they have been left alone for a while, and
	// answers what of an object is alike for those that look alike. They have Kubernetes' protobuf.
	Pack map[string]func(controlplane.Object) string
	// Volatile names the resources that are never written.
	Volatile map[string]bool
	// Writable is asked before each write; its error, of the class ErrNoStorage, refuses the write. Nil: always.
	Writable func() error

	LeaseTTL      time.Duration // whole seconds; default 10 s
	TxnTimeout    time.Duration // of one attempt; default 10 s
	MaxBatchOps   int           // objects in a transaction; default 100, below etcd's default of 128
	MaxBatchBytes int           // default 1 MiB, below etcd's default of 1.5 MiB
	MaxQueue      int           // mutations that wait or are under way; default 10,000
	MaxQueueBytes int           // of their writes; default 256 MiB, at least MaxBatchBytes
	QueueWait     time.Duration // how long a mutation waits for a place or for room in a full queue; default 1 s
	Window        int           // events kept for watches, for each resource; default 32,768
	WindowBytes   int           // of the encoded objects in a window; default 64 MiB
	PackAfter     time.Duration // how long an object is left alone before it is packed, up to twice that; default 5 s
	History       int           // events read back at the start; default 10,000
	VolatileLimit int           // objects of a volatile resource; the oldest goes first; default 10,000

	Log *slog.Logger
}

func (c *Config) validate() error {
	var errs []error
	if c.Client == nil {
		errs = append(errs, errors.New("Client is required"))
	}
	if c.New == nil {
		errs = append(errs, errors.New("New is required"))
	}
	if c.Identity == "" {
		errs = append(errs, errors.New("Identity is required"))
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if c.Prefix == "" {
		c.Prefix = "/swell"
	}
	c.Prefix = strings.TrimSuffix(c.Prefix, "/")
	if c.Durable == nil {
		c.Durable = func(o controlplane.Object) controlplane.Object { return o }
	}
	if c.Restored == nil {
		c.Restored = func(o controlplane.Object) controlplane.Object { return o }
	}
	if c.Loaded == nil {
		c.Loaded = func(controlplane.Object) {}
	}
	if c.Writable == nil {
		c.Writable = func() error { return nil }
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	fill(&c.LeaseTTL, 10*time.Second)
	fill(&c.TxnTimeout, 10*time.Second)
	fill(&c.MaxBatchOps, 100)
	fill(&c.MaxBatchBytes, 1<<20)
	fill(&c.MaxQueue, 10_000)
	fill(&c.MaxQueueBytes, 256<<20)
	c.MaxQueueBytes = max(c.MaxQueueBytes, c.MaxBatchBytes)
	fill(&c.QueueWait, time.Second)
	fill(&c.Window, 32_768)
	fill(&c.WindowBytes, 64<<20)
	fill(&c.PackAfter, 5*time.Second)
	fill(&c.History, 10_000)
	fill(&c.VolatileLimit, 10_000)
	return nil
}

func fill[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}
