package role

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// describeHost is what a nodelet tells of its host.
func describeHost(name, hostIP, version string, capacity corev1.ResourceList, labels map[string]string) (*corev1.Node, error) {
	info := corev1.NodeSystemInfo{
		Architecture:            runtime.GOARCH,
		OperatingSystem:         runtime.GOOS,
		ContainerRuntimeVersion: "containerd://" + containerdVersion,
		KubeletVersion:          "swell-" + version,
		OSImage:                 osImage(),
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, fmt.Errorf("uname: %w", err)
	}
	info.KernelVersion = unix.ByteSliceToString(uts.Release[:])
	for path, field := range map[string]*string{
		"/etc/machine-id":                 &info.MachineID,
		"/proc/sys/kernel/random/boot_id": &info.BootID,
	} {
		if b, err := os.ReadFile(path); err == nil { // not every host has a machine id
			*field = strings.TrimSpace(string(b))
		}
	}
	all := map[string]string{
		corev1.LabelHostname:   name,
		corev1.LabelOSStable:   runtime.GOOS,
		corev1.LabelArchStable: runtime.GOARCH,
	}
	for k, v := range labels {
		all[k] = v
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: all},
		Status: corev1.NodeStatus{
			Capacity:    capacity,
			Allocatable: capacity,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: hostIP},
				{Type: corev1.NodeHostName, Address: name},
			},
			NodeInfo: info,
		},
	}, nil
}

func osImage() string {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"`)
		}
	}
	return "unknown"
}

// containerdVersion is the release that Swell is built and tested with; a host's own may be newer.
const containerdVersion = "2.4.2"
