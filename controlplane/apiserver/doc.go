// Package apiserver serves the Kubernetes wire for what Swell has: pods with their subresources, events,
// namespaces, nodes, configmaps, secrets, bills, metrics and reviews; by JSON, YAML and protobuf, with
// tables, watches, patches, server-side apply, discovery and OpenAPI. Where it serves something it behaves
// as kube-apiserver does; what it doesn't serve answers 404.
//
// A request passes, in this order: panic guard → authentication → the path is parsed (request.go) →
// authorisation → the resource is looked up (resources.go) → its verb. Every error leaves through one
// function (errors.go).
//
// Field ownership is tracked from an object's first server-side apply on, not before: tracking costs about
// a millisecond per write, and nobody who doesn't apply reads it. The first apply attributes what it finds to
// the manager "before-first-apply", as Kubernetes does for objects that are older than the feature.
package apiserver
