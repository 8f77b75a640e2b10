package containerd

import (
	"reflect"
	"testing"
	"time"

	"swell.dev/swell/nodelet"
)

// TestLabels: a nodelet that starts again knows of a container what the one before it did.
func TestLabels(t *testing.T) {
	c := nodelet.Container{
		ID: "id", Name: "main", PodUID: "uid", PodName: "pod", Namespace: "ns", Attempt: 3, LogPath: "/log", CgroupPath: "/pods/uid/main",
		Image: nodelet.Image{Ref: "example.com/app:1", ID: "sha256:1", Digest: "sha256:2", StopSignal: "SIGUSR1"},
	}
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := nodelet.ContainerState{
		ID: "id", Name: "main", PodUID: "uid", PodName: "pod", Namespace: "ns", Attempt: 3, LogPath: "/log", CreatedAt: created, Image: c.Image,
	}
	if got := stateOf("id", labelsOf(c), created); !reflect.DeepEqual(got, want) {
		t.Errorf("read back as %+v, not %+v", got, want)
	}
}
