package nodelet

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/api/v1alpha1"
)

// TestSegmentCountsSidecars meters what the pod holds at once, at its actuated sizes.
func TestSegmentCountsSidecars(t *testing.T) {
	sized := func(milli int64) corev1.ResourceRequirements {
		list := corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(milli, resource.DecimalSI), corev1.ResourceMemory: *resource.NewQuantity(milli<<20, resource.BinarySI)}
		return corev1.ResourceRequirements{Requests: list, Limits: list}
	}
	always := corev1.ContainerRestartPolicyAlways
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{
			{Name: "sidecar", RestartPolicy: &always, Resources: sized(100)},
			{Name: "init", Resources: sized(300)},
		},
		Containers: []corev1.Container{{Name: "main", Resources: sized(500)}},
	}}
	for main, want := range map[int64]int64{500: 600, 1000: 1100, 50: 400} {
		seg := segment(pod, "n", v1alpha1.Sizes{"main": sized(main)})
		if seg.CPUMilli != want || seg.MemoryBytes != want<<20 {
			t.Errorf("main at %dm: metered %dm, %d MiB; want %d", main, seg.CPUMilli, seg.MemoryBytes>>20, want)
		}
	}
	seg := segment(pod, "n", v1alpha1.Sizes{"main": sized(500), v1alpha1.WholePod: sized(2000)})
	if seg.CPUMilli != 2000 || seg.MemoryBytes != 2000<<20 {
		t.Errorf("a pod of 2 CPU as a whole: metered %dm, %d MiB", seg.CPUMilli, seg.MemoryBytes>>20)
	}
}

// fakeJournal has one open segment at most, and ends it as the real one does: not before its beginning.
type fakeJournal struct {
	Journal
	open   *usagev1.Segment
	closed []usagev1.Segment
	now    time.Time
}

func (j *fakeJournal) Start(template usagev1.Segment) error {
	template.Start = j.now
	j.open = &template
	return nil
}

func (j *fakeJournal) Stop(_ string, at time.Time) error {
	if j.open == nil {
		return nil
	}
	seg := *j.open
	if seg.End = at; at.Before(seg.Start) {
		seg.End = seg.Start
	}
	j.open, j.closed = nil, append(j.closed, seg)
	return nil
}

// TestVoid: what was begun for a container that never started isn't billed, and metering begins anew.
func TestVoid(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	j := &fakeJournal{now: began, open: &usagev1.Segment{Start: began}} // by a nodelet that was killed then
	m := &meter{journal: j}
	j.now = began.Add(10 * time.Second)
	for range 2 {
		if err := m.void("uid"); err != nil {
			t.Fatal(err)
		}
	}
	if len(j.closed) != 1 || !j.closed[0].End.Equal(began) {
		t.Errorf("closed are %+v", j.closed)
	}
	if err := m.set(usagev1.Segment{CPUMilli: 250}); err != nil || j.open != nil {
		t.Errorf("metered before anything runs: %+v, %v", j.open, err)
	}
	if err := m.start(); err != nil || j.open == nil || !j.open.Start.Equal(j.now) {
		t.Errorf("open is %+v, %v", j.open, err)
	}
}
