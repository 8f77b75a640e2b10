package nodelet

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
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

func (w *wire) object(field protowire.Number, o interface{ Marshal() ([]byte, error) }) {
	raw, err := o.Marshal()
	if err != nil && w.err == nil {
		w.err = err
	}
	w.message(field, raw)
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
}

// field is one that was read: a number or bytes.
type field struct {
	number protowire.Number
	n      int64
	bytes  []byte
}

func (f field) flag() bool   { return f.n != 0 }
func (f field) text() string { return string(f.bytes) }

func (f field) time() time.Time {
	sec, size := binary.Varint(f.bytes)
	nsec, _ := binary.Varint(f.bytes[max(size, 0):])
	return time.Unix(sec, nsec).UTC()
}

func (f field) int32() int32 { return int32(min(max(f.n, math.MinInt32), math.MaxInt32)) }

func eachField(b []byte, visit func(f field) error) error {
	for len(b) > 0 {
		number, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		f := field{number: number}
		switch kind {
		case protowire.VarintType:
			var n uint64
			n, size = protowire.ConsumeVarint(b)
			f.n = int64(n)
		case protowire.BytesType:
			f.bytes, size = protowire.ConsumeBytes(b)
		default:
			return errDamaged
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		b = b[size:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

func (cp *checkpoint) unmarshal(b []byte) error {
	return eachField(b, func(f field) error {
		switch f.number {
		case cpStartTime:
			cp.StartTime = f.time()
		case cpBootID:
			cp.BootID = f.text()
		case cpPodIP:
			cp.PodIP = f.text()
		case cpNetNS:
			cp.NetNS = f.text()
		case cpRemoved:
			cp.Removed = f.flag()
		case cpMetered:
			cp.Metered = f.flag()
		case cpTornDown:
			cp.TornDown = f.flag()
		case cpInitialized:
			cp.Initialized = f.flag()
		case cpStop:
			cp.Stop = new(podStop)
			return eachField(f.bytes, func(f field) error {
				if f.number == stopDeadline {
					cp.Stop.Deadline = f.time()
				}
				return nil
			})
		case cpOutcome:
			cp.Outcome = new(outcome)
			return cp.Outcome.unmarshal(f.bytes)
		case cpActuated:
			return cp.addActuated(f.bytes)
		case cpCondition:
			cp.Conditions = append(cp.Conditions, corev1.PodCondition{})
			return cp.Conditions[len(cp.Conditions)-1].Unmarshal(f.bytes)
		case cpContainer:
			cp.Containers = append(cp.Containers, containerCheckpoint{})
			return cp.Containers[len(cp.Containers)-1].unmarshal(f.bytes)
		}
		return nil
	})
}

func (o *outcome) unmarshal(b []byte) error {
	return eachField(b, func(f field) error {
		switch f.number {
		case outcomePhase:
			o.Phase = corev1.PodPhase(f.text())
		case outcomeReason:
			o.Reason = f.text()
		case outcomeMessage:
			o.Message = f.text()
		case outcomeDisruption:
			o.Disruption = f.flag()
		case outcomeKept:
			o.Kept = f.flag()
		}
		return nil
	})
}

func (cp *checkpoint) addActuated(b []byte) error {
	var name string
	var sizes corev1.ResourceRequirements
	err := eachField(b, func(f field) error {
		switch f.number {
		case actuatedName:
			name = f.text()
		case actuatedSizes:
			return sizes.Unmarshal(f.bytes)
		}
		return nil
	})
	if cp.Actuated == nil {
		cp.Actuated = map[string]corev1.ResourceRequirements{}
	}
	cp.Actuated[name] = sizes
	return err
}

func (c *containerCheckpoint) unmarshal(b []byte) error {
	return eachField(b, func(f field) error {
		switch f.number {
		case ccName:
			c.Name = f.text()
		case ccPhase:
			c.Phase = phase(f.n)
		case ccAttempt:
			c.Attempt = f.int32()
		case ccNext:
			c.Next = f.int32()
		case ccSpecImage:
			c.SpecImage = f.text()
		case ccImageRef:
			c.Image.Ref = f.text()
		case ccImageID:
			c.Image.ID = f.text()
		case ccImageDigest:
			c.Image.Digest = f.text()
		case ccImageUser:
			c.Image.User = f.text()
		case ccImageSize:
			c.Image.Size = f.n
		case ccImageStopSignal:
			c.Image.StopSignal = f.text()
		case ccStartedAt:
			c.StartedAt = f.time()
		case ccTerm:
			c.Term = new(corev1.ContainerStateTerminated)
			return c.Term.Unmarshal(f.bytes)
		case ccLast:
			c.Last = new(corev1.ContainerStateTerminated)
			return c.Last.Unmarshal(f.bytes)
		case ccStarted:
			c.Started = f.flag()
		case ccReady:
			c.Ready = f.flag()
		case ccHooking:
			c.Hooking = f.flag()
		case ccForced:
			c.Forced = f.flag()
		case ccNoBackoff:
			c.NoBackoff = f.flag()
		case ccPreStop:
			c.PreStop = f.flag()
		case ccPullDelay:
			c.Pull.Delay = time.Duration(f.n)
		case ccPullAt:
			c.Pull.At = f.time()
		case ccCrashDelay:
			c.Crash.Delay = time.Duration(f.n)
		case ccCrashAt:
			c.Crash.At = f.time()
		}
		return nil
	})
}
