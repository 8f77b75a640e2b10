// Package admission says what a pod means before it is placed: defaults, validation, and the refusal, by
// name, of every field that Swell can't honour. Its functions are pure.
//
// Validation answers what kube-apiserver answers where Swell serves the same thing. What is honoured
// stands in one list of field paths (honoured.go); a walk over the pod refuses whatever is set and not in
// it, so that a field that a later Kubernetes brings is refused rather than ignored.
package admission
