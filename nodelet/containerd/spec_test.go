package containerd

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/moby/sys/user"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/nodelet"
)

func build(t *testing.T, c nodelet.Container, image ocispec.ImageConfig) (*specs.Spec, error) {
	t.Helper()
	return buildSpec(namespaces.WithNamespace(context.Background(), "test"), c, image, specs.User{}, false, false)
}

func TestArguments(t *testing.T) {
	image := ocispec.ImageConfig{Entrypoint: []string{"e"}, Cmd: []string{"c"}}
	for name, tc := range map[string]struct {
		command, args, want []string
		image               ocispec.ImageConfig
	}{
		"the image's":         {nil, nil, []string{"e", "c"}, image},
		"other arguments":     {nil, []string{"a"}, []string{"e", "a"}, image},
		"other command":       {[]string{"x"}, nil, []string{"x"}, image},
		"both":                {[]string{"x"}, []string{"a"}, []string{"x", "a"}, image},
		"none":                {nil, nil, nil, ocispec.ImageConfig{}},
		"only arguments":      {nil, []string{"a"}, []string{"a"}, ocispec.ImageConfig{}},
		"command of no image": {[]string{"x"}, nil, []string{"x"}, ocispec.ImageConfig{}},
	} {
		s, err := build(t, nodelet.Container{ID: "c", Command: tc.command, Args: tc.args}, tc.image)
		if tc.want == nil {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
			continue
		}
		if err != nil || !slices.Equal(s.Process.Args, tc.want) {
			t.Errorf("%s: %v, %v; want %v", name, s, err, tc.want)
		}
	}
}

func TestSpec(t *testing.T) {
	c := nodelet.Container{
		ID: "c", PodUID: "pod", Command: []string{"x"}, NetNS: "/run/netns/x", Hostname: "h", CgroupPath: "/swell/podx/c",
		Env: []string{"A=b", "PATH=/own"}, Sysctls: map[string]string{"net.core.somaxconn": "10"},
		Mounts: []nodelet.Mount{
			{Source: "/a", Destination: "/dev/shm/"},
			{Source: "/b", Destination: "/x/y", Options: []string{"rslave"}},
			{Source: "/c", Destination: "/x", ReadOnly: true},
		},
	}
	s, err := build(t, c, ocispec.ImageConfig{Env: []string{"A=a", "B=c"}, WorkingDir: "/w"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Annotations[groupAnnotation] != "pod" || s.Linux.CgroupsPath != c.CgroupPath || s.Process.Cwd != "/w" {
		t.Errorf("%+v", s)
	}
	if want := []string{"PATH=/own", "HOSTNAME=h", "A=b", "B=c"}; !slices.Equal(s.Process.Env, want) {
		t.Errorf("environment %v, want %v", s.Process.Env, want)
	}
	if !slices.Contains(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: c.NetNS}) {
		t.Errorf("namespaces %v", s.Linux.Namespaces)
	}
	at := map[string]int{}
	for i, m := range s.Mounts {
		if _, twice := at[m.Destination]; twice {
			t.Errorf("two mounts at %s", m.Destination)
		}
		at[m.Destination] = i
	}
	if _, ok := at["/run"]; ok || s.Mounts[at["/dev/shm"]].Source != "/a" || at["/x"] > at["/x/y"] {
		t.Errorf("mounts %v", s.Mounts)
	}
	if o := s.Mounts[at["/x"]].Options; !slices.Equal(o, []string{"rbind", "ro", "rprivate"}) {
		t.Errorf("/x is mounted with %v", o)
	}
	if o := s.Mounts[at["/x/y"]].Options; !slices.Equal(o, []string{"rbind", "rw", "rslave"}) {
		t.Errorf("/x/y is mounted with %v", o)
	}

	c.Security = &corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost}}
	if _, err := build(t, c, ocispec.ImageConfig{}); !errors.Is(err, nodelet.ErrUnsupported) {
		t.Errorf("a profile of the host's answers %v", err)
	}
	c.Security = &corev1.SecurityContext{ProcMount: ptr(corev1.UnmaskedProcMount)}
	if _, err := build(t, c, ocispec.ImageConfig{}); !errors.Is(err, nodelet.ErrUnsupported) {
		t.Errorf("an unmasked /proc answers %v", err)
	}
}

func TestLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		request, limit, memory string
		shares                 uint64
		quota, bytes           int64 // 0: not limited
	}{
		"nothing":        {shares: 2},
		"request":        {request: "250m", shares: 256},
		"limit counts":   {limit: "1500m", shares: 1536, quota: 150_000},
		"both":           {request: "100m", limit: "2", memory: "64Mi", shares: 102, quota: 200_000, bytes: 64 << 20},
		"smallest quota": {request: "1m", limit: "1m", shares: 2, quota: 1000},
		"largest shares": {request: "1000", shares: 262144},
	} {
		r := corev1.ResourceRequirements{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
		for _, v := range []struct {
			list corev1.ResourceList
			name corev1.ResourceName
			text string
		}{{r.Requests, corev1.ResourceCPU, tc.request}, {r.Limits, corev1.ResourceCPU, tc.limit}, {r.Limits, corev1.ResourceMemory, tc.memory}} {
			if v.text != "" {
				v.list[v.name] = resource.MustParse(v.text)
			}
		}
		for _, swapCounted := range []bool{false, true} {
			cpu, memory := limits(r, swapCounted)
			if *cpu.Shares != tc.shares || (cpu.Quota != nil) != (tc.quota != 0) || cpu.Quota != nil && (*cpu.Quota != tc.quota || *cpu.Period != 100_000) {
				t.Errorf("%s: %+v", name, cpu)
			}
			if (memory != nil) != (tc.bytes != 0) || memory != nil && (*memory.Limit != tc.bytes || (memory.Swap != nil) != swapCounted) {
				t.Errorf("%s: %+v", name, memory)
			}
		}
	}
}

func TestResolveUser(t *testing.T) {
	a := accounts{
		users: []user.User{{Name: "root"}, {Name: "app", Uid: 1000, Gid: 100}},
		groups: []user.Group{
			{Name: "root"}, {Name: "users", Gid: 100}, {Name: "extra", Gid: 2000, List: []string{"app"}}, {Name: "wheel", Gid: 10, List: []string{"root"}},
		},
	}
	for name, tc := range map[string]struct {
		image string
		sec   *corev1.SecurityContext
		extra []int64
		want  specs.User
		fails bool
	}{
		"root":            {"", nil, nil, specs.User{AdditionalGids: []uint32{0, 10}}, false},
		"name":            {"app", nil, nil, specs.User{UID: 1000, GID: 100, AdditionalGids: []uint32{100, 2000}}, false},
		"number":          {"1000", nil, nil, specs.User{UID: 1000, GID: 100, AdditionalGids: []uint32{100, 2000}}, false},
		"unlisted number": {"77", nil, nil, specs.User{UID: 77, AdditionalGids: []uint32{0}}, false},
		"name and group":  {"app:extra", nil, nil, specs.User{UID: 1000, GID: 2000, AdditionalGids: []uint32{2000}}, false},
		"numbers":         {"5:6", nil, nil, specs.User{UID: 5, GID: 6, AdditionalGids: []uint32{6}}, false},
		"override": {"app:extra", &corev1.SecurityContext{RunAsUser: ptr[int64](5)}, []int64{9, 8},
			specs.User{UID: 5, AdditionalGids: []uint32{0, 8, 9}}, false},
		"group alone": {"app", &corev1.SecurityContext{RunAsGroup: ptr[int64](7)}, nil,
			specs.User{UID: 1000, GID: 7, AdditionalGids: []uint32{7, 2000}}, false},
		"unknown name":  {image: "eve", fails: true},
		"unknown group": {image: "app:eves", fails: true},
	} {
		got, err := a.resolve(tc.image, tc.sec, tc.extra)
		if (err != nil) != tc.fails || err == nil && (got.UID != tc.want.UID || got.GID != tc.want.GID || !slices.Equal(got.AdditionalGids, tc.want.AdditionalGids)) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, tc.want)
		}
	}
}
