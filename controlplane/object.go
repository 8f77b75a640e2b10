package controlplane

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Key names a stored object. Namespace is empty for cluster-scoped resources.
type Key struct {
	Resource  string // plural, lower case: pods, configmaps, namespaces …
	Namespace string
	Name      string
}

func (k Key) String() string {
	if k.Namespace == "" {
		return fmt.Sprintf("%s %q", k.Resource, k.Name)
	}
	return fmt.Sprintf("%s %q", k.Resource, k.Namespace+"/"+k.Name)
}

// Object is an API object with metadata. A stored Object is shared by all its readers and must not be
// changed: DeepCopyObject it first.
type Object interface {
	runtime.Object
	metav1.Object
}

// Mutation is one change to one object. Change gets the present object (nil where there is none) and
// returns the next one: nil deletes, the same pointer changes nothing, an error abandons the mutation.
// It runs while no other mutation of that key does, may run on any goroutine, must be quick and must
// not change its argument. The store sets resourceVersion on what it returns.
type Mutation struct {
	Key    Key
	Change func(current Object) (next Object, err error)
}

// EventType says what an Event did.
type EventType uint8

const (
	Added EventType = iota + 1
	Modified
	Deleted
)

// Event is one change, in the order of Version. Several objects that were committed in one etcd
// transaction have versions of their own.
type Event struct {
	Type     EventType
	Key      Key
	Version  uint64
	Object   Object // after the change; for Deleted the last state, with Version as its resourceVersion
	Previous Object // before the change; nil for Added
}

// Subscription is a stream of events. Events is closed when the subscription ends; Err then tells why:
// nil after Stop, ErrExpired when the reader fell too far behind (it must list again).
type Subscription struct {
	Events <-chan Event
	Stop   func() // idempotent
	Err    func() error
}

// Items are the objects of a list at one version, in the order of namespace and name. Each is decoded when
// it is asked for, and may be decoded anew each time: of a large list not all should be held at once.
type Items interface {
	Len() int
	Key(i int) Key
	Object(i int) Object
	// Protobuf answers the object in Kubernetes' protobuf, which it must have.
	Protobuf(i int) ([]byte, error)
	Slice(from, to int) Items
}

// ItemsOf answers objects of a resource as items.
func ItemsOf(resource string, objects []Object) Items { return itemSlice{resource, objects} }

type itemSlice struct {
	resource string
	objects  []Object
}

func (s itemSlice) Len() int { return len(s.objects) }

func (s itemSlice) Key(i int) Key {
	o := s.objects[i]
	return Key{Resource: s.resource, Namespace: o.GetNamespace(), Name: o.GetName()}
}

func (s itemSlice) Object(i int) Object { return s.objects[i] }

func (s itemSlice) Protobuf(i int) ([]byte, error) { return Protobuf(s.objects[i]) }

// Protobuf answers an object in Kubernetes' protobuf.
func Protobuf(o Object) ([]byte, error) {
	m, ok := o.(interface{ Marshal() ([]byte, error) })
	if !ok {
		return nil, fmt.Errorf("%T has no protobuf", o)
	}
	return m.Marshal()
}

func (s itemSlice) Slice(from, to int) Items { return itemSlice{s.resource, s.objects[from:to]} }
