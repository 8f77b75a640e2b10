// Package gate is how the first process of a container that was made ahead is told what to become. The
// process stands in the container and waits; a folder holds it and two pipes:
//
//	start      the program, cmd/swell-hold
//	request    what to become: a length and that many bytes, in one write
//	answer     Ready as soon as it waits; then why it can't, or, when it has become that, the end of file
//
// The folder is bound at Dir in the container until the process is ready.
package gate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is where the process finds the folder.
const Dir = "/dev/.swell"

// Names in the folder.
const (
	Start   = "start"
	Request = "request"
	Answer  = "answer"
)

// Ready is the first byte of an answer.
const Ready = '+'

// Process is what to become.
type Process struct {
	Args []string
	Env  []string // KEY=value
}

// MaxRequest is the longest request in bytes: what a pipe takes in one write.
const MaxRequest = 1 << 20

var errCut = errors.New("request: cut off")

// Encode makes a request.
func (p Process) Encode() []byte {
	var body []byte
	for _, list := range [][]string{p.Args, p.Env} {
		body = binary.AppendUvarint(body, uint64(len(list)))
		for _, s := range list {
			body = binary.AppendUvarint(body, uint64(len(s)))
			body = append(body, s...)
		}
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// Decode reads one request.
func Decode(r io.Reader) (p Process, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return p, errCut
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > MaxRequest || size == 0 {
		return p, fmt.Errorf("request of %d bytes", size)
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(r, raw); err != nil {
		return p, errCut
	}
	body := bytes.NewReader(raw)
	for _, list := range []*[]string{&p.Args, &p.Env} {
		count, err := binary.ReadUvarint(body)
		if err != nil || count > uint64(size) {
			return p, errCut
		}
		for range count {
			n, err := binary.ReadUvarint(body)
			if err != nil || n > uint64(body.Len()) {
				return p, errCut
			}
			s := make([]byte, n)
			if _, err := io.ReadFull(body, s); err != nil {
				return p, errCut
			}
			*list = append(*list, string(s))
		}
	}
	return p, nil
}

// LookPath finds a program as runc does: by itself where it has a slash, or else in the PATH of env. Its errors
// read as runc's.
func LookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if err := executable(name); err != nil {
			return "", fmt.Errorf("exec: %q: %w", name, err)
		}
		return name, nil
	}
	var path string
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if dir == "" {
			dir = "."
		}
		if full := filepath.Join(dir, name); executable(full) == nil {
			if !filepath.IsAbs(full) {
				full = "./" + full
			}
			return full, nil
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH", name)
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		var pathErr *os.PathError
		if errors.As(err, &pathErr) {
			return fmt.Errorf("stat %s: %w", path, pathErr.Err)
		}
		return err
	case info.IsDir():
		return fmt.Errorf("is a directory")
	}
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS); err != nil {
		return err
	}
	return nil
}
