package containerd

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fullBytes is how little room makes runc fail: it writes a few small files for each process.
const fullBytes = 64 << 10

// withDisk adds to an error that the disk is full, where it is: runc dies of that without a word.
func (r *Runtime) withDisk(err error) error {
	var fs unix.Statfs_t
	if err == nil || r.cfg.RuncRoot == "" || unix.Statfs(r.cfg.RuncRoot, &fs) != nil {
		return err
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < fullBytes {
		return fmt.Errorf("%w (the disk of %s is full: %d bytes are free)", err, r.cfg.RuncRoot, free)
	}
	return err
}
