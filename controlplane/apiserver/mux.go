package apiserver

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"swell.dev/swell/controlplane"
)

func (s *Server) newMux() http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{"/healthz", "/livez", "/readyz"} {
		mux.HandleFunc(path, s.serveHealth)
	}
	mux.HandleFunc("/version", s.serveVersion)
	mux.HandleFunc("/", s.serveAuthenticated)
	return mux
}

// guard contains panics: the one request fails, the server goes on.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		guarded := &started{ResponseWriter: w}
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			s.cfg.Log.Error("panic in a request", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			if guarded.wrote {
				panic(http.ErrAbortHandler) // too late for an answer: cut the connection
			}
			s.writeError(w, r, apierrors.NewInternalError(fmt.Errorf("panic: %v", p)), schema.GroupResource{}, "")
		}()
		next.ServeHTTP(guarded, r)
	})
}

func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/livez" && s.cfg.Ready != nil {
		if err := s.cfg.Ready(); err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	writeBytes(w, r, http.StatusOK, "text/plain; charset=utf-8", []byte("ok"))
}

func (s *Server) serveAuthenticated(w http.ResponseWriter, r *http.Request) {
	user, err := s.cfg.Authenticate(r)
	if err != nil {
		if !errors.Is(err, controlplane.ErrUnavailable) {
			err = apierrors.NewUnauthorized("Unauthorized")
		}
		s.writeError(w, r, err, schema.GroupResource{}, "")
		return
	}
	if t, ok := s.billingTarget(r.URL.Path); ok {
		q := &request{target: t, w: w, r: r, user: user, verb: verbOf(r, t)}
		if err := s.serveBilling(q); err != nil {
			s.writeError(w, r, err, q.groupResource(), q.name)
		}
		return
	}
	t, ok := parseTarget(r.URL.Path)
	if !ok {
		s.serveNonResource(w, r, user)
		return
	}
	q := &request{target: t, w: w, r: r, user: user, verb: verbOf(r, t)}
	if err := s.serveResource(q); err != nil {
		s.writeError(w, r, err, q.groupResource(), q.name)
	}
}

func (s *Server) serveNonResource(w http.ResponseWriter, r *http.Request, user controlplane.User) {
	verb := strings.ToLower(r.Method)
	allowed, reason := s.cfg.Authorize(user, controlplane.Attributes{Verb: verb, Path: r.URL.Path})
	if !allowed {
		err := apierrors.NewForbidden(schema.GroupResource{}, "", fmt.Errorf("User %q cannot %s path %q%s", user.Name, verb, r.URL.Path, because(reason)))
		err.ErrStatus.Message = fmt.Sprintf("forbidden: User %q cannot %s path %q%s", user.Name, verb, r.URL.Path, because(reason))
		s.writeError(w, r, err, schema.GroupResource{}, "")
		return
	}
	serve, err := s.discoveryOf(r.URL.Path)
	if err == nil && r.Method != http.MethodGet && r.Method != http.MethodHead {
		err = apierrors.NewMethodNotSupported(schema.GroupResource{}, verb)
	}
	if err == nil {
		err = serve(w, r)
	}
	if err != nil {
		s.writeError(w, r, err, schema.GroupResource{}, "")
	}
}

func (s *Server) serveResource(q *request) error {
	if err := s.authorize(q.user, q.attributes()); err != nil {
		return err
	}
	q.res = s.resources.find(q.group, q.version, q.resource)
	if q.res == nil || q.res.namespaced && q.namespace == "" && q.name != "" {
		return notServed(q.verb)
	}
	if !q.res.namespaced && q.namespace != "" {
		if q.resource != "namespaces" || q.name != q.namespace {
			return notServed(q.verb)
		}
		q.namespace = "" // of a namespace, the name
	}
	if q.subresource != "" {
		sub := q.res.subresource(q.subresource)
		if sub == nil {
			return notServed(q.verb)
		}
		if !slices.Contains(sub.methods, q.r.Method) {
			return apierrors.NewMethodNotSupported(q.groupResource(), q.verb)
		}
		return s.negotiated(q, sub.types, sub.serve)
	}
	if !slices.Contains(q.res.verbs, q.verb) {
		return apierrors.NewMethodNotSupported(q.groupResource(), q.verb)
	}
	return s.negotiated(q, q.res.types, q.res.serve)
}

func (s *Server) negotiated(q *request, types []string, serve func(*request) error) error {
	if types == nil {
		types = s.codecs.types
	}
	if len(types) > 0 { // otherwise the handler answers in a form of its own
		var err error
		if q.as, err = negotiate(q.r, types, true); err != nil {
			return err
		}
	}
	return serve(q)
}

func (s *Server) authorize(user controlplane.User, a controlplane.Attributes) error {
	allowed, reason := s.cfg.Authorize(user, a)
	if allowed {
		return nil
	}
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	scope := "at the cluster scope"
	if a.Namespace != "" {
		scope = fmt.Sprintf("in the namespace %q", a.Namespace)
	}
	return apierrors.NewForbidden(schema.GroupResource{Group: a.Group, Resource: a.Resource}, a.Name,
		fmt.Errorf("User %q cannot %s resource %q in API group %q %s%s", user.Name, a.Verb, resource, a.Group, scope, because(reason)))
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// started knows whether an answer has begun. It passes on what streams and upgrades need.
type started struct {
	http.ResponseWriter
	wrote bool
}

func (w *started) WriteHeader(code int) {
	w.wrote = true
	w.ResponseWriter.WriteHeader(code)
}

func (w *started) Write(p []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(p)
}

// Flush and Hijack are for the streams that look for them by name.
func (w *started) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Hijack hands the connection over.
func (w *started) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.wrote = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap lets http.ResponseController reach the connection.
func (w *started) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func writeJSON(w http.ResponseWriter, r *http.Request, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	writeBytes(w, r, http.StatusOK, mediaJSON, append(data, '\n'))
	return nil
}
