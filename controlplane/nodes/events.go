package nodes

import (
	"context"
	"fmt"
	"hash/fnv"
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
		h := fnv.New64a()
		fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00%s", pod.UID, e.Type, e.Reason, e.Message, e.FieldPath)
		key := controlplane.Key{Resource: "events", Namespace: pod.Namespace, Name: fmt.Sprintf("%s.%016x", pod.Name, h.Sum64())}
		at := metav1.NewTime(time.Unix(0, e.TimeUnixNano))
		// Events are kept in memory only and bounded there; one that finds no room is dropped.
		_, _ = r.store.Commit(ctx, controlplane.Mutation{Key: key, Change: func(current controlplane.Object) (controlplane.Object, error) {
			if current != nil {
				next := current.(*corev1.Event).DeepCopy()
				next.Count++
				next.LastTimestamp = at
				return next, nil
			}
			return &corev1.Event{
				ObjectMeta: metav1.ObjectMeta{
					Name: key.Name, Namespace: key.Namespace, UID: types.UID(uuid.NewString()), CreationTimestamp: metav1.Now(),
				},
				InvolvedObject: corev1.ObjectReference{
					Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
					ResourceVersion: pod.ResourceVersion, FieldPath: e.FieldPath,
				},
				Type: e.Type, Reason: e.Reason, Message: e.Message, Count: 1,
				FirstTimestamp: at, LastTimestamp: at,
				Source:              corev1.EventSource{Component: component, Host: node},
				ReportingController: "swell.dev/" + component, ReportingInstance: node,
			}, nil
		}})
	}
}
