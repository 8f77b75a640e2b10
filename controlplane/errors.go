package controlplane

import "errors"

// The classes of error below the API. The apiserver maps each to one HTTP status, in one place.
// Wrap them: fmt.Errorf("pod %s: %w", key, ErrNotFound).
var (
	ErrNotFound    = errors.New("not found")
	ErrExists      = errors.New("already exists")
	ErrConflict    = errors.New("the object has been modified")
	ErrExpired     = errors.New("resource version too old")             // 410: relist
	ErrNoCapacity  = errors.New("no node has room")                     // the pod stays pending
	ErrInfeasible  = errors.New("no node could ever hold it")           // 403 on resize and bounds of bursts
	ErrOverloaded  = errors.New("too many requests are waiting")        // 429 with Retry-After
	ErrUnavailable = errors.New("not available now")                    // 503 with Retry-After
	ErrNoStorage   = errors.New("no room to store it")                  // 507: nothing changes by itself
	ErrNotLeader   = errors.New("this control plane is not the leader") // 503
)
