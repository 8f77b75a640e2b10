package nodelet

import (
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// What goes into a machine: an input is something that happened.
type (
	input any

	// inAssign is a new desired state of the pod.
	inAssign struct{ Assignment Assignment }
	// inBursting says that the pod has begun to have more than its size, or with nil that it has come to rest.
	inBursting struct{ State *BurstState }
	// inNoBursts says why the pod, which may burst, is given nothing beyond its size; empty: it is.
	inNoBursts struct{ Why string }
	// inRemove says that the pod is no longer desired at all.
	inRemove struct{}
	// inObserved is what the runtime listed, at adoption or later. Containers that began after At are
	// not judged by it.
	inObserved struct {
		At         time.Time
		Containers []observed
	}
	// inSetUp ends actSetUp.
	inSetUp struct {
		Sandbox   sandbox
		Resources v1alpha1.Sizes   // what EnsurePod was given …
		Boosts    map[string]int64 // … with this beyond
		Version   string           // of the configuration in the volumes
		Slot      bool             // as actSetUp had it
		Kept      bool             // the kernel has more memory for it, which is in use
		Guarded   bool             // PodSize.Guarded of that
		Reason    string           // event's reason where Err is set
		Err       error
	}
	// inPulling says that an actPull goes to the registry.
	inPulling struct{ Container, Ref string }
	// inPulled ends actPull.
	inPulled struct {
		Container string
		Ref       string // as the spec had it
		Image     Image
		Took      time.Duration
		Present   bool // was on the node
		Err       error
	}
	// inStarted ends actRun.
	inStarted struct {
		Container string
		Attempt   int32
		Created   bool
		PID       int
		At        time.Time
		Actual    corev1.ResourceRequirements // what the kernel holds; empty where it could not be read
		MadeAt    time.Time                   // set where an instance of this name was removed: ends before are that one's
		Err       error
	}
	// inHeld ends actHold.
	inHeld struct {
		Container string
		Attempt   int32
		Held      string    // what the instance can be released as
		At        time.Time // when it was begun to be made; zero: it was there
		Err       error
	}
	// inExit is a container's end.
	inExit struct {
		ID        string
		ExitCode  int32
		OOMKilled bool
		At        time.Time
		Message   string // termination message
	}
	// inKilled ends actKill.
	inKilled struct {
		Container string
		Attempt   int32
		Err       error
	}
	// inHook ends actHook.
	inHook struct {
		Container string
		Attempt   int32
		Stop      bool
		Err       error
	}
	// inProbe ends actProbe.
	inProbe struct {
		Container string
		Attempt   int32
		Kind      probeKind
		OK        bool
		NotAsked  bool // the host couldn't ask, so nothing is known
		Message   string
	}
	// inVolumes ends actVolumes.
	inVolumes struct {
		Version string // what was prepared
		Err     error
	}
	// inUsage ends actUsage.
	inUsage struct {
		Over []string
		Err  error
	}
	// inResized ends actResize.
	inResized struct {
		Resources v1alpha1.Sizes
		Boosts    map[string]int64 // CPU in milli of containers that have more than their size
		Actual    Actual
		Err       error
		MeterErr  error // the kernel was written and the journal was not
	}
	// inBoost is the ledger's answer to a wish.
	inBoost struct{ Grant BoostGrant }
	// inForgotten ends actForget.
	inForgotten struct {
		Container string
		Attempt   int32
		Err       error
	}
	// inMetered ends actMeter.
	inMetered struct {
		Stop bool
		Err  error
	}
	// inTornDown ends actTearDown.
	inTornDown struct {
		Full bool
		Err  error
	}
)

// observed is a container as the runtime lists it, with its termination message where it ended.
type observed struct {
	ContainerState
	Message string
}

// sandbox is what a pod's containers share.
type sandbox struct {
	IP      string
	NetNS   string
	IPCNS   string
	Volumes map[string]string // host path per volume
}

// What comes out of a machine: an action is something to be done, and each ends in one input.
type (
	action any

	actSetUp struct {
		Resources v1alpha1.Sizes
		Boosts    map[string]int64
		Version   string
		Void      bool // a former process may have begun to meter it, and no container has ever run
		Slot      bool // there is no pod yet: nothing of the host's is bound
	}
	actPull struct {
		Container string
		Ref       string
		Policy    corev1.PullPolicy
	}
	actRun struct {
		Container *corev1.Container
		Attempt   int32
		Image     Image
		Sizes     v1alpha1.Sizes // the pod's, as the kernel was told
		Boost     int64          // CPU in milli that it begins with, where that is more
		Sandbox   sandbox
		Held      string // what of this name waits at its start, to be used if it fits; empty: nothing
	}
	// actHold makes an instance and has it wait at its start. One that is Held and fits stays.
	actHold actRun
	actKill struct {
		Container string
		Attempt   int32
		Signal    syscall.Signal
	}
	// actForget removes an instance that is too old to be asked for, and its logs.
	actForget struct {
		Container string
		Attempt   int32
	}
	actHook struct {
		Container string
		Attempt   int32
		Stop      bool
		Handler   *corev1.LifecycleHandler
		IP        string
		Timeout   time.Duration // 0: none
	}
	actProbe struct {
		Container string
		Attempt   int32
		Kind      probeKind
		Probe     *corev1.Probe
		IP        string
	}
	actVolumes struct {
		Version string
		IP      string
	}
	actUsage  struct{}
	actResize struct {
		Resources v1alpha1.Sizes
		Boosts    map[string]int64
		Attempts  map[string]int32 // of the containers that run
	}
	// actMeter brings the journal up to date: it opens a segment of the pod's actuated size, or stops.
	actMeter struct {
		Resources v1alpha1.Sizes
		Boosts    map[string]int64
		Stop      bool
		At        time.Time
	}
	// actTearDown gives the pod's host resources back. Full also removes containers, logs and the record.
	actTearDown struct {
		Full       bool
		Containers []string // IDs
	}
)
