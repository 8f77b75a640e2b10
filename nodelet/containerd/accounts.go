package containerd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/nodelet"
)

// accounts are an image's users and groups.
type accounts struct {
	users  []user.User
	groups []user.Group
}

// readAccounts reads /etc/passwd and /etc/group of a root filesystem. os.Root keeps a link in the image
// from leading to the host's. An image without them has no accounts.
func readAccounts(rootfs string) (accounts, error) {
	root, err := os.OpenRoot(rootfs)
	if err != nil {
		return accounts{}, err
	}
	defer root.Close() //nolint:errcheck // it was only read
	var a accounts
	err = errors.Join(
		parse(root, "etc/passwd", func(r io.Reader) (err error) { a.users, err = user.ParsePasswd(r); return err }),
		parse(root, "etc/group", func(r io.Reader) (err error) { a.groups, err = user.ParseGroup(r); return err }),
	)
	return a, err
}

func parse(root *os.Root, name string, into func(io.Reader) error) error {
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	return into(io.LimitReader(f, 8<<20))
}

// resolve answers who a container's first process is: the security context's user and group, or else
// the image's USER (name, uid, name:group, uid:gid), with the groups that the image lists the user in
// and those that the pod adds.
func (a accounts) resolve(image string, sec *corev1.SecurityContext, extra []int64) (specs.User, error) {
	who, group, _ := strings.Cut(image, ":")
	if sec != nil && sec.RunAsUser != nil {
		who, group = strconv.FormatInt(*sec.RunAsUser, 10), ""
	}
	if who == "" {
		who = "0"
	}
	var u specs.User
	id, numeric := number(who)
	i := slices.IndexFunc(a.users, func(e user.User) bool { return e.Name == who || numeric && e.Uid == int(id) })
	switch {
	case i >= 0:
		u.UID, u.GID = uint32(a.users[i].Uid), uint32(a.users[i].Gid)
	case numeric:
		u.UID = id
	default:
		return u, fmt.Errorf("user %s: no such user in the image", who)
	}
	if group != "" {
		id, numeric := number(group)
		j := slices.IndexFunc(a.groups, func(e user.Group) bool { return e.Name == group || numeric && e.Gid == int(id) })
		switch {
		case j >= 0:
			u.GID = uint32(a.groups[j].Gid)
		case numeric:
			u.GID = id
		default:
			return u, fmt.Errorf("group %s: no such group in the image", group)
		}
	}
	if sec != nil && sec.RunAsGroup != nil {
		u.GID = uint32(*sec.RunAsGroup)
	}
	gids := []uint32{u.GID}
	if i >= 0 {
		for _, g := range a.groups {
			if slices.Contains(g.List, a.users[i].Name) {
				gids = append(gids, uint32(g.Gid))
			}
		}
	}
	for _, g := range extra {
		gids = append(gids, uint32(g))
	}
	slices.Sort(gids)
	u.AdditionalGids = slices.Compact(gids)
	return u, nil
}

func number(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n <= math.MaxInt32
}

// checkNonRoot holds runAsNonRoot, in the kubelet's words.
func checkNonRoot(c nodelet.Container) error {
	sec := c.Security
	if sec == nil || sec.RunAsNonRoot == nil || !*sec.RunAsNonRoot {
		return nil
	}
	pod := fmt.Sprintf("%s_%s(%s)", c.PodName, c.Namespace, c.PodUID)
	if sec.RunAsUser != nil {
		if *sec.RunAsUser == 0 {
			return fmt.Errorf("container's runAsUser breaks non-root policy (pod: %q, container: %s)", pod, c.Name)
		}
		return nil
	}
	who, _, _ := strings.Cut(c.Image.User, ":")
	if who == "" {
		who = "0"
	}
	id, numeric := number(who)
	switch {
	case !numeric:
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root (pod: %q, container: %s)", who, pod, c.Name)
	case id == 0:
		return fmt.Errorf("container has runAsNonRoot and image will run as root (pod: %q, container: %s)", pod, c.Name)
	}
	return nil
}
