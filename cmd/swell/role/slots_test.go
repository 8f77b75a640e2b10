package role

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"swell.dev/swell/internal/kernel"
	"swell.dev/swell/internal/ociimage"
	"swell.dev/swell/nodelet"
)

const (
	slotImage   = "slots.example/busybox:1"
	placeholder = "placeholder-5c1d"
	slotWithin  = time.Minute
)

// slotHost is a nodelet on this host, with real containers and without a control plane.
type slotHost struct {
	*host
	t       *testing.T
	cfg     nodeletConfig
	dir     *dataDir
	nodelet *nodelet.Nodelet
}

func newSlotHost(t *testing.T) *slotHost {
	if os.Geteuid() != 0 {
		t.Skip("containers need root")
	}
	img, err := ociimage.Busybox()
	if err != nil {
		t.Skip(err)
	}
	bin, err := filepath.Abs("../../../bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "swell-hold")); err != nil {
		t.Skip("run `make` first: ", err)
	}
	h := &slotHost{t: t, cfg: nodeletConfig{NodeName: "slots", NodeIP: "192.0.2.9", BinDir: bin}}
	if h.dir, err = openDataDir(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.destroy)
	h.start()
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := ociimage.WriteArchive(archive, slotImage, img); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := h.images.Import(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *slotHost) start() {
	h.t.Helper()
	log := slog.New(slog.DiscardHandler)
	var err error
	if h.host, err = openHost(context.Background(), h.dir, &h.cfg, log); err != nil {
		h.t.Fatal(err)
	}
	if h.nodelet, err = nodelet.New(nodelet.Config{
		NodeName: h.cfg.NodeName, HostIP: h.cfg.NodeIP, DataDir: h.dir.join("nodelet"), Runtime: h.runtime, Images: h.images,
		Network: h.network, Volumes: h.volumes, Cgroups: h.cgroups, Journal: h.journal, Logger: log,
	}); err == nil {
		err = h.nodelet.Start(context.Background())
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// stop ends the nodelet with whatever it is at, and leaves the host as it is.
func (h *slotHost) stop() {
	if err := errors.Join(h.nodelet.Close(), h.host.close()); err != nil {
		h.t.Error(err)
	}
}

func (h *slotHost) destroy() {
	ctx, cancel := context.WithTimeout(context.Background(), slotWithin)
	defer cancel()
	h.stop()
	if err := down(ctx, h.dir, &h.cfg, slog.New(slog.DiscardHandler)); err != nil {
		h.t.Error(err)
	}
	h.dir.close()
}

func (h *slotHost) until(what string, holds func() bool) {
	h.t.Helper()
	limit := time.NewTimer(slotWithin)
	defer limit.Stop()
	for !holds() {
		select {
		case <-h.nodelet.Changed():
		case <-limit.C:
			h.t.Fatalf("still not so: %s; slots %v, pods %v", what, h.nodelet.Slots(), h.nodelet.Reports())
		}
	}
}

func (h *slotHost) slot(pod *corev1.Pod, depth nodelet.SlotDepth) {
	h.t.Helper()
	h.nodelet.Assign(nodelet.Assignment{Pod: pod, Slot: depth})
	h.until("the slot is ready", func() bool {
		return slices.Contains(h.nodelet.Slots(), nodelet.SlotReport{UID: string(pod.UID), Depth: depth})
	})
}

func (h *slotHost) running(uid types.UID) {
	h.t.Helper()
	h.until("the pod runs", func() bool {
		return slices.ContainsFunc(h.nodelet.Reports(), func(r nodelet.Report) bool {
			return r.UID == string(uid) && r.Status.Phase == corev1.PodRunning
		})
	})
}

// exec answers what a command in a pod's container says.
func (h *slotHost) exec(uid types.UID, script string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), slotWithin)
	defer cancel()
	var out strings.Builder
	p, err := h.runtime.Exec(ctx, nodelet.ContainerID(string(uid), "main", 0), nodelet.Exec{Command: []string{"sh", "-c", script}, Stdout: &out, Stderr: &out})
	if err == nil {
		_, err = p.Wait(ctx)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return out.String()
}

// slotPod is a template as a slot has it.
func slotPod(uid string) *corev1.Pod {
	pod := &corev1.Pod{}
	pod.Namespace, pod.Name, pod.UID = "shop", placeholder, types.UID(uid)
	pod.Labels, pod.Annotations = map[string]string{"app": placeholder}, map[string]string{"note": placeholder}
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	pod.Spec.Containers = []corev1.Container{{
		Name: "main", Image: slotImage, ImagePullPolicy: corev1.PullNever, Command: []string{"sleep", "100000"},
		Env: []corev1.EnvVar{
			{Name: "NAME", ValueFrom: field("metadata.name")}, {Name: "APP", ValueFrom: field("metadata.labels['app']")},
			{Name: "IP", ValueFrom: field("status.podIP")}, {Name: "MODE", Value: placeholder},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: "info", MountPath: "/info"}},
		Resources:    slotSize("250m", "64Mi"),
	}}
	info := corev1.Volume{Name: "info"}
	info.DownwardAPI = &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
		{Path: "name", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}},
		{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
		{Path: "annotations", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations"}},
	}}
	pod.Spec.Volumes = []corev1.Volume{info}
	return pod
}

func slotSize(cpu, memory string) corev1.ResourceRequirements {
	size := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	return corev1.ResourceRequirements{Requests: size, Limits: size}
}

// TestTakenSlotIsItsPodsAlone: a pod that takes a slot shows its own name, labels, environment and limits, and
// nothing of what the slot was made from; and it is metered from then on.
func TestTakenSlotIsItsPodsAlone(t *testing.T) {
	h := newSlotHost(t)
	defer func() { h.t = t }()
	for name, change := range map[string]func(*corev1.Pod){
		"fits":    func(*corev1.Pod) {},
		"larger":  func(p *corev1.Pod) { p.Spec.Containers[0].Resources = slotSize("500m", "128Mi") },
		"differs": func(p *corev1.Pod) { p.Spec.Containers[0].WorkingDir = "/tmp" },
	} {
		for _, depth := range []nodelet.SlotDepth{nodelet.SlotContainer, nodelet.SlotSandbox, nodelet.SlotCapacity} {
			t.Run(fmt.Sprint(name, " ", depth), func(t *testing.T) {
				h.t = t
				uid := types.UID(fmt.Sprintf("%s-%d", name, depth))
				h.slot(slotPod(string(uid)), depth)
				if open := h.journal.Open(); len(open) > 0 {
					t.Errorf("a slot is metered: %v", open)
				}
				taken := time.Now()
				pod := slotPod(string(uid))
				pod.Name, pod.Spec.Hostname = "web-1", "www"
				pod.Labels, pod.Annotations = map[string]string{"app": "web"}, map[string]string{"note": "mine"}
				pod.Spec.Containers[0].Env[3].Value = "production"
				change(pod)
				h.nodelet.Assign(nodelet.Assignment{Pod: pod})
				h.running(uid)
				h.isItself(pod)
				open := h.journal.Open()
				if len(open) != 1 || open[0].Pod != "web-1" || open[0].Labels["app"] != "web" || open[0].Start.Before(taken.Add(-time.Second)) {
					t.Errorf("metered is %+v, taken at %v", open, taken)
				}
				h.nodelet.Remove(string(uid))
				h.until("nothing of the pod is left", func() bool { return len(h.left()) == 0 })
			})
		}
	}
}

func (h *slotHost) isItself(pod *corev1.Pod) {
	t := h.t
	t.Helper()
	ip := h.exec(pod.UID, "ip -4 addr show eth0 2>/dev/null | awk '/inet/ {sub(\"/.*\", \"\", $2); print $2}'")
	ip = strings.TrimSpace(ip)
	want := "www www NAME=web-1 APP=web MODE=production HOSTNAME=www web-1 app=\"web\" note=\"mine\""
	got := h.exec(pod.UID, `echo $(hostname) $(cat /etc/hostname) $(tr '\0' '\n' < /proc/1/environ | grep -E '^(NAME)=') $(tr '\0' '\n' < /proc/1/environ | grep -E '^(APP)=') `+
		`$(tr '\0' '\n' < /proc/1/environ | grep -E '^(MODE)=') $(tr '\0' '\n' < /proc/1/environ | grep -E '^(HOSTNAME)=') $(cat /info/name /info/labels) $(cat /info/annotations)`)
	if got = strings.TrimSpace(strings.Replace(got, "web-1app", "web-1 app", 1)); got != want {
		t.Errorf("it shows\n%s\nwant\n%s", got, want)
	}
	everything := h.exec(pod.UID, "cat /etc/hosts /proc/1/environ /proc/1/cmdline /proc/self/mountinfo; env; hostname; ls -laR /etc /info /dev; grep -r . /etc /info")
	if strings.Contains(everything, placeholder) {
		t.Errorf("something of the slot is seen:\n%s", everything)
	}
	if !strings.Contains(everything, "\twww\n") || ip != "" && !strings.Contains(everything, "IP="+ip) {
		t.Errorf("its own name or address (%s) isn't in\n%s", ip, everything)
	}
	c, err := kernel.Find(string(pod.UID), "main")
	if err != nil {
		t.Fatal(err)
	}
	cpu, memory, err := c.Limits()
	limits := pod.Spec.Containers[0].Resources.Limits
	if err != nil || cpu != limits.Cpu().MilliValue() || memory != limits.Memory().Value() {
		t.Errorf("the kernel holds %dm and %d bytes, %v", cpu, memory, err)
	}
	logs, err := os.ReadDir(h.dir.join("nodelet", "logs"))
	if err != nil || len(logs) != 1 || strings.Contains(logs[0].Name(), placeholder) {
		t.Errorf("folders of logs are %v, %v", logs, err)
	}
}

// left names what is on the host of any pod or slot.
func (h *slotHost) left() (parts []string) {
	h.t.Helper()
	ctx := h.t.Context()
	containers, err := h.runtime.List(ctx)
	for _, c := range containers {
		parts = append(parts, "container "+c.ID)
	}
	networks, err2 := h.network.List(ctx)
	volumes, err3 := h.volumes.List(ctx)
	groups, err4 := h.cgroups.List()
	if err := errors.Join(err, err2, err3, err4); err != nil {
		h.t.Fatal(err)
	}
	parts = append(parts, slices.Concat(networks, volumes, groups)...)
	for _, dir := range []string{h.dir.join("nodelet", "pods"), h.dir.join("nodelet", "logs"), h.dir.join("containerd", "gates"), filepath.Join(runDir(h.dir), "netns")} {
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			h.t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() || !strings.Contains(dir, "gates") { // gates are made from a file beside them
				parts = append(parts, filepath.Join(dir, e.Name()))
			}
		}
	}
	return parts
}

// TestKilledWithSlots: what a killed nodelet had made ready is kept, and goes where nobody wants it any more.
func TestKilledWithSlots(t *testing.T) {
	h := newSlotHost(t)
	for uid, depth := range map[string]nodelet.SlotDepth{"u1": nodelet.SlotContainer, "u2": nodelet.SlotContainer, "u3": nodelet.SlotSandbox} {
		h.slot(slotPod(uid), depth)
	}
	h.nodelet.Assign(nodelet.Assignment{Pod: slotPod("u4"), Slot: nodelet.SlotContainer}) // half made
	h.stop()
	h.start()
	taken := slotPod("u1")
	taken.Name, taken.Spec.Containers[0].Env = "web-1", nil
	h.nodelet.Sync([]nodelet.Assignment{{Pod: taken}})
	h.running("u1")
	if out := h.exec("u1", "cat /proc/1/environ; hostname"); strings.Contains(out, placeholder) || !strings.Contains(out, "web-1\n") {
		t.Errorf("it shows %q", out)
	}
	h.nodelet.Remove("u1")
	h.until("nothing is left", func() bool { return len(h.left()) == 0 })
}
