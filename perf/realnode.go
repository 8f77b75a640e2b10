package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/internal/bootclock"
	"swell.dev/swell/internal/ociimage"
	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/containerd"
	"swell.dev/swell/nodelet/journal"
	"swell.dev/swell/nodelet/network"
	"swell.dev/swell/nodelet/podcgroup"
	"swell.dev/swell/nodelet/volume"
)

// realNode is the nodelet in this process, on this host: real containers, network, cgroups and disk, and no
// control plane. What it is assigned and what it reports is measured on its own.
type realNode struct {
	dir      string
	child    *containerd.Child
	runtime  *containerd.Runtime
	images   *containerd.Images
	network  *network.Network
	cgroups  *podcgroup.Tree
	journal  *journal.Journal
	nodelet  *nodelet.Nodelet
	pods     map[string]bool // assigned and not gone
	reported map[string]nodelet.Report
	slots    map[string]nodelet.SlotReport
}

// withRealNode runs work on a fresh host, which has the example server's image.
func withRealNode(ctx context.Context, bin string, work func(*realNode) error) (err error) {
	dir, err := os.MkdirTemp("", "swell-perf-")
	if err != nil {
		return err
	}
	n := &realNode{dir: dir, pods: map[string]bool{}, reported: map[string]nodelet.Report{}, slots: map[string]nodelet.SlotReport{}}
	defer func() {
		down, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // also after a Ctrl-C
		defer cancel()
		err = errors.Join(err, n.close(down))
	}()
	if err := n.open(ctx, bin); err != nil {
		return err
	}
	return work(n)
}

func (n *realNode) open(ctx context.Context, bin string) (err error) {
	quiet := slog.New(slog.DiscardHandler)
	binaries, err := containerd.FindBinaries(bin)
	if err != nil {
		return err
	}
	if n.child, err = containerd.StartChild(ctx, containerd.ChildConfig{Dir: filepath.Join(n.dir, "containerd"), Binaries: binaries, Log: quiet}); err != nil {
		return err
	}
	if n.runtime, err = containerd.New(ctx, n.child.Config()); err != nil {
		return err
	}
	if n.images, err = containerd.NewImages(ctx, n.child.Config()); err != nil {
		return err
	}
	instance := fmt.Sprintf("p%d", os.Getpid())
	if n.cgroups, err = podcgroup.Open("/swell-" + instance); err != nil {
		return err
	}
	if n.network, err = network.New(network.Config{
		Instance: instance, StateDir: filepath.Join(n.dir, "network"), RunDir: filepath.Join("/run", "swell-"+instance, "netns"),
	}); err != nil {
		return err
	}
	volumes, err := volume.New(volume.Config{Dir: filepath.Join(n.dir, "volumes")})
	if err != nil {
		return err
	}
	if n.journal, err = journal.Open(filepath.Join(n.dir, "journal"), bootclock.Host()); err != nil {
		return err
	}
	if n.nodelet, err = nodelet.New(nodelet.Config{
		NodeName: "perf", HostIP: "127.0.0.1", DataDir: n.dir, Runtime: n.runtime, Images: n.images, Network: n.network,
		Volumes: volumes, Cgroups: n.cgroups, Journal: n.journal, Logger: quiet,
	}); err != nil {
		return err
	}
	if err := n.nodelet.Start(ctx); err != nil {
		return err
	}
	return n.importServer(ctx, bin)
}

func (n *realNode) importServer(ctx context.Context, bin string) error {
	img, err := ociimage.FromFiles(map[string]string{program: filepath.Join(bin, "httpserver")}, v1.Config{Entrypoint: []string{program}})
	if err != nil {
		return err
	}
	archive := filepath.Join(n.dir, "image.tar")
	if err := ociimage.WriteArchive(archive, image, img); err != nil {
		return err
	}
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	_, err = n.images.Import(ctx, f)
	return err
}

// close removes everything that is on the host.
func (n *realNode) close(ctx context.Context) error {
	var errs []error
	if n.nodelet != nil {
		errs = append(errs, n.clear(ctx), n.nodelet.Close())
	}
	if n.journal != nil {
		errs = append(errs, n.journal.Close())
	}
	if n.images != nil {
		errs = append(errs, n.images.Close())
	}
	if n.runtime != nil {
		errs = append(errs, n.runtime.Close())
	}
	if n.child != nil {
		errs = append(errs, n.child.Stop(ctx), containerd.Destroy(filepath.Join(n.dir, "containerd")))
	}
	if n.network != nil {
		errs = append(errs, n.network.RemoveAll(ctx), os.RemoveAll(filepath.Join("/run", fmt.Sprintf("swell-p%d", os.Getpid()))))
	}
	if n.cgroups != nil {
		errs = append(errs, n.cgroups.RemoveAll())
	}
	return errors.Join(append(errs, os.RemoveAll(n.dir))...)
}

// assign has a pod run, or a slot made ready.
func (n *realNode) assign(name string, slot nodelet.SlotDepth) (uid string) {
	p := pod(name, "250m", "64Mi")
	p.Namespace, p.UID = "default", types.UID("uid-"+name)
	if slot != nodelet.NoSlot {
		p.Name = "slot-" + name
	}
	uid = string(p.UID)
	n.pods[uid] = true
	n.nodelet.Assign(nodelet.Assignment{Pod: p, Slot: slot})
	return uid
}

// until waits for what the nodelet reports.
func (n *realNode) until(ctx context.Context, what string, holds func() bool) error {
	for {
		for _, r := range n.nodelet.Take(1000) {
			n.reported[r.UID] = r
		}
		for _, r := range n.nodelet.TakeSlots(1000) {
			n.slots[r.UID] = r
		}
		if holds() {
			return nil
		}
		select {
		case <-n.nodelet.Changed():
		case <-ctx.Done():
			return fmt.Errorf("still not so: %s: %w", what, ctx.Err())
		}
	}
}

func (n *realNode) running(ctx context.Context, uids ...string) error {
	return n.until(ctx, "the pods run", func() bool {
		for _, uid := range uids {
			if n.reported[uid].Status.Phase != corev1.PodRunning {
				return false
			}
		}
		return true
	})
}

func (n *realNode) ready(ctx context.Context, depth nodelet.SlotDepth, uids ...string) error {
	return n.until(ctx, "the slots are ready", func() bool {
		for _, uid := range uids {
			if n.slots[uid].Depth != depth {
				return false
			}
		}
		return true
	})
}

// clear removes all pods.
func (n *realNode) clear(ctx context.Context) error {
	for uid := range n.pods {
		n.nodelet.Remove(uid)
	}
	err := n.until(ctx, "the pods are gone", func() bool {
		for uid := range n.pods {
			if r, ok := n.reported[uid]; ok && !r.Finished {
				return false
			}
			if r, ok := n.slots[uid]; ok && n.reported[uid].UID == "" && r.Depth != nodelet.NoSlot {
				return false
			}
		}
		return true
	})
	clear(n.pods)
	return err
}
