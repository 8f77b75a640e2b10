package nodes

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// account is what the hub counted.
type account struct {
	mu  sync.Mutex
	all []string
}

func (a *account) told(of controlplane.Owner, c *nodev1.ContainerHistory) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, fmt.Sprintf("%s/%s/%s/%s=%d", of.Namespace, of.Kind, of.Name, c.Name, c.Readings))
}

func (a *account) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := a.all
	a.all = nil
	slices.Sort(out)
	return out
}

func (n *fakeNodelet) history(instance, sequence uint64, again bool, uids ...string) {
	m := &nodev1.UsageHistory{Instance: instance, Sequence: sequence, Again: again}
	for _, uid := range uids {
		m.Pods = append(m.Pods, &nodev1.PodHistory{Uid: uid, Containers: []*nodev1.ContainerHistory{{Name: "main", Readings: uint32(sequence)}}})
	}
	n.send(&nodev1.FromNode{Message: &nodev1.FromNode_History{History: m}})
}

func (n *fakeNodelet) counted(sequence uint64) {
	n.t.Helper()
	if got := n.next().GetHistoryAck().GetSequence(); got != sequence {
		n.t.Fatalf("sequence %d is acknowledged, want %d", got, sequence)
	}
}

// TestHistoryIsCountedOnce: over sessions, lost acknowledgements, restarts of the nodelet and of the control plane.
func TestHistoryIsCountedOnce(t *testing.T) {
	account := &account{}
	labelled := podOn("a", "labelled")
	labelled.Labels = map[string]string{controlplane.LabelAppName: "shop"}
	w := newWorldWith(t, Config{Silence: time.Hour, UsageTold: account.told}, podOn("a", "mine"), labelled, podOn("b", "other"))
	n, _ := w.connect("a")
	want := func(all ...string) {
		t.Helper()
		if got := account.take(); !slices.Equal(got, all) {
			t.Errorf("counted %q, want %q", got, all)
		}
	}
	// Pods of other nodes and unknown ones don't count.
	n.history(1, 5, false, "uid-mine", "uid-labelled", "uid-other", "uid-gone")
	n.counted(5)
	want("default/App/shop/main=5", "default/Pod/mine/main=5")
	// Sent again, since the acknowledgement was lost; and what wasn't heard before.
	n, _ = w.connect("a")
	n.history(1, 5, true, "uid-mine")
	n.counted(5)
	n.history(1, 7, true, "uid-mine")
	n.counted(7)
	n.history(1, 6, true, "uid-mine") // late
	n.counted(6)
	want("default/Pod/mine/main=7")
	// The nodelet has restarted.
	n, _ = w.connect("a")
	n.history(2, 1, false, "uid-mine")
	n.counted(1)
	want("default/Pod/mine/main=1")
	// A node that was another control plane's: what comes again may have been counted by that one.
	b, _ := w.connect("b")
	b.history(3, 9, true, "uid-other")
	b.counted(9)
	want()
	b.history(3, 9, true, "uid-other")
	b.counted(9)
	b.history(3, 10, false, "uid-other")
	b.counted(10)
	want("default/Pod/other/main=10")
}

// TestHistoryIsRead: a hub that nobody asks about usage acknowledges it all the same.
func TestHistoryIsRead(t *testing.T) {
	w := newWorld(t, podOn("a", "mine"))
	n, _ := w.connect("a", reportOf("mine", corev1.PodRunning))
	n.history(1, 1, false, "uid-mine")
	n.counted(1)
}
