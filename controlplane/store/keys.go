package store

import (
	"fmt"
	"strings"

	"swell.dev/swell/controlplane"
)

type keys struct{ root, leader, fence, objects string }

func newKeys(prefix string) keys {
	return keys{root: prefix + "/", leader: prefix + "/leader", fence: prefix + "/fence", objects: prefix + "/objects/"}
}

func (k keys) object(key controlplane.Key) string {
	return k.objects + key.Resource + "/" + key.Namespace + "/" + key.Name
}

func (k keys) parse(path string) (controlplane.Key, error) {
	parts := strings.Split(strings.TrimPrefix(path, k.objects), "/")
	if len(parts) != 3 || parts[0] == "" || parts[2] == "" {
		return controlplane.Key{}, fmt.Errorf("etcd key %q: not an object's", path)
	}
	return controlplane.Key{Resource: parts[0], Namespace: parts[1], Name: parts[2]}, nil
}

func checkKey(k controlplane.Key) error {
	if k.Resource == "" || k.Name == "" || strings.Contains(k.Resource+k.Namespace+k.Name, "/") {
		return fmt.Errorf("%s: not a valid key", k)
	}
	return nil
}

// checkIdentity holds the object to the key it is stored under. It also turns a nil pointer in an
// interface, which is not a deletion, into a contained panic.
func checkIdentity(k controlplane.Key, o controlplane.Object) error {
	if o.GetName() != k.Name || o.GetNamespace() != k.Namespace {
		return fmt.Errorf("%s: the object is named %q in namespace %q", k, o.GetName(), o.GetNamespace())
	}
	return nil
}
