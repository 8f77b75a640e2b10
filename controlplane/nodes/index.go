package nodes

import (
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/controlplane"
)

// podRef is a pod on a node.
type podRef struct {
	uid  string
	node string
	key  controlplane.Key
}

// podIndex finds the pods of a node and the pods that refer to a config map or a secret.
type podIndex struct {
	byNode map[string]map[string]podRef           // node → uid
	byRef  map[controlplane.Key]map[string]podRef // config map or secret → uid
	refs   map[string][]controlplane.Key          // uid → what it refers to
	uids   map[string]podRef
}

func newPodIndex() *podIndex {
	return &podIndex{
		byNode: map[string]map[string]podRef{},
		byRef:  map[controlplane.Key]map[string]podRef{},
		refs:   map[string][]controlplane.Key{},
		uids:   map[string]podRef{},
	}
}

// put records a pod. What a pod refers to never changes, so a pod that is known with its node is left alone.
func (x *podIndex) put(pod *corev1.Pod) {
	uid, node := string(pod.UID), pod.Spec.NodeName
	if node == "" {
		return
	}
	if _, known := x.uids[uid]; known {
		return
	}
	ref := podRef{uid: uid, node: node, key: controlplane.Key{Resource: "pods", Namespace: pod.Namespace, Name: pod.Name}}
	x.uids[uid] = ref
	insert(x.byNode, node, ref)
	keys := references(pod)
	x.refs[uid] = keys
	for _, k := range keys {
		insert(x.byRef, k, ref)
	}
}

func (x *podIndex) remove(pod *corev1.Pod) {
	uid := string(pod.UID)
	ref, ok := x.uids[uid]
	if !ok {
		return
	}
	delete(x.uids, uid)
	erase(x.byNode, ref.node, uid)
	for _, k := range x.refs[uid] {
		erase(x.byRef, k, uid)
	}
	delete(x.refs, uid)
}

func (x *podIndex) on(node string) map[string]podRef { return x.byNode[node] }

func (x *podIndex) referring(k controlplane.Key) map[string]podRef { return x.byRef[k] }

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
	seen := map[controlplane.Key]bool{}
	var out []controlplane.Key
	add := func(resource, name string) {
		k := controlplane.Key{Resource: resource, Namespace: pod.Namespace, Name: name}
		if name != "" && !seen[k] {
			seen[k] = true
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
