package apiserver

import (
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
)

// gzipAbove is the size from which an answer is worth compressing, as in kube-apiserver.
const gzipAbove = 128 << 10

// writeBytes sends a whole answer, compressed where it is large and the client can read that.
func writeBytes(w http.ResponseWriter, r *http.Request, code int, contentType string, data []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-cache, private")
	h.Add("Vary", "Accept")
	if len(data) > gzipAbove && r.Method == http.MethodGet && acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		w.WriteHeader(code)
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			panic(err) // the level is a constant
		}
		// The only error left is that the client went away.
		_, _ = z.Write(data)
		_ = z.Close()
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(code)
	_, _ = w.Write(data)
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" && strings.ReplaceAll(params, " ", "") != "q=0" {
			return true
		}
	}
	return false
}
