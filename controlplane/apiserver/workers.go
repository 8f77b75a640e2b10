package apiserver

import "net/http"

// workers run short requests on goroutines that stay: HTTP/2 starts one for each request, whose small stack
// would be grown and copied several times on the way to the store.
type workers struct {
	jobs  chan job
	slots chan struct{} // one for each worker that runs
	ended <-chan struct{}
}

type job struct {
	w    http.ResponseWriter
	r    *http.Request
	next http.Handler
	done chan any // what it panicked with; nil: nothing. Capacity 1
}

// maxWorkers bounds what is kept; requests above it run where they are.
const maxWorkers = 256

func newWorkers(ended <-chan struct{}) *workers {
	return &workers{jobs: make(chan job), slots: make(chan struct{}, maxWorkers), ended: ended}
}

// serve runs next for a request that is short, on a worker if there is one, and returns when it has been served.
func (p *workers) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	j := job{w: w, r: r, next: next, done: make(chan any, 1)}
	select {
	case p.jobs <- j:
	default:
		select {
		case p.slots <- struct{}{}:
			go p.run(j)
		default:
			next.ServeHTTP(w, r)
			return
		}
	}
	if p := <-j.done; p != nil {
		panic(p) // as it is to be known to who serves the connection
	}
}

// run serves until the server's Run ends.
func (p *workers) run(j job) {
	defer func() { <-p.slots }()
	for {
		j.serve()
		select {
		case j = <-p.jobs:
		case <-p.ended:
			return
		}
	}
}

func (j *job) serve() {
	defer func() { j.done <- recover() }()
	j.next.ServeHTTP(j.w, j.r)
}

// short tells a request that ends by itself and soon: one with a body that isn't a stream.
func short(r *http.Request) bool {
	return r.Method == http.MethodPost && r.ProtoMajor == 2 && r.ContentLength >= 0 && r.ContentLength <= bodyLimit
}

// spread serves short requests on workers, all others where they come.
func (s *Server) spread(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if short(r) {
			s.workers.serve(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}
