package cgroups

import "syscall"

// ID is what the kernel knows the group by in the CPU controller's hierarchy, also in eBPF: the inode of its
// directory.
func (g *Group) ID() (uint64, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(g.dir(CPU), &st); err != nil {
		return 0, wrap(g, pathError("stat", g.dir(CPU), err))
	}
	return st.Ino, nil
}
