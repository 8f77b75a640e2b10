package controlplane

import nodev1 "swell.dev/swell/api/node/v1"

// Stream is one exchange with a nodelet: a log, an exec, a forwarded port or an image archive.
// Send and Recv may be called by one goroutine each. Recv answers io.EOF after the nodelet's Result.
type Stream interface {
	Send(*nodev1.Frame) error
	Recv() (*nodev1.Frame, error)
	Close() error // idempotent; ends the stream on both sides
}
