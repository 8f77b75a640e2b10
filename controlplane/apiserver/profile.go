package apiserver

import (
	"net/http"
	"net/http/pprof"
)

// serveProfile serves what the Go runtime tells of this process, for administrators: a CPU profile
// ("profile?seconds=30"), or by name heap, goroutine, mutex and the like.
func serveProfile(name string) func(http.ResponseWriter, *http.Request) error {
	handler := pprof.Handler(name)
	switch name {
	case "":
		handler = http.HandlerFunc(pprof.Index)
	case "profile":
		handler = http.HandlerFunc(pprof.Profile)
	case "trace":
		handler = http.HandlerFunc(pprof.Trace)
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		handler.ServeHTTP(w, r)
		return nil
	}
}
