package nodes

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	nodev1 "swell.dev/swell/api/node/v1"
	"swell.dev/swell/controlplane"
)

// recorder turns what nodelets tell into core/v1 Events. One that repeats is counted up, not added: its
// name follows from what it says, so that the same event finds itself again.
type recorder struct{ store store }

func newRecorder(s store) *recorder { return &recorder{store: s} }

// Who observed what an event tells.
const (
	byNodelet      = "nodelet"
	byControlPlane = "controlplane"
)

func (r *recorder) record(ctx context.Context, pod *corev1.Pod, component, node string, in []*nodev1.Event) {
	for _, e := range in {
		key := controlplane.Key{Resource: "events", Namespace: pod.Namespace, Name: eventName(pod, e)}
		at := metav1.NewTime(time.Unix(0, e.TimeUnixNano))
		// Events are kept in memory only and bounded there; one that finds no room is dropped.
		_, _ = r.store.Commit(ctx, controlplane.Mutation{Key: key, Change: func(current controlplane.Object) (controlplane.Object, error) {
			if current != nil {
				next := *current.(*corev1.Event) // shallow: what is below isn't changed
				next.Count++
				next.LastTimestamp = at
				return &next, nil
			}
			return &corev1.Event{
				ObjectMeta: metav1.ObjectMeta{Name: key.Name, Namespace: key.Namespace, UID: eventUID(), CreationTimestamp: at},
				InvolvedObject: corev1.ObjectReference{
					Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
					ResourceVersion: pod.ResourceVersion, FieldPath: e.FieldPath,
				},
				Type: e.Type, Reason: e.Reason, Message: e.Message, Count: 1,
				FirstTimestamp: at, LastTimestamp: at,
				Source:              corev1.EventSource{Component: component, Host: node},
				ReportingController: reporting[component], ReportingInstance: node,
			}, nil
		}})
	}
}

var reporting = map[string]string{byNodelet: "swell.dev/" + byNodelet, byControlPlane: "swell.dev/" + byControlPlane}

// eventName is the same for what says the same of the same pod.
func eventName(pod *corev1.Pod, e *nodev1.Event) string {
	const prime = 1099511628211 // FNV-1a
	h := uint64(14695981039346656037)
	for _, s := range [...]string{string(pod.UID), e.Type, e.Reason, e.Message, e.FieldPath} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * prime
		}
		h *= prime // a zero byte between them
	}
	name := make([]byte, 0, len(pod.Name)+17)
	name = append(append(name, pod.Name...), '.')
	return string(hex.AppendEncode(name, binary.BigEndian.AppendUint64(nil, h)))
}

// eventUID is a random UUID. Nobody guesses at events, so a fast source will do.
func eventUID() types.UID {
	var id uuid.UUID
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 0x40 // version 4
	id[8] = id[8]&0x3f | 0x80 // of RFC 9562
	return types.UID(id.String())
}
