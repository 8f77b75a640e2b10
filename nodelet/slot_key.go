package nodelet

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// heldKey stands for all of a container that can't be changed any more once it is held: containers of one
// key differ at most in what Runtime.Release makes to fit, and in limits, which the pod's set-up writes.
func (b *builder) heldKey(c Container, act actRun) (string, error) {
	if !slices.ContainsFunc(b.a.Pod.Spec.InitContainers, func(i corev1.Container) bool { return i.Name == c.Name }) {
		c.Resources, c.Unified = corev1.ResourceRequirements{}, nil
	}
	k := keyer{b: make([]byte, 0, 2048)}
	if err := k.container(&c); err != nil {
		return "", fmt.Errorf("container %s: %w", c.ID, err)
	}
	for i := range act.Container.VolumeMounts {
		vm := &act.Container.VolumeMounts[i]
		if (vm.SubPath != "" || vm.SubPathExpr != "") && madeByUs(b.a.Pod, vm.Name) {
			k.text(configHash(b.a)) // a part of a volume stays what it was when it was bound
		}
	}
	sum := sha256.Sum256(k.b)
	return hex.EncodeToString(sum[:16]), nil
}

// keyer strings values together, each of them so that it can't be taken for a part of another.
type keyer struct{ b []byte }

func (k *keyer) number(n int64) { k.b = binary.AppendVarint(k.b, n) }

func (k *keyer) text(s string) { k.b = append(binary.AppendUvarint(k.b, uint64(len(s))), s...) }

func (k *keyer) flag(set bool) {
	if set {
		k.number(1)
	} else {
		k.number(0)
	}
}

func (k *keyer) texts(list []string) {
	k.number(int64(len(list)))
	for _, s := range list {
		k.text(s)
	}
}

func (k *keyer) object(o object) (err error) {
	k.b, err = appendObject(k.b, o)
	return err
}

// container adds all but what Release makes to fit: PodName, Hostname, Command, Args, Env and LogPath.
func (k *keyer) container(c *Container) error {
	for _, s := range [...]string{
		c.ID, c.Name, c.PodUID, c.Namespace, c.WorkingDir, c.NetNS, c.IPCNS, c.CgroupPath, c.TerminationMessage,
		c.Image.Ref, c.Image.ID, c.Image.Digest, c.Image.User, c.Image.StopSignal,
	} {
		k.text(s)
	}
	k.number(c.Image.Size)
	k.number(int64(c.Attempt))
	k.number(int64(c.OOMScore))
	k.flag(c.PodPID)
	k.number(int64(len(c.Mounts)))
	for i := range c.Mounts {
		m := &c.Mounts[i]
		k.text(m.Source)
		k.text(m.Destination)
		k.flag(m.ReadOnly)
		k.texts(m.Options)
	}
	k.number(int64(len(c.Groups)))
	for _, g := range c.Groups {
		k.number(g)
	}
	k.number(int64(len(c.Sysctls)))
	for _, name := range sortedKeys(c.Sysctls) {
		k.text(name)
		k.text(c.Sysctls[name])
	}
	k.number(int64(len(c.Unified)))
	for _, file := range sortedKeys(c.Unified) {
		k.text(file)
		k.text(c.Unified[file])
	}
	if err := k.object(&c.Resources); err != nil {
		return err
	}
	k.flag(c.Security != nil)
	if c.Security == nil {
		return nil
	}
	return k.object(c.Security)
}
