package apiserver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// frames writes the events of one watch: JSON lines, or protobuf with the length before each (4 bytes,
// big-endian).
type frames struct {
	w     http.ResponseWriter
	flush func() error
	media string
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
	f := &frames{w: w, flush: http.NewResponseController(w).Flush, media: media}
	return f, f.flush()
}

// send writes one event. The object is encoded in the same form as the frames.
func (f *frames) send(t watch.EventType, object []byte) error {
	if f.media == mediaProtobuf {
		data, err := (&metav1.WatchEvent{Type: string(t), Object: runtime.RawExtension{Raw: object}}).Marshal()
		if err != nil {
			return fmt.Errorf("watch event: %w", err)
		}
		if _, err = f.w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(data)))); err != nil {
			return err
		}
		_, err = f.w.Write(data)
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
