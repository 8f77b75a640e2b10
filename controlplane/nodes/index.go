package nodes

import (
	"slices"
	"strings"
	"sync"
	"unique"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

// podRef is a pod on a node.
type podRef struct {
	uid  string
	node string
	key  controlplane.Key
}

// podIndex finds the pods of a node and the pods that refer to a config map or a secret. There are many
// pods, so that each is held once and strings are shared.
type podIndex struct {
	uids   map[string]*indexedPod
	byNode map[string]*podSet
	byRef  map[controlplane.Key]*podSet // config map or secret
}

type indexedPod struct {
	uid, namespace, name string
	node                 *podSet
	refs                 []*podSet                         // of what it refers to
	usage                *reading                          // the latest, if any
	owner                unique.Handle[controlplane.Owner] // zero: the pod by itself
}

// podSet is the pods of a node, or those that refer to something.
type podSet struct {
	node string           // else
	ref  controlplane.Key // it is this
	pods map[*indexedPod]struct{}
}

func (p *indexedPod) key() controlplane.Key { return podKey(p.namespace, p.name) }

// itself is the owner of a pod that nothing holds together with others.
func (p *indexedPod) itself() controlplane.Owner {
	return controlplane.Owner{Namespace: p.namespace, Kind: controlplane.OwnerPod, Name: p.name}
}

func (p *indexedPod) ownedBy() controlplane.Owner {
	if p.owner == (unique.Handle[controlplane.Owner]{}) {
		return p.itself()
	}
	return p.owner.Value()
}

func (p *indexedPod) ref() podRef { return podRef{uid: p.uid, node: p.node.node, key: p.key()} }

func newPodIndex() *podIndex {
	return &podIndex{uids: map[string]*indexedPod{}, byNode: map[string]*podSet{}, byRef: map[controlplane.Key]*podSet{}}
}

// put records a pod. What a pod refers to never changes, so a pod that is known with its node is left alone.
func (x *podIndex) put(pod *corev1.Pod) {
	if _, known := x.uids[string(pod.UID)]; known || pod.Spec.NodeName == "" {
		return
	}
	x.add(pod, references(pod))
}

func (x *podIndex) add(pod *corev1.Pod, refs []controlplane.Key) {
	// The strings may be parts of a request.
	p := &indexedPod{uid: strings.Clone(string(pod.UID)), namespace: unique.Make(pod.Namespace).Value(), name: strings.Clone(pod.Name)}
	x.uids[p.uid] = p
	if owner := controlplane.OwnerOf(pod); owner != p.itself() {
		p.owner = unique.Make(owner)
	}
	p.node = x.byNode[pod.Spec.NodeName]
	if p.node == nil {
		p.node = &podSet{node: strings.Clone(pod.Spec.NodeName), pods: map[*indexedPod]struct{}{}}
		x.byNode[p.node.node] = p.node
	}
	p.node.pods[p] = struct{}{}
	for _, k := range refs {
		set := x.byRef[k]
		if set == nil {
			set = &podSet{ref: k, pods: map[*indexedPod]struct{}{}}
			x.byRef[k] = set
		}
		set.pods[p] = struct{}{}
		p.refs = append(p.refs, set)
	}
}

func (x *podIndex) remove(uid string) {
	p := x.uids[uid]
	if p == nil {
		return
	}
	delete(x.uids, uid)
	if delete(p.node.pods, p); len(p.node.pods) == 0 {
		delete(x.byNode, p.node.node)
	}
	for _, set := range p.refs {
		if delete(set.pods, p); len(set.pods) == 0 {
			delete(x.byRef, set.ref)
		}
	}
}

func (x *podIndex) find(uid string) (podRef, bool) {
	if p := x.uids[uid]; p != nil {
		return p.ref(), true
	}
	return podRef{}, false
}

// on answers the pods of a node.
func (x *podIndex) on(node string) []podRef { return x.byNode[node].list() }

func (x *podIndex) referring(k controlplane.Key) []podRef { return x.byRef[k].list() }

func (s *podSet) list() []podRef {
	if s == nil {
		return nil
	}
	out := make([]podRef, 0, len(s.pods))
	for p := range s.pods {
		out = append(out, p.ref())
	}
	return out
}

// Pods is an index that is filled before there is a hub, see Config.Pods.
type Pods struct {
	mu    sync.Mutex // guards index
	index *podIndex
}

// NewPods answers an empty index.
func NewPods() *Pods { return &Pods{index: newPodIndex()} }

// Add records a pod. It may be called by several goroutines.
func (p *Pods) Add(pod *corev1.Pod) {
	if pod.Spec.NodeName == "" {
		return
	}
	refs := references(pod)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index.add(pod, refs)
}

func insert[K comparable](m map[K]map[string]podRef, k K, ref podRef) {
	set := m[k]
	if set == nil {
		set = map[string]podRef{}
		m[k] = set
	}
	set[ref.uid] = ref
}

func erase[K comparable](m map[K]map[string]podRef, k K, uid string) {
	delete(m[k], uid)
	if len(m[k]) == 0 {
		delete(m, k)
	}
}

// references lists the config maps and secrets that a pod's spec names.
func references(pod *corev1.Pod) []controlplane.Key {
	var out []controlplane.Key
	add := func(resource, name string) {
		k := controlplane.Key{Resource: resource, Namespace: pod.Namespace, Name: name}
		if name != "" && !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	for _, s := range pod.Spec.ImagePullSecrets {
		add("secrets", s.Name)
	}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.ConfigMap != nil {
			add("configmaps", v.ConfigMap.Name)
		}
		if v.Secret != nil {
			add("secrets", v.Secret.SecretName)
		}
		if v.Projected == nil {
			continue
		}
		for j := range v.Projected.Sources {
			if s := &v.Projected.Sources[j]; s.ConfigMap != nil {
				add("configmaps", s.ConfigMap.Name)
			} else if s.Secret != nil {
				add("secrets", s.Secret.Name)
			}
		}
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			for _, from := range list[i].EnvFrom {
				if from.ConfigMapRef != nil {
					add("configmaps", from.ConfigMapRef.Name)
				}
				if from.SecretRef != nil {
					add("secrets", from.SecretRef.Name)
				}
			}
			for _, env := range list[i].Env {
				if env.ValueFrom == nil {
					continue
				}
				if r := env.ValueFrom.ConfigMapKeyRef; r != nil {
					add("configmaps", r.Name)
				}
				if r := env.ValueFrom.SecretKeyRef; r != nil {
					add("secrets", r.Name)
				}
			}
		}
	}
	return out
}
