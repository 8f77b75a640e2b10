package podcgroup

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/cgroups"
	"swell.dev/swell/internal/oomscore"
	"swell.dev/swell/nodelet"
)

func TestMemoryQoS(t *testing.T) {
	const (
		guaranteed, burstable, best = corev1.PodQOSGuaranteed, corev1.PodQOSBurstable, corev1.PodQOSBestEffort
		node                        = 1000 * mib
	)
	on := MemoryQoS{Throttling: 0.9, Reservation: true, Allocatable: node}
	for _, c := range []struct {
		name           string
		qos            MemoryQoS
		class          corev1.PodQOSClass
		request, limit string
		want           cgroups.MemoryQoS
	}{
		{name: "off", class: burstable, request: "100Mi", limit: "200Mi"},
		{name: "throttling alone", qos: MemoryQoS{Throttling: 0.9}, class: burstable, request: "100Mi", limit: "200Mi", want: cgroups.MemoryQoS{High: 190 * mib}},
		{name: "reservation alone", qos: MemoryQoS{Reservation: true}, class: burstable, request: "100Mi", limit: "200Mi", want: cgroups.MemoryQoS{Low: 100 * mib}},
		{name: "guaranteed", qos: on, class: guaranteed, request: "100Mi", limit: "100Mi", want: cgroups.MemoryQoS{Min: 100 * mib}},
		{name: "the limit counts as the request", qos: on, class: guaranteed, limit: "100Mi", want: cgroups.MemoryQoS{Min: 100 * mib}},
		{name: "burstable", qos: on, class: burstable, request: "100Mi", limit: "200Mi", want: cgroups.MemoryQoS{Low: 100 * mib, High: 190 * mib}},
		{name: "request and limit alike", qos: on, class: burstable, request: "100Mi", limit: "100Mi", want: cgroups.MemoryQoS{Low: 100 * mib}},
		{name: "no limit", qos: on, class: burstable, request: "100Mi", want: cgroups.MemoryQoS{Low: 100 * mib, High: 910 * mib}},
		{name: "nothing given", qos: on, class: best, want: cgroups.MemoryQoS{High: 900 * mib}},
		{name: "half way", qos: MemoryQoS{Throttling: 0.5}, class: burstable, request: "100Mi", limit: "201Mi", want: cgroups.MemoryQoS{High: 150*mib + mib/2}},
	} {
		size := nodelet.PodSize{Class: c.class, Containers: map[string]corev1.ResourceRequirements{"a": resources("", "", c.request, c.limit)}}
		if got := c.qos.of(size, "a"); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
	sum := on.ofPod(nodelet.PodSize{Class: burstable, Containers: map[string]corev1.ResourceRequirements{
		"a": resources("", "", "100Mi", "200Mi"), "b": resources("", "", "50Mi", ""),
	}})
	if want := (cgroups.MemoryQoS{Low: 150 * mib}); sum != want {
		t.Errorf("a pod has %+v, want %+v", sum, want)
	}
	// A pod that says what it has as a whole is slowed down as a whole, and so are those that have its limit.
	shared := nodelet.PodSize{Class: burstable, Pod: ptr(resources("", "", "200Mi", "400Mi")), Shared: true, Containers: map[string]corev1.ResourceRequirements{
		"a": resources("", "", "100Mi", "200Mi"), "b": resources("", "", "50Mi", ""), "c": {},
	}}
	for got, want := range map[cgroups.MemoryQoS]cgroups.MemoryQoS{
		on.ofPod(shared):   {Low: 200 * mib, High: 380 * mib},
		on.of(shared, "a"): {Low: 100 * mib, High: 190 * mib},
		on.of(shared, "b"): {Low: 50 * mib},
		on.of(shared, "c"): {},
	} {
		if got != want {
			t.Errorf("a pod with resources of its own: got %+v, want %+v", got, want)
		}
	}
	for _, factor := range []float64{-0.1, 1.1} {
		if err := (MemoryQoS{Throttling: factor}).Validate(); err == nil {
			t.Errorf("a factor of %g was taken", factor)
		}
	}
}

// What is protected stands in the container's group, as a sum in its pod's, and as a sum of pods in the tree's, also
// for a nodelet that starts anew.
func TestMemoryIsProtected(t *testing.T) {
	tree, h := testTree(t)
	if h.Version() == 1 {
		if got := tree.Unified(nodelet.PodSize{Class: corev1.PodQOSGuaranteed, Containers: map[string]corev1.ResourceRequirements{"a": resources("", "", "64Mi", "64Mi")}}, "a"); got != nil {
			t.Errorf("version 1 has %v", got)
		}
		t.Skip("memory.min and memory.low need cgroup v2")
	}
	tree.qos = MemoryQoS{Throttling: 0.9, Reservation: true, Allocatable: 1 << 30}
	size := func(class corev1.PodQOSClass, r corev1.ResourceRequirements) nodelet.PodSize {
		return nodelet.PodSize{Class: class, Containers: map[string]corev1.ResourceRequirements{"a": r}}
	}
	want := func(path string, min, low, high int64) {
		t.Helper()
		l, err := h.Group(path).Read()
		must(t, err)
		if w := (cgroups.MemoryQoS{Min: min * mib, Low: low * mib, High: high * mib}); l.MemoryQoS != w {
			t.Errorf("%s: %+v, want %+v", path, l.MemoryQoS, w)
		}
	}
	guaranteed, burstable := resources("1", "1", "64Mi", "64Mi"), resources("", "", "32Mi", "132Mi")
	must(t, tree.EnsurePod("g", size(corev1.PodQOSGuaranteed, guaranteed)))
	start(t, tree, h, "g", "a", guaranteed, 1)
	must(t, tree.EnsurePod("b", size(corev1.PodQOSBurstable, burstable)))
	start(t, tree, h, "b", "a", burstable, 1)
	must(t, tree.EnsurePod("b", size(corev1.PodQOSBurstable, burstable))) // the container's group is there now
	want(tree.parent.Path(), 64, 32, 0)
	want(tree.pod("b").Path(), 0, 32, 0)
	want(tree.ContainerPath("b", "a"), 0, 32, 122)
	if got := tree.Unified(size(corev1.PodQOSBurstable, burstable), "a"); got["memory.low"] != fmt.Sprint(32*mib) || got["memory.high"] != fmt.Sprint(122*mib) ||
		got["memory.oom.group"] != "1" {
		t.Errorf("a container is made with %v", got)
	}
	for file, value := range tree.Unified(size(corev1.PodQOSBurstable, burstable), "a") { // as a runtime does
		must(t, os.WriteFile(filepath.Join("/sys/fs/cgroup", tree.ContainerPath("b", "a"), file), []byte(value), 0))
	}

	_, err := tree.Resize(t.Context(), "b", size(corev1.PodQOSBurstable, resources("", "", "64Mi", "264Mi")))
	must(t, err)
	want(tree.parent.Path(), 64, 64, 0)
	want(tree.pod("b").Path(), 0, 64, 0)
	want(tree.ContainerPath("b", "a"), 0, 64, 244)
	_, err = tree.Resize(t.Context(), "g", size(corev1.PodQOSGuaranteed, resources("1", "1", "32Mi", "32Mi")))
	must(t, err)
	want(tree.parent.Path(), 32, 64, 0)

	again, err := New(h, tree.parent.Path(), tree.qos)
	must(t, err)
	want(tree.parent.Path(), 32, 64, 0)
	must(t, again.RemovePod("b"))
	want(tree.parent.Path(), 32, 0, 0)
	off, err := New(h, tree.parent.Path(), MemoryQoS{})
	must(t, err)
	must(t, off.EnsurePod("g", size(corev1.PodQOSGuaranteed, guaranteed)))
	want(tree.pod("g").Path(), 0, 0, 0)
	want(tree.parent.Path(), 0, 0, 0)
}

// Another request of memory is another oom_score_adj, also of processes that run; one that chose its own keeps it.
func TestResizeMovesOOMScores(t *testing.T) {
	tree, h := testTree(t)
	r := resources("", "", "32Mi", "64Mi")
	of := func(score int) nodelet.PodSize {
		return nodelet.PodSize{Class: corev1.PodQOSBurstable, Containers: map[string]corev1.ResourceRequirements{"a": r}, OOMScores: map[string]int{"a": score}}
	}
	must(t, tree.EnsurePod("u", of(900)))
	own, err := oomscore.Of(os.Getpid())
	must(t, err)
	scores := map[int]int{}
	for _, score := range []int{900, 950} {
		pid := start(t, tree, h, "u", "a", r, 1).Process.Pid
		must(t, os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), fmt.Append(nil, score), 0))
		scores[pid] = score
	}
	want := func(moved int) {
		t.Helper()
		for pid, score := range maps.All(scores) {
			if score == 900 {
				score = moved
			}
			if got, err := oomscore.Of(pid); got != score || err != nil {
				t.Errorf("a process of %d has %d, want %d: %v", scores[pid], got, score, err)
			}
		}
	}
	for _, score := range []int{930, 980, max(own, 700)} {
		_, err := tree.Resize(t.Context(), "u", of(score))
		must(t, err)
		want(score)
	}
	if _, err := tree.Resize(t.Context(), "u", of(2000)); err == nil || !strings.Contains(err.Error(), "oom_score_adj 2000") {
		t.Errorf("a score of 2000: %v", err)
	}
}
