package containerd

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/runtimetest"
)

// placeholder is in everything that a slot is made with and no pod may see.
const placeholder = "placeholder-7f3a"

// held has a container of a slot wait in c's place.
func held(t *testing.T, h *runtimetest.Host, c nodelet.Container) {
	t.Helper()
	c.Held, c.PodName, c.Hostname = "key", placeholder, placeholder
	c.Command, c.Args, c.Env = []string{"sh", "-c", "echo " + placeholder}, nil, []string{"SECRET=" + placeholder, "NAME=" + placeholder}
	if err := h.Runtime.Hold(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func release(t *testing.T, h *runtimetest.Host, c nodelet.Container) (pid int) {
	t.Helper()
	pid, _, err := h.Runtime.Release(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// world is all that a process can see of how it was made.
const world = `env | sort; hostname; id; pwd; umask; ulimit -a; ls -a / /dev; awk '{print $5, $6}' /proc/self/mountinfo | sort
grep -vE 'Pid|ctxt|Vm|Rss|Threads|Tgid|Ngid|PPid|SigQ|NS' /proc/self/status; cat /proc/self/oom_score_adj; cat /proc/1/cmdline | tr '\0' ' '
ls /proc/1/fd; grep -c . /proc/1/environ; touch /x 2>&1; cat /etc/hostname 2>&1; cat /proc/1/comm`

// TestHeldIsLikeAnyOther: a container that was held sees what one sees that was made for its pod, and
// nothing of what was held.
func TestHeldIsLikeAnyOther(t *testing.T) {
	h := open(t)
	for name, change := range map[string]func(*nodelet.Container){
		"default": func(*nodelet.Container) {},
		"app": func(c *nodelet.Container) {
			c.Security = &corev1.SecurityContext{
				RunAsUser: ptr[int64](1000), RunAsNonRoot: ptr(true), AllowPrivilegeEscalation: ptr(false),
				ReadOnlyRootFilesystem: ptr(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			}
			c.Groups, c.WorkingDir = []int64{3000}, "/tmp"
		},
		"capability": func(c *nodelet.Container) {
			c.Security = &corev1.SecurityContext{
				RunAsUser: ptr[int64](1000), Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}},
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined},
			}
		},
		"privileged": func(c *nodelet.Container) { c.Security = &corev1.SecurityContext{Privileged: ptr(true)} },
		"environment": func(c *nodelet.Container) {
			c.Env = []string{"LONG=" + strings.Repeat("x", 100_000), "EMPTY=", "LINES=a\nb", "HOME="}
		},
	} {
		t.Run(name, func(t *testing.T) {
			show := func(make func(c nodelet.Container)) string {
				c := h.Container(t, "sh", "-c", world)
				c.Hostname, c.Env, c.OOMScore = "web-1", []string{"NAME=web-1"}, 300
				change(&c)
				make(c)
				if e := h.Exit(t, c.ID); e.ExitCode != 0 {
					t.Errorf("it ended with %+v", e)
				}
				out, errs := runtimetest.Log(t, c.LogPath)
				return out + errs
			}
			want := show(func(c nodelet.Container) { h.Start(t, c) })
			got := show(func(c nodelet.Container) { held(t, h, c); release(t, h, c) })
			if got != want {
				t.Errorf("it sees otherwise:\n%s", difference(want, got))
			}
			if strings.Contains(got, placeholder) || !strings.Contains(got, "web-1") {
				t.Errorf("it sees the slot's name, or not its own:\n%s", got)
			}
		})
	}
}

// difference answers the lines that only one of two texts has.
func difference(want, got string) string {
	var out strings.Builder
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range w {
		if !slices.Contains(g, line) {
			fmt.Fprintln(&out, "-", line)
		}
	}
	for _, line := range g {
		if !slices.Contains(w, line) {
			fmt.Fprintln(&out, "+", line)
		}
	}
	return out.String()
}

// TestExecInWhatWasHeld: exec works from what the container became, at once and after a restart, also of a
// nodelet that was killed before it could record it.
func TestExecInWhatWasHeld(t *testing.T) {
	show := []string{"sh", "-c", "env | sort; hostname"}
	for name, recorded := range map[string]bool{"recorded": true, "killed": false} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			c := h.Container(t, "sleep", "100000")
			c.Env = []string{"NAME=web-1"}
			held(t, h, c)
			r := h.Runtime.(*Runtime)
			if !recorded {
				r.abandon() // as if it were killed: nothing is recorded any more
			}
			pid := release(t, h, c)
			if recorded {
				if out := say(t, h, c.ID, show...); !strings.Contains(out, "NAME=web-1\n") || strings.Contains(out, placeholder) {
					t.Errorf("at once exec sees\n%s", out)
				}
			}
			h.Runtime = h.Reopen(t)
			if s := h.State(t, c.ID); s.State != nodelet.StateRunning || s.PID != pid || s.Held != "" {
				t.Errorf("it is listed as %+v", s)
			}
			out := say(t, h, c.ID, show...)
			if !strings.Contains(out, "NAME=web-1\n") || !strings.Contains(out, "HOSTNAME="+c.Hostname+"\n") || strings.Contains(out, placeholder) {
				t.Errorf("after a restart exec sees\n%s", out)
			}
			r = h.Runtime.(*Runtime)
			record, err := r.client.ContainerService().Get(r.in(t.Context()), c.ID)
			if err != nil {
				t.Fatal(err)
			}
			if text := fmt.Sprint(record.Labels) + string(record.Spec.GetValue()); strings.Contains(text, placeholder) && recorded {
				t.Errorf("containerd's record is %s", text)
			}
			if _, err := os.Stat(r.gate(c.ID, "")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("its gate: %v", err)
			}
			if err := h.Runtime.Kill(t.Context(), c.ID, syscall.SIGKILL, false); err != nil {
				t.Fatal(err)
			}
			h.Exit(t, c.ID)
		})
	}
}

// TestHeldThatCannotRun: a command that can't be started is refused as with any other container, and nothing
// is left.
func TestHeldThatCannotRun(t *testing.T) {
	h := open(t)
	for name, tc := range map[string]struct {
		command []string
		says    string
	}{
		"not there":      {[]string{"nothing-like-it"}, `exec: "nothing-like-it": executable file not found in $PATH`},
		"by path":        {[]string{"/bin/nothing"}, `exec: "/bin/nothing": stat /bin/nothing: no such file or directory`},
		"a folder":       {[]string{"/etc"}, `exec: "/etc": is a directory`},
		"not executable": {[]string{"/etc/hosts"}, `exec: "/etc/hosts": permission denied`},
	} {
		t.Run(name, func(t *testing.T) {
			c := h.Container(t, tc.command...)
			hosts := t.TempDir() + "/hosts"
			if err := os.WriteFile(hosts, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			c.Mounts = []nodelet.Mount{{Source: hosts, Destination: "/etc/hosts"}}
			held(t, h, c)
			if _, _, err := h.Runtime.Release(t.Context(), c); !errors.Is(err, nodelet.ErrStart) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("release answers %v", err)
			}
			if s := h.State(t, c.ID); s.ID != "" {
				t.Errorf("it left %+v", s)
			}
			c.Command, c.Mounts = []string{"true"}, nil
			h.Start(t, c)
			if e := h.Exit(t, c.ID); e.ExitCode != 0 {
				t.Errorf("made anew, it ends with %+v", e)
			}
		})
	}
}

// TestHeldButNotReleased: what a killed nodelet held is in nobody's way.
func TestHeldButNotReleased(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sh", "-c", "exit 3")
	held(t, h, c)
	h.Runtime = h.Reopen(t)
	h.Start(t, c)
	if e := h.Exit(t, c.ID); e.ExitCode != 3 {
		t.Errorf("it ends with %+v", e)
	}
}

// TestWithoutHolder: a host without swell-hold says so.
func TestWithoutHolder(t *testing.T) {
	h := open(t)
	h.Runtime.(*Runtime).cfg.Holder = ""
	c := h.Container(t, "true")
	c.Held = "key"
	if err := h.Runtime.Hold(t.Context(), c); !errors.Is(err, nodelet.ErrUnsupported) || !strings.Contains(err.Error(), "swell-hold") {
		t.Errorf("hold answers %v", err)
	}
}
