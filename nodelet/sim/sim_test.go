package sim_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"swell.dev/swell/internal/ociimage"
	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/runtimetest"
	"swell.dev/swell/nodelet/sim"
)

func TestConformance(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "image.tar")
	img, err := ociimage.FromFiles(nil, v1.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := ociimage.WriteArchive(archive, "example.com/archived:1", img); err != nil {
		t.Fatal(err)
	}
	runtimetest.Run(t, func(t *testing.T) *runtimetest.Host {
		host := sim.NewHost(sim.Config{PullError: func(ref string) error {
			if strings.Contains(ref, "refused") {
				return errors.New("manifest unknown")
			}
			return nil
		}})
		images := host.Images()
		if _, err := images.Pull(t.Context(), "busybox", nil); err != nil {
			t.Fatal(err)
		}
		r := host.Runtime()
		h := &runtimetest.Host{
			Runtime: r, Images: images, Image: "docker.io/library/busybox:latest",
			Refused: "example.com/refused:1", RefusedSays: "manifest unknown",
			Archive: archive, ArchiveRef: "example.com/archived:1",
		}
		h.Reopen = func(t *testing.T) nodelet.Runtime {
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			r = host.Runtime()
			return r
		}
		return h
	})
}

func TestScriptAndLatencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		host := sim.NewHost(sim.Config{
			PullLatency: 3 * time.Second, CreateLatency: 2 * time.Second, StartLatency: time.Second,
			Script: func(c nodelet.Container) sim.Script {
				switch c.Name {
				case "broken":
					return sim.Script{StartErr: broken}
				case "stubborn":
					return sim.Script{Forever: true, IgnoreTerm: true}
				}
				return sim.Script{After: time.Minute, Code: 137, OOMKilled: true}
			},
		})
		begin := time.Now()
		img, err := host.Images().Pull(t.Context(), "busybox", nil)
		if err != nil {
			t.Fatal(err)
		}
		r := host.Runtime()
		for _, name := range []string{"main", "broken", "stubborn"} {
			if err := r.Create(t.Context(), nodelet.Container{ID: name, Name: name, Image: img}); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := r.Start(t.Context(), "broken"); !errors.Is(err, broken) {
			t.Errorf("a broken start answers %v", err)
		}
		if _, _, err := r.Start(t.Context(), "main"); err != nil {
			t.Fatal(err)
		}
		if e := <-r.Exits(); e.ID != "main" || e.ExitCode != 137 || !e.OOMKilled || e.At.Sub(begin) != 71*time.Second {
			t.Errorf("ended %v after the beginning: %+v", e.At.Sub(begin), e)
		}
		if _, _, err := r.Start(t.Context(), "stubborn"); err != nil {
			t.Fatal(err)
		}
		if err := r.Kill(t.Context(), "stubborn", 15, false); err != nil {
			t.Fatal(err)
		}
		if err := host.Exit("stubborn", 5, false); err != nil {
			t.Fatal(err)
		}
		if e := <-r.Exits(); e.ID != "stubborn" || e.ExitCode != 5 {
			t.Errorf("ended as %+v", e)
		}
	})
}
