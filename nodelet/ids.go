package nodelet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
)

// ContainerID names the attempt-th instance of a container. It is the same on every call, so that a
// nodelet that was killed between two steps finds what it had begun. With a pod UID of 36 characters it
// has at most 56.
func ContainerID(podUID, name string, attempt int32) string {
	sum := sha256.Sum256([]byte(name))
	return podUID + "-" + hex.EncodeToString(sum[:4]) + "-" + strconv.FormatInt(int64(attempt), 10)
}

// podLogDir is where a pod's log files are, one folder per container and one file per attempt, as a
// kubelet lays them out.
func podLogDir(logDir, namespace, name, uid string) string {
	return filepath.Join(logDir, fmt.Sprintf("%s_%s_%s", namespace, name, uid))
}

func containerLogPath(podDir, name string, attempt int32) string {
	return filepath.Join(podDir, name, strconv.FormatInt(int64(attempt), 10)+".log")
}
