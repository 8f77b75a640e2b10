package nodelet

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// noCgroups answers paths and nothing else.
type noCgroups struct{ Cgroups }

func (noCgroups) Unified(PodSize, string) map[string]string {
	return nil
}

func (noCgroups) ContainerPath(podUID, container string) string {
	return "/pods/" + podUID + "/" + container
}

// wholeVolumes offers parts of volumes.
type wholeVolumes struct{ Volumes }

func (wholeVolumes) SubPath(_ context.Context, s SubPath) (string, error) {
	return "/volumes/" + s.Volume + "/" + s.Path, nil
}

// build makes the container that an action is for, as a host does.
func (s *scenario) build(a actRun) Container {
	s.t.Helper()
	cfg := *s.cfg
	cfg.Cgroups, cfg.Volumes, cfg.LogDir = noCgroups{}, wholeVolumes{}, "/logs"
	b := &builder{cfg: &cfg, a: s.m.a, allocated: s.m.allocated, dir: s.dir()}
	c, err := b.container(s.t.Context(), a)
	s.check(err)
	c.Held, err = b.heldKey(c, a)
	s.check(err)
	return c
}

func (s *scenario) dir() string {
	if s.folder == "" {
		s.folder = s.t.TempDir()
	}
	return s.folder
}

func (s *scenario) hold(a actHold) {
	c := s.build(actRun(a))
	in := inHeld{Container: a.Container.Name, Attempt: a.Attempt, Held: c.Held}
	if a.Held != c.Held {
		if a.Held != "" {
			fmt.Fprintf(&s.out, "   %s is held anew\n", c.Name)
		}
		in.At = s.now
		s.unlist(c.ID)
		s.runtime = append(s.runtime, ContainerState{
			ID: c.ID, Name: c.Name, PodUID: "uid", Attempt: a.Attempt, State: StateCreated, Image: a.Image, Held: c.Held,
		})
	}
	s.step(in)
}

// release says what becomes of a held container, and answers when another took its place.
func (s *scenario) release(a actRun) (replaced time.Time) {
	c := s.build(a)
	s.unlist(c.ID)
	if c.Held != a.Held {
		fmt.Fprintf(&s.out, "   %s doesn't fit and is made anew\n", c.Name)
		return s.now
	}
	fmt.Fprintf(&s.out, "   %s is released: %s; hostname %s; %s\n", c.Name, strings.Join(slices.Concat(c.Command, c.Args), " "), c.Hostname, strings.Join(c.Env, " "))
	return time.Time{}
}

func (s *scenario) unlist(id string) {
	s.runtime = slices.DeleteFunc(s.runtime, func(r ContainerState) bool { return r.ID == id })
}
