# What has to be true of the machine, each said in one line when it isn't.

.PHONY: check-go
check-go:
	@make/go

.PHONY: check-root
check-root:
	@test "$$(id -u)" = 0 || { echo "containers need root: run it as root, for example with sudo make $(MAKECMDGOALS)" >&2; exit 1; }
	@grep -qE ' (cgroup|cgroup2) ' /proc/self/mounts || { echo "no cgroups are mounted in /sys/fs/cgroup, so no container can be limited: mount them, or run on the host rather than in a container" >&2; exit 1; }
