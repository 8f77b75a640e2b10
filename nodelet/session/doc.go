// Package session keeps a nodelet's one stream to the control plane: it dials, tells everything that
// runs, takes the whole desired state, then exchanges changes, and begins again when the stream breaks.
// Nothing on the host depends on it: while there is no session the pods run on and the journal fills.
//
// Order is what makes it safe. Closed segments of a pod are sent before the report that the pod ended or
// is finished; they stay in the journal until they are acknowledged, and are sent again on the next stream.
// While more of them wait than may be in flight, no reports are sent.
package session
