package stream

import (
	"context"
	"io"

	nodev1 "swell.dev/swell/api/node/v1"
)

// input makes a reader of the Data frames of channel 0. It holds one frame at a time: the other side
// sends no faster than the reader reads.
type input struct {
	r *io.PipeReader
	w *io.PipeWriter
}

func newInput() input {
	r, w := io.Pipe()
	return input{r, w}
}

func (in input) take(f *nodev1.Frame) {
	d := f.GetData()
	if d == nil || d.Channel != stdin {
		return
	}
	if len(d.Bytes) > 0 {
		in.w.Write(d.Bytes) //nolint:errcheck // who doesn't read any more has closed its side
	}
	if d.Eof {
		in.w.Close() //nolint:errcheck // it always succeeds
	}
}

// endWith makes the reader fail when ctx ends before the input does. The answer undoes it and lets
// blocked frames go.
func (in input) endWith(ctx context.Context) (stop func()) {
	undo := context.AfterFunc(ctx, func() { in.w.CloseWithError(io.ErrUnexpectedEOF) }) //nolint:errcheck // it always succeeds
	return func() {
		undo()
		in.r.Close() //nolint:errcheck // it always succeeds
	}
}
