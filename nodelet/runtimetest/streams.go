package runtimetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"swell.dev/swell/internal/crilog"
	"swell.dev/swell/nodelet"
)

// Log reads a container's log to its writer's end.
func Log(t *testing.T, path string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Deadline)
	defer cancel()
	var out, errs bytes.Buffer
	if err := crilog.Copy(ctx, path, crilog.Options{Tail: -1, Follow: true, Stdout: &out, Stderr: &errs}); err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String()
}

func logs(t *testing.T, h *Host) {
	c := h.Container(t, "sh", "-c", "echo to out; echo to err >&2; echo more")
	h.Start(t, c)
	h.Exit(t, c.ID)
	if err := h.Runtime.Remove(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if out, errs := Log(t, c.LogPath); out != "to out\nmore\n" || errs != "to err\n" {
		t.Errorf("the log has %q and %q", out, errs)
	}
}

func exec(t *testing.T, h *Host) {
	c := h.Container(t, "sleep", "100000")
	h.Start(t, c)
	big := strings.Repeat("all of it arrives\n", 20_000)
	for name, tc := range map[string]struct {
		command          []string
		stdin, out, errs string
		code             int32
	}{
		"code":    {command: []string{"sh", "-c", "exit 7"}, code: 7},
		"streams": {command: []string{"sh", "-c", "echo one; echo two >&2; exit 1"}, out: "one\n", errs: "two\n", code: 1},
		"stdin":   {command: []string{"cat"}, stdin: big, out: big},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			e := nodelet.Exec{Command: tc.command, Stdout: &out, Stderr: &errs}
			if tc.stdin != "" {
				e.Stdin = strings.NewReader(tc.stdin)
			}
			p, err := h.Runtime.Exec(t.Context(), c.ID, e)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), Deadline)
			defer cancel()
			code, err := p.Wait(ctx)
			if err != nil || code != tc.code || out.String() != tc.out || errs.String() != tc.errs {
				t.Errorf("code %d, %v; %d bytes of output, %q", code, err, out.Len(), errs.String())
			}
		})
	}
}

func execCancelled(t *testing.T, h *Host) {
	c := h.Container(t, "sleep", "100000")
	h.Start(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	p, err := h.Runtime.Exec(ctx, c.ID, nodelet.Exec{Command: []string{"sleep", "100000"}, Stdout: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled exec answers %v", err)
	}
	if s := h.State(t, c.ID); s.State != nodelet.StateRunning {
		t.Errorf("the container is %+v", s)
	}
}
