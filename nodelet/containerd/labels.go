package containerd

import (
	"strconv"
	"time"

	"swell.dev/swell/nodelet"
)

// Labels hold what a nodelet that starts again must know of a container.
const (
	labelPodUID    = "swell.dev/pod-uid"
	labelPodName   = "swell.dev/pod-name"
	labelNamespace = "swell.dev/namespace"
	labelName      = "swell.dev/container"
	labelAttempt   = "swell.dev/attempt"
	labelLogPath   = "swell.dev/log-path"
	labelCgroup    = "swell.dev/cgroup"
	labelImageRef  = "swell.dev/image-ref"
	labelImageID   = "swell.dev/image-id"
	labelDigest    = "swell.dev/image-digest"
	labelSignal    = "swell.dev/image-stop-signal"
	labelHeld      = "swell.dev/held"       // it was made ahead of its pod, as this
	labelStarted   = "swell.dev/started-at" // written just after the start
	labelEnd       = "swell.dev/end"        // how it ended, written before its task is deleted
	labelLost      = "swell.dev/lost-at"    // when its task was found missing: the host restarted, or the shim was killed
)

func labelsOf(c nodelet.Container) map[string]string {
	labels := map[string]string{
		labelPodUID:    c.PodUID,
		labelPodName:   c.PodName,
		labelNamespace: c.Namespace,
		labelName:      c.Name,
		labelAttempt:   strconv.FormatInt(int64(c.Attempt), 10),
		labelLogPath:   c.LogPath,
		labelCgroup:    c.CgroupPath,
		labelImageRef:  c.Image.Ref,
		labelImageID:   c.Image.ID,
		labelDigest:    c.Image.Digest,
		labelSignal:    c.Image.StopSignal,
	}
	if c.Held != "" {
		labels[labelHeld] = c.Held
	}
	return labels
}

func stateOf(id string, labels map[string]string, created time.Time) nodelet.ContainerState {
	attempt, _ := strconv.ParseInt(labels[labelAttempt], 10, 32)
	return nodelet.ContainerState{
		ID:        id,
		Name:      labels[labelName],
		PodUID:    labels[labelPodUID],
		PodName:   labels[labelPodName],
		Namespace: labels[labelNamespace],
		Attempt:   int32(attempt),
		Image:     nodelet.Image{Ref: labels[labelImageRef], ID: labels[labelImageID], Digest: labels[labelDigest], StopSignal: labels[labelSignal]},
		CreatedAt: created,
		StartedAt: timeOf(labels[labelStarted]),
		LogPath:   labels[labelLogPath],
	}
}

func timeOf(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

func text(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
