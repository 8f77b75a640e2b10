// Package role joins the parts of Swell to the processes that run: the control plane, the nodelet, and
// both with everything they need on one machine (up). It holds what a process needs beyond its parts:
// flags, the data directory, logging, the order of start and end.
package role
