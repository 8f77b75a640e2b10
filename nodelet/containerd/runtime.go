package containerd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/nodelet"
)

const runcRuntime = "io.containerd.runc.v2"

var (
	_ nodelet.Runtime       = (*Runtime)(nil)
	_ nodelet.RecordUpdater = (*Runtime)(nil)
	_ nodelet.Images        = (*Images)(nil)
)

// Runtime runs containers. Close it when done; the containers run on.
type Runtime struct {
	cfg         Config
	client      *client.Client
	unified     bool // cgroup v2
	swapCounted bool // by the kernel, for each cgroup
	exits       chan nodelet.Exit
	ctx         context.Context //nolint:containedctx // ended by Close
	cancel      context.CancelFunc
	errands     context.Context //nolint:containedctx // of short work in the background: ended closeWithin after Close
	abandon     context.CancelFunc
	work        sync.WaitGroup
	pods        keyed // serialises making and removing containers of one pod: their shim comes and goes

	looking sync.Mutex // guards what follows
	looked  time.Time  // for shims that are stuck

	mu       sync.Mutex // guards what follows
	known    map[string]*known
	accounts map[string]accounts                     // by image ID
	configs  map[string]ocispec.ImageConfig          // by image ID
	records  map[string]*corev1.ResourceRequirements // by container: the size containerd is to be told of
}

// known is what the event loop must know of a container.
type known struct {
	podUID  string
	cgroup  string
	madeAt  time.Time     // when it was begun to be made; zero: before this process
	pid     int           // of its first process, once known
	held    string        // the label's, until it is released
	record  chan struct{} // closed when containerd's record of what was released is right; nil: it was never held
	begun   bool          // Start was called
	started bool          // Start has succeeded; its label may not be written yet
	exited  bool          // its end was told, or was there before this process
}

// New connects to containerd.
func New(ctx context.Context, cfg Config) (*Runtime, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := cfg.installHolder(); err != nil {
		return nil, err
	}
	unified, err := isUnified()
	if err != nil {
		return nil, err
	}
	c, err := dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	r := &Runtime{
		cfg:         cfg,
		client:      c,
		unified:     unified,
		swapCounted: unified || countsSwapV1(),
		exits:       make(chan nodelet.Exit, 256),
		known:       map[string]*known{},
		accounts:    map[string]accounts{},
		configs:     map[string]ocispec.ImageConfig{},
		records:     map[string]*corev1.ResourceRequirements{},
	}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.errands, r.abandon = context.WithCancel(context.WithoutCancel(ctx))
	r.work.Go(r.watchExits)
	return r, nil
}

func dial(ctx context.Context, cfg Config) (*client.Client, error) {
	// The client's library writes what it meets on its way to stderr; errors are ours to tell.
	if err := log.SetLevel("error"); err != nil {
		return nil, err
	}
	c, err := client.New(cfg.Address, client.WithDefaultNamespace(cfg.Namespace), client.WithDefaultRuntime(runcRuntime))
	if err != nil {
		return nil, fmt.Errorf("containerd %s: %w", cfg.Address, err)
	}
	if _, err := c.Version(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("containerd %s: %w", cfg.Address, err), c.Close())
	}
	return c, nil
}

// closeWithin is what Close leaves to records that are being written.
const closeWithin = 2 * time.Second

// Close ends what runs in the background and disconnects. Exits stays open and silent.
func (r *Runtime) Close() error {
	r.cancel()
	defer time.AfterFunc(closeWithin, r.abandon).Stop()
	r.work.Wait()
	r.abandon()
	return r.client.Close()
}

// Exits implements nodelet.Runtime. The channel holds 256; when it is full, further ends wait with
// containerd.
func (r *Runtime) Exits() <-chan nodelet.Exit { return r.exits }

// in puts containerd's namespace into a context.
func (r *Runtime) in(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, r.cfg.Namespace)
}

// background runs a short piece of work that Close waits for.
func (r *Runtime) background(limit time.Duration, work func(context.Context)) {
	if r.ctx.Err() != nil {
		return
	}
	r.work.Go(func() {
		ctx, cancel := context.WithTimeout(r.in(r.errands), limit)
		defer cancel()
		work(ctx)
	})
}

// classed gives an error of containerd's its class.
func classed(err error, class error) error {
	switch {
	case err == nil:
		return nil
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%w: %w", nodelet.ErrNotFound, err)
	case errdefs.IsAlreadyExists(err):
		return fmt.Errorf("%w: %w", nodelet.ErrAlreadyExists, err)
	case class == nil:
		return err
	default:
		return fmt.Errorf("%w: %w", class, err)
	}
}

// keyed is a set of locks, one per key that is in use.
type keyed struct {
	mu    sync.Mutex // guards locks
	locks map[string]*keyedLock
}

type keyedLock struct {
	sync.Mutex
	users int
}

// lock takes a key's lock and answers its release.
func (k *keyed) lock(key string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*keyedLock{}
	}
	l := k.locks[key]
	if l == nil {
		l = &keyedLock{}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, key)
		}
	}
}
