// Package controlplane is the vocabulary of the control plane: objects, demands, nodes, errors.
// It starts nothing and keeps nothing. Its children (apiserver, scheduler, store, nodes) know it and
// not each other; cmd/swell joins them.
package controlplane
