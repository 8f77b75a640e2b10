package nodelet

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// A checkpoint is written as protobuf is, by hand, as one is written for each pod that starts. A field that
// holds nothing isn't written, and one that isn't known is passed over. Numbers of fields never change.
const (
	cpStartTime = iota + 1
	cpBootID
	cpPodIP
	cpNetNS
	cpRemoved
	cpMetered
	cpTornDown
	cpInitialized
	cpStop      // message
	cpOutcome   // message
	cpActuated  // message, repeated
	cpCondition // corev1.PodCondition, repeated
	cpContainer // message, repeated
	cpBoost     // message, repeated
)

const stopDeadline = 1

const (
	outcomePhase = iota + 1
	outcomeReason
	outcomeMessage
	outcomeDisruption
	outcomeKept
)

const (
	actuatedName = iota + 1
	actuatedSizes
)

const (
	boostName = iota + 1
	boostCPU
)

const (
	ccName = iota + 1
	ccPhase
	ccAttempt
	ccNext
	ccSpecImage
	ccImageRef
	ccImageID
	ccImageDigest
	ccImageUser
	ccImageSize
	ccImageStopSignal
	ccStartedAt
	ccTerm // corev1.ContainerStateTerminated
	ccLast // the same
	ccStarted
	ccReady
	ccHooking
	ccForced
	ccNoBackoff
	ccPreStop
	ccPullDelay
	ccPullAt
	ccCrashDelay
	ccCrashAt
	ccUnboosted
)

// wire is a message that is written. Its first error stays.
type wire struct {
	b   []byte
	err error
}

func (w *wire) number(field protowire.Number, n int64) {
	if n != 0 {
		w.b = protowire.AppendVarint(protowire.AppendTag(w.b, field, protowire.VarintType), uint64(n))
	}
}

func (w *wire) flag(field protowire.Number, set bool) {
	if set {
		w.number(field, 1)
	}
}

func (w *wire) text(field protowire.Number, s string) {
	if s != "" {
		w.b = protowire.AppendString(protowire.AppendTag(w.b, field, protowire.BytesType), s)
	}
}

// time writes seconds of Unix time, and nanoseconds; a time that isn't set is none.
func (w *wire) time(field protowire.Number, t time.Time) {
	if !t.IsZero() {
		var at [2 * binary.MaxVarintLen64]byte
		w.message(field, binary.AppendVarint(binary.AppendVarint(at[:0], t.Unix()), int64(t.Nanosecond())))
	}
}

// message writes one also where it is empty.
func (w *wire) message(field protowire.Number, content []byte) {
	w.b = protowire.AppendBytes(protowire.AppendTag(w.b, field, protowire.BytesType), content)
}

func (w *wire) object(field protowire.Number, o object) {
	w.b = protowire.AppendTag(w.b, field, protowire.BytesType)
	var err error
	if w.b, err = appendObject(w.b, o); err != nil && w.err == nil {
		w.err = err
	}
}

// object is one of Kubernetes' types.
type object interface {
	Size() int
	MarshalToSizedBuffer(b []byte) (int, error)
}

// appendObject appends an object with its length before.
func appendObject(b []byte, o object) ([]byte, error) {
	size := o.Size()
	b = binary.AppendUvarint(b, uint64(size))
	b = slices.Grow(b, size)
	whole := b[:len(b)+size]
	_, err := o.MarshalToSizedBuffer(whole[len(b):])
	return whole, err
}

func (cp *checkpoint) marshal() ([]byte, error) {
	w := wire{b: make([]byte, 0, 1024)}
	w.time(cpStartTime, cp.StartTime)
	w.text(cpBootID, cp.BootID)
	w.text(cpPodIP, cp.PodIP)
	w.text(cpNetNS, cp.NetNS)
	w.flag(cpRemoved, cp.Removed)
	w.flag(cpMetered, cp.Metered)
	w.flag(cpTornDown, cp.TornDown)
	w.flag(cpInitialized, cp.Initialized)
	if cp.Stop != nil {
		var in wire
		in.time(stopDeadline, cp.Stop.Deadline)
		w.message(cpStop, in.b)
	}
	if o := cp.Outcome; o != nil {
		var in wire
		in.text(outcomePhase, string(o.Phase))
		in.text(outcomeReason, o.Reason)
		in.text(outcomeMessage, o.Message)
		in.flag(outcomeDisruption, o.Disruption)
		in.flag(outcomeKept, o.Kept)
		w.message(cpOutcome, in.b)
	}
	in := wire{b: make([]byte, 0, 512)}
	for _, name := range sortedKeys(cp.Actuated) {
		sizes := cp.Actuated[name]
		in.b = in.b[:0]
		in.text(actuatedName, name)
		in.object(actuatedSizes, &sizes)
		w.message(cpActuated, in.b)
	}
	for _, name := range sortedKeys(cp.Boosts) {
		in.b = in.b[:0]
		in.text(boostName, name)
		in.number(boostCPU, cp.Boosts[name])
		w.message(cpBoost, in.b)
	}
	for i := range cp.Conditions {
		w.object(cpCondition, &cp.Conditions[i])
	}
	for i := range cp.Containers {
		in.b = in.b[:0]
		in.container(&cp.Containers[i])
		w.message(cpContainer, in.b)
	}
	if w.err == nil {
		w.err = in.err
	}
	return bytes.Clone(w.b), w.err // it stays for as long as the pod does
}

func (w *wire) container(c *containerCheckpoint) {
	w.text(ccName, c.Name)
	w.number(ccPhase, int64(c.Phase))
	w.number(ccAttempt, int64(c.Attempt))
	w.number(ccNext, int64(c.Next))
	w.text(ccSpecImage, c.SpecImage)
	w.text(ccImageRef, c.Image.Ref)
	w.text(ccImageID, c.Image.ID)
	w.text(ccImageDigest, c.Image.Digest)
	w.text(ccImageUser, c.Image.User)
	w.number(ccImageSize, c.Image.Size)
	w.text(ccImageStopSignal, c.Image.StopSignal)
	w.time(ccStartedAt, c.StartedAt)
	if c.Term != nil {
		w.object(ccTerm, c.Term)
	}
	if c.Last != nil {
		w.object(ccLast, c.Last)
	}
	w.flag(ccStarted, c.Started)
	w.flag(ccReady, c.Ready)
	w.flag(ccHooking, c.Hooking)
	w.flag(ccForced, c.Forced)
	w.flag(ccNoBackoff, c.NoBackoff)
	w.flag(ccPreStop, c.PreStop)
	w.number(ccPullDelay, int64(c.Pull.Delay))
	w.time(ccPullAt, c.Pull.At)
	w.number(ccCrashDelay, int64(c.Crash.Delay))
	w.time(ccCrashAt, c.Crash.At)
	w.flag(ccUnboosted, c.Unboosted)
}
