package nodelet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/internal/crilog"
)

// Bounds of a termination message, a kubelet's.
const (
	maxMessage      = 4096 // bytes, from the file
	maxMessageLog   = 2048 // bytes, from the log
	maxMessageLines = 80
)

// terminationFile makes the file that a container writes its last words to, whoever it runs as. The pod's
// folder is there.
func (b *builder) terminationFile(name string, attempt int32) (string, error) {
	path := terminationPath(b.dir, name, attempt)
	if f, ok := b.cfg.Volumes.(filer); ok {
		return path, f.WriteFile(path, nil, 0o666)
	}
	fd, err := openFile(path, unix.O_CREAT|unix.O_WRONLY, 0o666)
	if err != nil {
		return "", err
	}
	err = unix.Fchmod(fd, 0o666) // whatever the umask
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return "", fmt.Errorf("termination message file: %w", err)
	}
	return path, nil
}

func terminationPath(dir, name string, attempt int32) string {
	return dir + "/termination-" + name + "-" + strconv.FormatInt(int64(attempt), 10)
}

// terminationMessage reads a container's last words: the beginning of its file, or, if it failed without
// any and its policy says so, the end of its log.
func terminationMessage(ctx context.Context, c *corev1.Container, dir, logPath string, attempt int32, failed bool) string {
	raw, err := readHead(terminationPath(dir, c.Name, attempt), maxMessage)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "Error on reading termination message: " + err.Error()
	}
	if len(raw) > 0 || !failed || c.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
		return string(raw)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var text bytes.Buffer
	if err := crilog.Copy(ctx, logPath, crilog.Options{Tail: maxMessageLines, Stdout: &text, Stderr: &text}); err != nil {
		return "Error on reading termination message from logs: " + err.Error()
	}
	tail := text.Bytes()
	return string(tail[max(0, len(tail)-maxMessageLog):])
}

func readHead(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
