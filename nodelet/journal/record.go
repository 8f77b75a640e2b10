package journal

import (
	"encoding/json"
	"time"

	usagev1 "swell.dev/swell/api/usage/v1"
	"swell.dev/swell/internal/bootclock"
	"swell.dev/swell/internal/framelog"
)

// format begins the file.
const format = "swell journal 1\n"

// appendFrame appends the frame of a group of records.
func appendFrame(b []byte, records []record) ([]byte, error) {
	body, err := json.Marshal(records)
	if err != nil {
		return b, err
	}
	return framelog.AppendFrame(b, body)
}

// record is one change; exactly one field is set.
type record struct {
	Anchor *bootclock.Anchor `json:"anchor,omitempty"` // the clock's, from here on
	Start  *usagev1.Segment  `json:"start,omitempty"`  // opens; the pod's open segment, if any, ends at its start
	Stop   *stop             `json:"stop,omitempty"`
	Burst  *burst            `json:"burst,omitempty"`
	Ack    []usagev1.ID      `json:"ack,omitempty"`
	Alive  *time.Time        `json:"alive,omitempty"` // what is open was going on at this time

	// In a file that was written anew:
	Pod    *position        `json:"pod,omitempty"`    // where a pod's segments stand
	Closed *usagev1.Segment `json:"closed,omitempty"` // one that waits for its acknowledgement
}

// stop ends the pod's open segment.
type stop struct {
	PodUID string    `json:"podUID"`
	At     time.Time `json:"at"`
}

// burst adds to the pod's open segment.
type burst struct {
	PodUID string `json:"podUID"`
	usagev1.Burst
}

// position is what has to be known of a pod's past to go on.
type position struct {
	PodUID   string           `json:"podUID"`
	Sequence int64            `json:"sequence"` // of the newest segment
	Boundary time.Time        `json:"boundary"` // the latest
	Open     *usagev1.Segment `json:"open,omitempty"`
}
