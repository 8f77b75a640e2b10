package apiserver

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net/http"

	"k8s.io/apimachinery/pkg/watch"
)

// frames writes the events of one watch: JSON lines, or protobuf with the length before each (4 bytes,
// big-endian).
type frames struct {
	w     *bufio.Writer // events of a moment leave together, in few large writes
	out   *http.ResponseController
	media string
	head  []byte // of the last event; its room is used again
}

// startFrames answers 200 at once, so that the client knows that it watches.
func startFrames(w http.ResponseWriter, media string) (*frames, error) {
	contentType := media
	if media != mediaJSON {
		contentType += ";stream=watch"
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-cache, private")
	w.WriteHeader(http.StatusOK)
	f := &frames{w: bufio.NewWriterSize(w, framesBuffer), out: http.NewResponseController(w), media: media}
	return f, f.flush()
}

// framesBuffer is what a TLS record holds.
const framesBuffer = 16 << 10

func (f *frames) flush() error {
	if err := f.w.Flush(); err != nil {
		return err
	}
	return f.out.Flush()
}

// send writes one event. The object is encoded in the same form as the frames.
func (f *frames) send(t watch.EventType, object []byte) error {
	if f.media == mediaProtobuf {
		// A WatchEvent around the object, which is shared and not copied.
		raw := fieldSize(rawExtensionRaw, len(object))
		head := binary.BigEndian.AppendUint32(f.head[:0], uint32(fieldSize(watchEventType, len(t))+fieldSize(watchEventObject, raw)))
		head = appendHeader(head, watchEventType, len(t))
		head = append(head, t...)
		head = appendHeader(head, watchEventObject, raw)
		f.head = appendHeader(head, rawExtensionRaw, len(object))
		if _, err := f.w.Write(f.head); err != nil {
			return err
		}
		_, err := f.w.Write(object)
		return err
	}
	line := make([]byte, 0, len(object)+40)
	line = append(line, `{"type":"`...)
	line = append(line, t...)
	line = append(line, `","object":`...)
	line = append(line, bytes.TrimRight(object, "\n")...)
	line = append(line, '}', '\n')
	_, err := f.w.Write(line)
	return err
}
