// Package vm runs one static program in a virtual machine with a kernel of its own, under software
// emulation: tests see another kernel, and another cgroup version, than the host's.
//
// The machine is an initramfs with three files, and those that the program needs besides. /init is the program
// in the folder init: it mounts the kernel's file systems, brings loopback up, runs /program as /job says, and
// ends the machine. The kernel's messages go to the
// first serial port and what the program prints to the second, where a last line gives its exit code
// behind a random token, so that nothing the program prints is taken for it. On the third the first process says every
// few seconds that it goes on; a machine that falls silent is ended.
package vm
