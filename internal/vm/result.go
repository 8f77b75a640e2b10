package vm

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
)

// result passes lines on until the one with the exit code.
type result struct {
	token string
	out   io.Writer // may be nil
	line  []byte    // begun
	ended bool
	code  int
	err   error
}

func (r *result) Write(p []byte) (int, error) {
	for _, b := range p {
		r.line = append(r.line, b)
		if b == '\n' {
			if err := r.endLine(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

func (r *result) endLine() error {
	line := r.line
	r.line = nil
	// The program's own last line may lack its end.
	before, after, found := bytes.Cut(line, []byte(r.token+" "))
	if found {
		line = before
		code, err := strconv.Atoi(string(bytes.TrimSpace(after)))
		if err != nil {
			r.err = fmt.Errorf("exit code %q", after)
		} else {
			r.ended, r.code = true, code
		}
	}
	if r.out == nil || len(line) == 0 {
		return nil
	}
	_, err := r.out.Write(line)
	return err
}
