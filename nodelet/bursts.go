package nodelet

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"swell.dev/swell/api/v1alpha1"
)

// Bursts lets pods have more CPU than their size for a while; package reflex does.
type Bursts interface {
	// Set lets a pod burst, or changes what it may. It is called again after each change of the pod's size.
	Set(podUID string, allowed v1alpha1.Burst, rank int) error
	// Remove ends that. One that may not burst is no error.
	Remove(podUID string)
}

// Ranks of pods that want to burst where not all can: the lowest comes first.
const (
	RankCritical = iota // swell.dev/latency: critical
	RankDefault
	RankBestEffort // swell.dev/qos: best-effort
)

// BurstState is what a pod's owner sees of its bursts.
type BurstState struct {
	Allowed v1alpha1.Burst
	Left    time.Duration // of the budget
	Bursts  int64         // so far
	Memory  int64         // bytes beyond its size
}

// Bursting says that a pod has begun to burst, or with nil that it has come to rest.
func (n *Nodelet) Bursting(podUID string, s *BurstState) {
	n.mu.Lock()
	w := n.workers[podUID]
	n.mu.Unlock()
	if w != nil {
		w.post(inBursting{s})
	}
}

// burstWish is what a pod may at present. Pods that may not burst have none.
type burstWish struct {
	value string // of the annotation
	rank  int
	size  int // counts the changes of the pod's size
	runs  int // counts the starts of its containers, whose memory is guarded one by one
}

// burst answers the pod's present wish.
func (m *machine) burst() *burstWish {
	value, ok := m.a.Pod.Annotations[v1alpha1.AnnotationBurst]
	if !ok || !m.setUp || m.actuated == nil || m.isSlot() || m.stop != nil || m.removed {
		return nil
	}
	rank := RankDefault
	switch pod := m.a.Pod; {
	case pod.Annotations[v1alpha1.AnnotationLatency] == v1alpha1.LatencyCritical:
		rank = RankCritical
	case v1alpha1.QoS(pod) == v1alpha1.QoSBestEffort:
		rank = RankBestEffort
	}
	return &burstWish{value, rank, m.resized, m.runs}
}

// burstsMemory reports whether a pod may have more memory than its size.
func burstsMemory(pod *corev1.Pod) bool {
	allowed, err := v1alpha1.ParseBurst(pod.Annotations[v1alpha1.AnnotationBurst])
	return err == nil && allowed.MemoryBytes > 0
}

// bursts tells Bursts what the pod may, whenever that has changed. Telling may take as long as a resize that is
// under way, so it is done aside, the latest wish last. A pod that may burst is always told of, also if it ends to at
// once: it may have something from before.
type bursts struct {
	told *burstWish // belongs to the worker

	mu    sync.Mutex // orders the calls, and guards why
	why   string     // the pod's owner was told last, see inNoBursts
	wants sync.Mutex // guards want
	want  []*burstWish
}

func (w *worker) tellBursts() {
	wish := w.machine.burst()
	if wish == nil && w.bursts.told == nil || wish != nil && w.bursts.told != nil && *wish == *w.bursts.told {
		return
	}
	b := &w.bursts
	b.told = wish
	b.wants.Lock()
	if last := len(b.want) - 1; last >= 0 && wish != nil && b.want[last] != nil {
		b.want[last] = wish
	} else {
		b.want = append(b.want, wish)
	}
	b.wants.Unlock()
	w.begin(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.wants.Lock()
		if len(b.want) == 0 {
			b.wants.Unlock()
			return // told along with another
		}
		wish := b.want[0]
		b.want = b.want[1:]
		b.wants.Unlock()
		why := ""
		switch err := w.setBursts(wish); {
		case errors.Is(err, fs.ErrNotExist):
			return // it ends just now
		case err != nil:
			why = err.Error()
		}
		if why != b.why {
			b.why = why
			w.host.cfg.Logger.Info("what a pod is told of its bursts", "pod", w.uid, "unavailable", why)
			w.post(inNoBursts{why})
		}
	})
}

// errBurstsOff is the answer of a node that gives no bursts to anybody.
var errBurstsOff = errors.New("this node gives no bursts: it was started with --reflex=off")

func (w *worker) setBursts(wish *burstWish) error {
	to := w.host.cfg.Bursts
	switch {
	case wish == nil && to == nil:
		return nil
	case wish == nil:
		to.Remove(w.uid)
		return nil
	case to == nil:
		return errBurstsOff
	}
	allowed, err := v1alpha1.ParseBurst(wish.value)
	if err != nil {
		return err
	}
	return to.Set(w.uid, allowed, wish.rank)
}

// endBursts forgets a pod that has ended, once nothing else is told of it.
func (w *worker) endBursts() {
	if w.bursts.told != nil && w.host.cfg.Bursts != nil {
		w.host.cfg.Bursts.Remove(w.uid)
	}
}

// noBurstsNow tells the pod's owner once.
func (m *machine) noBurstsNow(why string) {
	if why != "" && why != m.noBursts {
		m.event(corev1.EventTypeWarning, "BurstUnavailable", "The pod stays at its size: "+why, nil)
	}
	m.noBursts = why
}

func noBurstsCondition(why string) corev1.PodCondition {
	return corev1.PodCondition{
		Type: v1alpha1.ConditionBursting, Status: corev1.ConditionFalse, Reason: "Unavailable", Message: "The pod stays at its size: " + why,
	}
}

// burstingCondition shows a burst apart from the pod's size.
func burstingCondition(s *BurstState) corev1.PodCondition {
	var up []string
	if s.Allowed.CPUMilli > 0 {
		up = append(up, resource.NewMilliQuantity(s.Allowed.CPUMilli, resource.DecimalSI).String()+" CPU")
	}
	if s.Allowed.MemoryBytes > 0 {
		up = append(up, resource.NewQuantity(s.Allowed.MemoryBytes, resource.BinarySI).String()+" of memory")
	}
	reason, memory := "Throttled", ""
	if s.Memory > 0 {
		reason = "MemoryPressure"
		memory = resource.NewQuantity(s.Memory, resource.BinarySI).String() + " of memory beyond its size, "
	}
	return corev1.PodCondition{
		Type: v1alpha1.ConditionBursting, Status: corev1.ConditionTrue, Reason: reason,
		Message: fmt.Sprintf("The pod has more than its size for a while: burst %d of up to %s, %s%s of its budget of %s left",
			s.Bursts, strings.Join(up, " and "), memory, s.Left.Round(time.Millisecond), s.Allowed.Budget),
	}
}
