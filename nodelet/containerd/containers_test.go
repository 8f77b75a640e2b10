package containerd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/nodelet"
	"swell.dev/swell/nodelet/runtimetest"
)

func ptr[T any](v T) *T { return &v }

// output runs a container to its end and answers its log.
func output(t *testing.T, h *runtimetest.Host, c nodelet.Container) (out string, e nodelet.Exit) {
	t.Helper()
	h.Start(t, c)
	e = h.Exit(t, c.ID)
	if err := h.Runtime.Remove(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	out, errs := runtimetest.Log(t, c.LogPath)
	return out + errs, e
}

// parent is the process that a container's first process belongs to: its shim.
func parent(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	var ppid int
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if _, err := fmt.Sscan(fields[1], &ppid); err != nil {
		t.Fatal(err)
	}
	return ppid
}

func say(t *testing.T, h *runtimetest.Host, id string, command ...string) string {
	t.Helper()
	var out strings.Builder
	p, err := h.Runtime.Exec(t.Context(), id, nodelet.Exec{Command: command, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Wait(inTime(t)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestOneShim: the containers of a pod share one shim, whichever of them is removed first and also
// after a restart of containerd; the last one takes it with it.
func TestOneShim(t *testing.T) {
	h := open(t)
	first := h.Container(t, "sleep", "100000")
	shim := parent(t, h.Start(t, first))
	second := h.In(t, first.PodUID, "second", "sh", "-c", "while [ ! -e /tmp/stop ]; do sleep 0.05; done; echo ended")
	secondPID := h.Start(t, second)
	if p := parent(t, secondPID); p != shim {
		t.Fatalf("the second container's shim is %d, the first's %d", p, shim)
	}
	other := h.Container(t, "sleep", "100000")
	if p := parent(t, h.Start(t, other)); p == shim {
		t.Errorf("another pod has the same shim")
	}
	if err := h.Runtime.Remove(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if s := h.State(t, second.ID); s.State != nodelet.StateRunning || s.PID != secondPID {
		t.Fatalf("after the first was removed the second is %+v", s)
	}
	if got := say(t, h, second.ID, "echo", "still here"); got != "still here\n" {
		t.Errorf("exec in the second answers %q", got)
	}
	third := h.In(t, first.PodUID, "third", "sleep", "100000")
	if p := parent(t, h.Start(t, third)); p != shim {
		t.Errorf("the third container's shim is %d, the first's was %d", p, shim)
	}

	restartContainerd(t)
	runtimetest.Until(t, "containerd answers again", func() bool {
		_, err := h.Runtime.List(t.Context())
		return err == nil
	})
	if s := h.State(t, second.ID); s.State != nodelet.StateRunning || s.PID != secondPID {
		t.Fatalf("after a restart of containerd the second is %+v", s)
	}
	fourth := h.In(t, first.PodUID, "fourth", "sleep", "100000")
	if p := parent(t, h.Start(t, fourth)); p != shim {
		t.Errorf("the fourth container's shim is %d, the first's was %d", p, shim)
	}
	say(t, h, second.ID, "touch", "/tmp/stop")
	if e := h.Exit(t, second.ID); e.ExitCode != 0 {
		t.Errorf("the second ended as %+v", e)
	}
	for _, c := range []nodelet.Container{second, third, fourth} {
		if err := h.Runtime.Remove(t.Context(), c.ID); err != nil {
			t.Fatal(err)
		}
	}
	if out, _ := runtimetest.Log(t, second.LogPath); out != "ended\n" {
		t.Errorf("the second's log is %q", out)
	}
	runtimetest.Until(t, "the shim has ended", func() bool { return syscall.Kill(shim, 0) != nil })
}

// restartContainerd kills it; the Child starts it again.
func restartContainerd(t *testing.T) {
	t.Helper()
	pid := host.child.PID()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	runtimetest.Until(t, "containerd was started again", func() bool { return host.child.PID() != pid })
}

// TestExitWhileContainerdIsDown: nobody hears it, and it is told once containerd is back.
func TestExitWhileContainerdIsDown(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sleep", "100000")
	pid := h.Start(t, c)
	r := h.Runtime.(*Runtime)
	runtimetest.Until(t, "the start is recorded", func() bool {
		_, err := r.client.SandboxStore().Get(r.in(t.Context()), c.ID)
		return err == nil
	})
	if err := syscall.Kill(host.child.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := h.Exit(t, c.ID); e.ExitCode != 137 || e.PodUID != c.PodUID {
		t.Errorf("its end is told as %+v", e)
	}
}

// TestShimKilled: a container whose shim was killed is told as ended, listed so, and can be removed.
func TestShimKilled(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sleep", "100000")
	shim := parent(t, h.Start(t, c))
	if err := syscall.Kill(shim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := h.Exit(t, c.ID); e.ExitCode != 137 && e.ExitCode != 255 {
		t.Errorf("its end is told as %+v", e)
	}
	runtimetest.Until(t, "it is listed as exited", func() bool { return h.State(t, c.ID).State == nodelet.StateExited })
	if s := h.State(t, c.ID); s.ExitedAt.IsZero() || !s.ExitedAt.Equal(h.State(t, c.ID).ExitedAt) {
		t.Errorf("it is listed as %+v", s)
	}
}

func TestIdentityAndSecurity(t *testing.T) {
	h := open(t)
	show := []string{"sh", "-c", "id -u; id -g; id -G; grep -E 'CapBnd|CapEff|NoNewPrivs|Seccomp:' /proc/self/status; touch /x 2>&1; hostname; echo $HOSTNAME"}
	for name, tc := range map[string]struct {
		change func(*nodelet.Container)
		want   []string
	}{
		"default": {func(*nodelet.Container) {}, []string{"0\n0\n0\n", "CapEff:\t00000000a80425fb", "NoNewPrivs:\t0", "Seccomp:\t2"}},
		"app": {func(c *nodelet.Container) {
			c.Security = &corev1.SecurityContext{
				RunAsUser: ptr[int64](1000), RunAsNonRoot: ptr(true), AllowPrivilegeEscalation: ptr(false),
				ReadOnlyRootFilesystem: ptr(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			}
			c.Groups = []int64{3000}
		}, []string{"1000\n1000\n1000 2000 3000\n", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Read-only file system"}},
		"group and capability": {func(c *nodelet.Container) {
			c.Security = &corev1.SecurityContext{
				RunAsGroup: ptr[int64](77), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined},
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN"}},
			}
		}, []string{"0\n77\n77\n", "CapBnd:\t0000000000001000", "Seccomp:\t0"}},
		"privileged": {func(c *nodelet.Container) {
			c.Security = &corev1.SecurityContext{Privileged: ptr(true)}
		}, []string{hostCaps(t), "Seccomp:\t0"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := h.Container(t, show...)
			tc.change(&c)
			out, _ := output(t, h, c)
			for _, want := range append(tc.want, c.Hostname+"\n"+c.Hostname+"\n") {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in\n%s", want, out)
				}
			}
		})
	}
}

// hostCaps is the line of /proc/self/status with all that this host allows.
func hostCaps(t *testing.T) string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "CapEff") {
			return line
		}
	}
	t.Fatal("no capabilities in /proc/self/status")
	return ""
}

func TestRefusedContainers(t *testing.T) {
	h := open(t)
	for name, tc := range map[string]struct {
		change func(*nodelet.Container)
		class  error
		says   string
	}{
		"command": {func(c *nodelet.Container) { c.Command = []string{"nothing-like-it"} }, nodelet.ErrStart,
			`exec: "nothing-like-it": executable file not found in $PATH`},
		"root image": {func(c *nodelet.Container) { c.Security = &corev1.SecurityContext{RunAsNonRoot: ptr(true)} }, nodelet.ErrCreate,
			"container has runAsNonRoot and image will run as root"},
		"user": {func(c *nodelet.Container) {
			c.Security = &corev1.SecurityContext{RunAsUser: ptr[int64](0), RunAsNonRoot: ptr(true)}
		}, nodelet.ErrCreate, "container's runAsUser breaks non-root policy"},
		"mount": {func(c *nodelet.Container) {
			c.Mounts = []nodelet.Mount{{Source: "/does/not/exist", Destination: "/mnt"}}
		}, nodelet.ErrStart, "/does/not/exist"},
		"processes": {func(c *nodelet.Container) { c.PodPID = true }, nodelet.ErrUnsupported, "shared process namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			c := h.Container(t, "sleep", "1")
			tc.change(&c)
			err := h.Runtime.Create(t.Context(), c)
			if !errors.Is(err, tc.class) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("create answers %v", err)
			}
			if s := h.State(t, c.ID); s.ID != "" {
				t.Errorf("it left %+v", s)
			}
			// Nothing of it is in the way.
			c.Command, c.Security, c.Mounts, c.PodPID = []string{"true"}, nil, nil, false
			h.Start(t, c)
		})
	}
}

func TestMountsAndEnvironment(t *testing.T) {
	h := open(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("from the host\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := h.Container(t)
	c.Command, c.Args = []string{"sh", "-c"}, []string{"pwd; echo $A; cat /data/f; touch /data/x 2>/dev/null || echo ro; df -k /mem /dev/shm | awk '{print $2}'; cat /data/over"}
	c.Env, c.WorkingDir = []string{"A=1", "A=2"}, "/tmp"
	over := filepath.Join(t.TempDir(), "over")
	if err := os.WriteFile(over, []byte("nested\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "over"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Mounts = []nodelet.Mount{
		{Source: over, Destination: "/data/over", ReadOnly: true},
		{Source: dir, Destination: "/data", ReadOnly: true},
		{Source: "tmpfs", Destination: "/mem", Options: []string{"size=1m"}},
	}
	out, e := output(t, h, c)
	if want := "/tmp\n2\nfrom the host\nro\n1K-blocks\n1024\n65536\nnested\n"; strings.ReplaceAll(out, "1024-blocks", "1K-blocks") != want || e.ExitCode != 0 {
		t.Errorf("%+v: %q, want %q", e, out, want)
	}
}

func TestResources(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sleep", "100000")
	c.OOMScore = 500
	c.Resources = corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m")},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
	}
	pid := h.Start(t, c)
	want := map[string]string{
		"cpu" + c.CgroupPath + "/cpu.shares":                  "256",
		"cpu" + c.CgroupPath + "/cpu.cfs_quota_us":            "150000",
		"memory" + c.CgroupPath + "/memory.limit_in_bytes":    "67108864",
		"../../../proc/" + fmt.Sprint(pid) + "/oom_score_adj": "500",
	}
	r := h.Runtime.(*Runtime)
	if r.swapCounted { // memory and swap together: there is no swap
		want["memory"+c.CgroupPath+"/memory.memsw.limit_in_bytes"] = "67108864"
	}
	if r.unified {
		want = map[string]string{
			c.CgroupPath + "/cpu.max":         "150000 100000",
			c.CgroupPath + "/memory.max":      "67108864",
			c.CgroupPath + "/memory.swap.max": "0",
		}
	}
	for file, value := range want {
		b, err := os.ReadFile(filepath.Join(cgroupRoot, file))
		if err != nil || strings.TrimSpace(string(b)) != value {
			t.Errorf("%s is %q, %v; want %s", file, b, err, value)
		}
	}

	c.Resources.Limits[corev1.ResourceMemory] = resource.MustParse("128Mi")
	r.UpdateRecord(c.ID, c.Resources)
	runtimetest.Until(t, "containerd's record follows", func() bool {
		container, err := r.client.LoadContainer(r.in(t.Context()), c.ID)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := container.Spec(r.in(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		return *spec.Linux.Resources.Memory.Limit == 128<<20
	})
}

func TestOutOfMemory(t *testing.T) {
	h := open(t)
	c := h.Container(t, "tail", "/dev/zero")
	c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}
	h.Start(t, c)
	if e := h.Exit(t, c.ID); e.ExitCode != 137 || !e.OOMKilled {
		t.Errorf("its end is told as %+v", e)
	}
	if s := h.State(t, c.ID); !s.OOMKilled {
		t.Errorf("it is listed as %+v", s)
	}
}

func TestTerminal(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sleep", "100000")
	h.Start(t, c)
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	p, err := h.Runtime.Exec(t.Context(), c.ID, nodelet.Exec{
		Command: []string{"sh", "-c", "read line; stty size; echo $TERM; exit 9"}, TTY: true, Stdin: in, Stdout: &out,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Resize(t.Context(), 100, 40); err != nil {
		t.Fatal(err)
	}
	if _, err := feed.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	code, err := p.Wait(inTime(t))
	if err != nil || code != 9 || out.String() != "go\r\n40 100\r\nxterm\r\n" {
		t.Errorf("code %d, %v: %q", code, err, out.String())
	}
	if err := errors.Join(feed.Close(), in.Close()); err != nil {
		t.Error(err)
	}
}

// TestExecCommandNotFound: the runtime says what is missing.
func TestExecCommandNotFound(t *testing.T) {
	h := open(t)
	c := h.Container(t, "sleep", "100000")
	h.Start(t, c)
	_, err := h.Runtime.Exec(t.Context(), c.ID, nodelet.Exec{Command: []string{"nothing-like-it"}, Stdin: strings.NewReader("x")})
	if err == nil || !strings.Contains(err.Error(), `"nothing-like-it": executable file not found`) {
		t.Errorf("exec answers %v", err)
	}
}

func TestLogRotation(t *testing.T) {
	h := open(t)
	cfg := host.child.Config()
	cfg.LogMaxBytes, cfg.LogMaxFiles = 4000, 3
	r, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	h.Runtime = r
	c := h.Container(t, "seq", "-w", "1", "5000")
	output(t, h, c)
	files, err := filepath.Glob(c.LogPath + "*")
	if err != nil || !slices.Equal(files, []string{c.LogPath, c.LogPath + ".1", c.LogPath + ".2"}) {
		t.Errorf("the log's files are %v, %v", files, err)
	}
	if out, _ := runtimetest.Log(t, c.LogPath); !strings.HasSuffix(out, "4999\n5000\n") {
		t.Errorf("the log ends %q", out[max(0, len(out)-40):])
	}
}
