package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// probedEnv makes the test binary be the server that TestProbes puts into an image: what a container of
// that image runs is this program with nothing of the tests.
const probedEnv = "SWELL_E2E_PROBED"

// Ports of the server.
const (
	probedHTTP = 8080
	probedTCP  = 7070 // open while it is healthy
	probedGRPC = 9090
)

func init() {
	if os.Getenv(probedEnv) == "" {
		return
	}
	var err error
	if len(os.Args) > 1 && os.Args[1] == "check" {
		err = checkProbed()
	} else {
		err = newProbed().serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// probed can be told to be unhealthy. It begins healthy and not started.
type probed struct {
	mu     sync.Mutex // guards what follows
	called *sync.Cond
	calls  map[string]int // by path
	state  map[string]bool
	agent  string // of the latest probe
	tcp    net.Listener
	health *health.Server
}

func newProbed() *probed {
	p := &probed{calls: map[string]int{}, state: map[string]bool{}, health: health.NewServer()}
	p.called = sync.NewCond(&p.mu)
	return p
}

func (p *probed) serve() error {
	if err := p.turn("healthy", true); err != nil {
		return err
	}
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", probedGRPC))
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	healthv1.RegisterHealthServer(server, p.health)
	go server.Serve(l) //nolint:errcheck // it lives as long as the process
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Word") != "please" || r.Host != "probed.example" || r.URL.RawQuery != "of=server" {
			http.Error(w, "asked as "+r.Host+r.URL.String(), http.StatusBadRequest)
			return
		}
		p.answer(w, r, "healthy")
	})
	mux.HandleFunc("GET /startup", func(w http.ResponseWriter, r *http.Request) { p.answer(w, r, "started") })
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, r *http.Request) { p.answer(w, r, "started") })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) { p.answer(w, r, "healthy") })
	mux.HandleFunc("GET /turn", func(w http.ResponseWriter, r *http.Request) {
		for name := range r.URL.Query() {
			to, err := strconv.ParseBool(r.URL.Query().Get(name))
			if err == nil {
				err = p.turn(name, to)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		}
	})
	mux.HandleFunc("GET /await", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.URL.Query().Get("times"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for p.calls[r.URL.Query().Get("path")] < n {
			p.called.Wait()
		}
		fmt.Fprintf(w, "startup=%d live=%d ready=%d\n", p.calls["/startup"], p.calls["/live"], p.calls["/ready"])
	})
	mux.HandleFunc("GET /who", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		fmt.Fprintln(w, p.agent)
	})
	return http.ListenAndServe(fmt.Sprintf(":%d", probedHTTP), mux) //nolint:gosec // a test's server
}

func (p *probed) answer(w http.ResponseWriter, r *http.Request, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[r.URL.Path]++
	p.agent = r.UserAgent()
	p.called.Broadcast()
	if !p.state[what] {
		http.Error(w, "not "+what, http.StatusServiceUnavailable)
	}
}

func (p *probed) turn(what string, to bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state[what] = to
	if what != "healthy" {
		return nil
	}
	status := healthv1.HealthCheckResponse_NOT_SERVING
	if to {
		status = healthv1.HealthCheckResponse_SERVING
	}
	p.health.SetServingStatus("probed", status)
	if p.tcp != nil {
		p.tcp.Close() //nolint:errcheck // nothing was written
		p.tcp = nil
	}
	if !to {
		return os.Remove(healthyFile)
	}
	if err := os.WriteFile(healthyFile, nil, 0o600); err != nil {
		return err
	}
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", probedTCP))
	if err != nil {
		return err
	}
	p.tcp = l
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close() //nolint:errcheck // nothing was written
		}
	}()
	return nil
}

const healthyFile = "/tmp/healthy"

// checkProbed is the command of an exec probe.
func checkProbed() error {
	_, err := os.Stat(healthyFile)
	return err
}
