package nodelet

import (
	"encoding/binary"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

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
		case cpBoost:
			return cp.addBoost(f.bytes)
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
		cp.Actuated = v1alpha1.Sizes{}
	}
	cp.Actuated[name] = sizes
	return err
}

func (cp *checkpoint) addBoost(b []byte) error {
	var name string
	var cpu int64
	err := eachField(b, func(f field) error {
		switch f.number {
		case boostName:
			name = f.text()
		case boostCPU:
			cpu = f.n
		}
		return nil
	})
	if cp.Boosts == nil {
		cp.Boosts = map[string]int64{}
	}
	cp.Boosts[name] = cpu
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
		case ccUnboosted:
			c.Unboosted = f.flag()
		}
		return nil
	})
}
