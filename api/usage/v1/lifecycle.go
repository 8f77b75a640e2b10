package usagev1

import "time"

// Lifecycle is when a pod that has ended ran, as its status told: what metered time is checked against. Times of
// a status are whole seconds.
type Lifecycle struct {
	PodUID    string    `json:"podUID"`
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"`
	Node      string    `json:"node"`
	Accepted  time.Time `json:"accepted"` // by the nodelet, before anything ran
	Started   time.Time `json:"started"`  // of the first container that is still known of: restarts forget their forerunners
	Ended     time.Time `json:"ended"`    // of the last container
	Restarts  int64     `json:"restarts"` // of all containers
}
