package containerd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"swell.dev/swell/nodelet"
)

// Create implements nodelet.Runtime. What the runtime refuses when it sets the container's process up
// (a command that isn't in the image) is ErrStart with its message; all else is ErrCreate. A container
// that could not be created leaves nothing behind.
func (r *Runtime) Create(ctx context.Context, c nodelet.Container) error {
	c.Held = ""
	return r.make(ctx, c)
}

func (r *Runtime) make(ctx context.Context, c nodelet.Container) error {
	if err := checkNonRoot(c); err != nil {
		return fmt.Errorf("container %s: %w: %w", c.ID, nodelet.ErrCreate, err)
	}
	ctx = r.in(ctx)
	defer r.pods.lock(c.PodUID)()
	r.mu.Lock()
	if r.known[c.ID] == nil {
		r.known[c.ID] = knownOf(c)
	}
	r.mu.Unlock()
	made, pid, err := r.create(ctx, c)
	r.mu.Lock()
	if err != nil && made {
		delete(r.known, c.ID)
	} else if made {
		r.known[c.ID].pid = pid
	}
	r.mu.Unlock()
	if err != nil && made {
		err = errors.Join(err, r.remove(context.WithoutCancel(ctx), c.ID))
	}
	if err != nil {
		return fmt.Errorf("container %s: %w", c.ID, r.withDisk(err))
	}
	return nil
}

func knownOf(c nodelet.Container) *known {
	return &known{podUID: c.PodUID, cgroup: c.CgroupPath, madeAt: time.Now(), held: c.Held}
}

// create answers whether it made the container, also where it then failed.
func (r *Runtime) create(ctx context.Context, c nodelet.Container) (made bool, pid int, err error) {
	image, err := r.client.GetImage(ctx, c.Image.Ref)
	if err != nil {
		return false, 0, fmt.Errorf("%w: image %s: %w", nodelet.ErrCreate, c.Image.Ref, err)
	}
	if d := image.Target().Digest.String(); c.Image.Digest != "" && d != c.Image.Digest {
		return false, 0, fmt.Errorf("%w: image %s: is now %s, not %s", nodelet.ErrCreate, c.Image.Ref, d, c.Image.Digest)
	}
	container, err := r.newContainer(ctx, c, image)
	if errdefs.IsAlreadyExists(err) {
		record, missing := r.client.ContainerService().Get(ctx, c.ID)
		if missing == nil && record.Labels[labelHeld] != "" && c.Held == "" {
			// Somebody who was killed had it wait; nobody will release it.
			if err := r.remove(ctx, c.ID); err != nil {
				return false, 0, err
			}
			r.mu.Lock()
			r.known[c.ID] = knownOf(c)
			r.mu.Unlock()
			return r.create(ctx, c)
		}
		if !errdefs.IsNotFound(missing) {
			return false, 0, classed(err, nodelet.ErrCreate)
		}
		// It is the snapshot that is there: whoever made it was killed before it made the container.
		if err = r.removeSnapshot(ctx, c.ID); err == nil {
			container, err = r.newContainer(ctx, c, image)
		}
	}
	if err != nil {
		if !errdefs.IsAlreadyExists(err) {
			// A snapshot without its container would make the name taken for good.
			err = errors.Join(err, r.removeSnapshot(ctx, c.ID))
		}
		return false, 0, classed(err, nodelet.ErrCreate)
	}
	task, err := r.newTask(ctx, container, c.LogPath)
	if err != nil || task == nil {
		return true, 0, err
	}
	return true, int(task.Pid()), nil
}

// newContainer makes the snapshot and then the record.
func (r *Runtime) newContainer(ctx context.Context, c nodelet.Container, image client.Image) (client.Container, error) {
	return r.client.NewContainer(ctx, c.ID,
		client.WithSnapshotter(r.cfg.Snapshotter),
		client.WithNewSnapshot(c.ID, image),
		client.WithContainerLabels(labelsOf(c)),
		client.WithRuntime(runcRuntime, &options.Options{BinaryName: r.cfg.Runc, Root: r.cfg.RuncRoot}),
		r.withSpec(c, image),
	)
}

func (r *Runtime) removeSnapshot(ctx context.Context, id string) error {
	return ignoreNotFound(r.client.SnapshotService(r.cfg.Snapshotter).Remove(ctx, id))
}

// withSpec builds the spec once the snapshot, and with it the image's accounts, can be read.
func (r *Runtime) withSpec(c nodelet.Container, image client.Image) client.NewContainerOpts {
	return func(ctx context.Context, cl *client.Client, record *containers.Container) error {
		config, err := r.configOf(ctx, c.Image, image)
		if err != nil {
			return err
		}
		accounts, err := r.accountsOf(ctx, c.Image.ID, record.SnapshotKey)
		if err != nil {
			return fmt.Errorf("image %s: accounts: %w", c.Image.Ref, err)
		}
		who, err := accounts.resolve(config.User, c.Security, c.Groups)
		if err != nil {
			return err
		}
		spec, err := buildSpec(ctx, c, config, who, r.unified, r.swapCounted)
		if err != nil {
			return err
		}
		if c.Held != "" {
			r.behindGate(spec, c.ID)
		}
		record.Spec, err = typeurl.MarshalAny(spec)
		return err
	}
}

// configOf reads what an image says of its process, once per image. image may be nil.
func (r *Runtime) configOf(ctx context.Context, img nodelet.Image, image client.Image) (config ocispec.ImageConfig, err error) {
	r.mu.Lock()
	config, ok := r.configs[img.ID]
	r.mu.Unlock()
	if ok && img.ID != "" {
		return config, nil
	}
	if image == nil {
		image, err = r.client.GetImage(ctx, img.Ref)
	}
	var spec ocispec.Image
	if err == nil {
		spec, err = image.Spec(ctx)
	}
	if err != nil {
		return config, fmt.Errorf("image %s: config: %w", img.Ref, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.configs[img.ID] = spec.Config
	return spec.Config, nil
}

// accountsOf reads an image's accounts from a fresh snapshot of it, once per image.
func (r *Runtime) accountsOf(ctx context.Context, imageID, snapshot string) (accounts, error) {
	r.mu.Lock()
	a, ok := r.accounts[imageID]
	r.mu.Unlock()
	if ok && imageID != "" {
		return a, nil
	}
	mounts, err := r.client.SnapshotService(r.cfg.Snapshotter).Mounts(ctx, snapshot)
	if err != nil {
		return a, err
	}
	err = mount.WithReadonlyTempMount(ctx, mounts, func(root string) error {
		a, err = readAccounts(root)
		return err
	})
	if err != nil {
		return a, err
	}
	r.mu.Lock()
	r.accounts[imageID] = a
	r.mu.Unlock()
	return a, nil
}

// shimAttempts bounds how often a task is made anew because its pod's shim was just ending.
const shimAttempts = 4

// newTask answers nil where there is a task already.
func (r *Runtime) newTask(ctx context.Context, container client.Container, logPath string) (client.Task, error) {
	creator := cio.Creator(cio.NullIO)
	if logPath != "" {
		if err := os.MkdirAll(filepath.Dir(logPath), 0o755); err != nil {
			return nil, fmt.Errorf("%w: log: %w", nodelet.ErrCreate, err)
		}
		creator = cio.LogURI(&url.URL{Scheme: "binary", Path: r.cfg.Logger, RawQuery: url.Values{
			"--path":      {logPath},
			"--max-bytes": {strconv.FormatInt(r.cfg.LogMaxBytes, 10)},
			"--max-files": {strconv.Itoa(r.cfg.LogMaxFiles)},
		}.Encode()})
	}
	until := time.Now().Add(givenUpWithin)
	for attempt := 1; ; attempt++ {
		task, err := r.tryTask(ctx, container, creator)
		switch {
		case err == nil:
			return task, nil
		case errdefs.IsAlreadyExists(err):
			return nil, nil
		case attempt < shimAttempts && shimGone(err):
			continue
		case inTheMaking(err) && time.Now().Before(until) && pause(ctx, makingEvery):
			attempt-- // it was none
		default:
			return nil, fmt.Errorf("%w: %w", nodelet.ErrStart, err)
		}
	}
}

// A task that a nodelet was making when it was killed is given up by containerd, or is made after all.
const (
	givenUpWithin = 5 * time.Second
	makingEvery   = 20 * time.Millisecond
)

// inTheMaking tells that containerd is still at an earlier request for this task.
func inTheMaking(err error) bool {
	text := err.Error()
	return strings.Contains(text, "mkdir ") && strings.Contains(text, "file exists")
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// shimGone tells that the pod's shim, whose last container was just deleted, took the connection and
// then ended.
func shimGone(err error) bool {
	text := err.Error()
	for _, sign := range []string{"ttrpc: closed", "connection refused", "connection reset", "broken pipe", "shim.sock: no such file", "connect: no such file", "EOF"} {
		if strings.Contains(text, sign) && !strings.Contains(text, "OCI runtime create failed") {
			return true
		}
	}
	return false
}

func ignoreNotFound(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
