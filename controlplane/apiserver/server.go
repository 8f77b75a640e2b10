package apiserver

import (
	"net/http"
	"sync"
	"sync/atomic"

	schedulingv1 "k8s.io/api/scheduling/v1"

	"k8s.io/apimachinery/pkg/runtime"
)

// Server answers API requests. Handler may be served as soon as New has returned; Run does what must go
// on besides.
type Server struct {
	cfg       Config
	scheme    *runtime.Scheme
	codecs    codecs
	resources *registry
	snapshots *snapshots
	templates templates
	openapi   openAPI
	apply     fieldManagers
	uids      stripes
	workers   *workers
	handler   http.Handler

	limits       limitBook
	defaultClass atomic.Pointer[schedulingv1.PriorityClass] // of pods that name none; nil: there is none

	closing chan struct{} // closed when Run ends
}

// New answers a server. It starts nothing.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:       cfg,
		scheme:    scheme,
		codecs:    newCodecs(scheme),
		snapshots: newSnapshots(),
		closing:   make(chan struct{}),
	}
	s.workers = newWorkers(s.closing)
	s.resources = s.newRegistry()
	s.findDefaultClass()
	s.findLimits("")
	s.handler = s.spread(s.guard(s.newMux()))
	return s, nil
}

// Handler serves the API.
func (s *Server) Handler() http.Handler { return s.handler }

// stripes serialises what is done to the ledger and the store for one pod.
type stripes [1024]sync.Mutex

func (s *stripes) lock(uid string) (unlock func()) {
	h := uint32(2166136261) // FNV-1a
	for i := 0; i < len(uid); i++ {
		h = (h ^ uint32(uid[i])) * 16777619
	}
	m := &s[h%uint32(len(s))]
	m.Lock()
	return m.Unlock
}
