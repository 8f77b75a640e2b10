package apiserver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	goruntime "runtime"
	"slices"
	"strings"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
)

// The Kubernetes release whose API is spoken: that of the k8s.io modules.
const kubernetesMajor, kubernetesMinor = "1", "37"

// aggregated is the media type of discovery in one answer.
const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

func (s *Server) serveVersion(w http.ResponseWriter, r *http.Request) {
	info := version.Info{
		Major: kubernetesMajor, Minor: kubernetesMinor,
		GitVersion: "v" + kubernetesMajor + "." + kubernetesMinor + ".0+swell." + buildMetadata(s.cfg.Version),
		GoVersion:  goruntime.Version(), Compiler: goruntime.Compiler, Platform: goruntime.GOOS + "/" + goruntime.GOARCH,
	}
	if err := writeJSON(w, r, info); err != nil {
		s.writeError(w, r, err, schema.GroupResource{}, "")
	}
}

// buildMetadata keeps what a semantic version may carry after its plus sign.
func buildMetadata(v string) string {
	return strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '-' {
			return c
		}
		return '-'
	}, v)
}

// discoveryOf answers what serves a path that names no resource.
func (s *Server) discoveryOf(path string) (func(http.ResponseWriter, *http.Request) error, error) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case path == "/":
		return s.serveRoot, nil
	case parts[0] == "api" && len(parts) == 1:
		return s.serveCore, nil
	case parts[0] == "apis" && len(parts) == 1:
		return s.serveGroups, nil
	case parts[0] == "api" && len(parts) == 2:
		return s.serveGroupVersion(schema.GroupVersion{Version: parts[1]})
	case parts[0] == "apis" && len(parts) == 2:
		return s.serveGroup(parts[1])
	case parts[0] == "apis" && len(parts) == 3:
		return s.serveGroupVersion(schema.GroupVersion{Group: parts[1], Version: parts[2]})
	case path == "/openapi/v2":
		return s.serveOpenAPIv2, nil
	case path == "/openapi/v3":
		return s.serveOpenAPIv3Index, nil
	case strings.HasPrefix(path, "/openapi/v3/"):
		return s.serveOpenAPIv3(strings.TrimPrefix(path, "/openapi/v3/"))
	case path == "/metrics" && s.cfg.Metrics != nil:
		return func(w http.ResponseWriter, r *http.Request) error {
			s.cfg.Metrics.ServeHTTP(w, r)
			return nil
		}, nil
	case strings.HasPrefix(path, "/debug/pprof/"):
		return serveProfile(strings.TrimPrefix(path, "/debug/pprof/")), nil
	}
	return nil, notServed("get")
}

func (s *Server) serveRoot(w http.ResponseWriter, r *http.Request) error {
	paths := []string{"/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"}
	if s.cfg.Metrics != nil {
		paths = append(paths, "/metrics")
	}
	for _, gv := range s.resources.groupVersions() {
		if gv.Group != "" {
			paths = append(paths, "/apis/"+gv.Group, "/apis/"+gv.String())
		}
	}
	slices.Sort(paths)
	return writeJSON(w, r, metav1.RootPaths{Paths: slices.Compact(paths)})
}

func wantsAggregated(r *http.Request) bool {
	for _, c := range parseAccept(strings.Join(r.Header.Values("Accept"), ",")) {
		if c.media != mediaJSON && c.media != "*/*" {
			continue
		}
		switch {
		case c.params["as"] == "":
			return false
		case c.params["g"] == "apidiscovery.k8s.io" && c.params["v"] == "v2" && c.params["as"] == "APIGroupDiscoveryList":
			return true
		}
	}
	return false
}

func (s *Server) serveCore(w http.ResponseWriter, r *http.Request) error {
	if wantsAggregated(r) {
		return s.serveAggregated(w, r, func(gv schema.GroupVersion) bool { return gv.Group == "" })
	}
	return writeJSON(w, r, metav1.APIVersions{
		TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"},
		ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{{ClientCIDR: "0.0.0.0/0", ServerAddress: r.Host}},
	})
}

func (s *Server) groups() []metav1.APIGroup {
	groups := []metav1.APIGroup{}
	for _, gv := range s.resources.groupVersions() {
		if gv.Group == "" {
			continue
		}
		v := metav1.GroupVersionForDiscovery{GroupVersion: gv.String(), Version: gv.Version}
		groups = append(groups, metav1.APIGroup{Name: gv.Group, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v})
	}
	return groups
}

func (s *Server) serveGroups(w http.ResponseWriter, r *http.Request) error {
	if wantsAggregated(r) {
		return s.serveAggregated(w, r, func(gv schema.GroupVersion) bool { return gv.Group != "" })
	}
	return writeJSON(w, r, metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: s.groups()})
}

func (s *Server) serveGroup(name string) (func(http.ResponseWriter, *http.Request) error, error) {
	for _, g := range s.groups() {
		if g.Name == name {
			g.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
			return func(w http.ResponseWriter, r *http.Request) error { return writeJSON(w, r, g) }, nil
		}
	}
	return nil, notServed("get")
}

func (s *Server) serveGroupVersion(gv schema.GroupVersion) (func(http.ResponseWriter, *http.Request) error, error) {
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: gv.String()}
	for _, res := range s.resources.all {
		if res.gvk.GroupVersion() != gv {
			continue
		}
		if len(res.verbs) > 0 {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: res.plural, SingularName: res.singular, Namespaced: res.namespaced, Kind: res.gvk.Kind,
				Verbs: res.verbs, ShortNames: res.short, Categories: res.categories,
			})
		}
		for _, sub := range res.subresources {
			r := metav1.APIResource{Name: res.plural + "/" + sub.name, Namespaced: res.namespaced, Kind: sub.gvk.Kind, Verbs: sub.verbs}
			if sub.gvk.GroupVersion() != gv {
				r.Group, r.Version = sub.gvk.Group, sub.gvk.Version
			}
			list.APIResources = append(list.APIResources, r)
		}
	}
	if list.APIResources == nil {
		return nil, notServed("get")
	}
	return func(w http.ResponseWriter, r *http.Request) error { return writeJSON(w, r, list) }, nil
}

func (s *Server) serveAggregated(w http.ResponseWriter, r *http.Request, include func(schema.GroupVersion) bool) error {
	list := apidiscoveryv2.APIGroupDiscoveryList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: "apidiscovery.k8s.io/v2"}}
	for _, gv := range s.resources.groupVersions() {
		if include(gv) {
			list.Items = append(list.Items, apidiscoveryv2.APIGroupDiscovery{
				ObjectMeta: metav1.ObjectMeta{Name: gv.Group},
				Versions: []apidiscoveryv2.APIVersionDiscovery{{
					Version: gv.Version, Resources: s.discovered(gv), Freshness: apidiscoveryv2.DiscoveryFreshnessCurrent,
				}},
			})
		}
	}
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	writeCacheable(w, r, aggregated, data)
	return nil
}

func (s *Server) discovered(gv schema.GroupVersion) []apidiscoveryv2.APIResourceDiscovery {
	kind := func(gvk schema.GroupVersionKind) *metav1.GroupVersionKind {
		return &metav1.GroupVersionKind{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}
	}
	var out []apidiscoveryv2.APIResourceDiscovery
	for _, res := range s.resources.all {
		if res.gvk.GroupVersion() != gv {
			continue
		}
		d := apidiscoveryv2.APIResourceDiscovery{
			Resource: res.plural, SingularResource: res.singular, Scope: apidiscoveryv2.ScopeCluster,
			Verbs: res.verbs, ShortNames: res.short, Categories: res.categories,
		}
		if len(res.verbs) > 0 { // otherwise only its subresources are served
			d.ResponseKind = kind(res.gvk)
		}
		if res.namespaced {
			d.Scope = apidiscoveryv2.ScopeNamespace
		}
		for _, sub := range res.subresources {
			d.Subresources = append(d.Subresources, apidiscoveryv2.APISubresourceDiscovery{Subresource: sub.name, ResponseKind: kind(sub.gvk), Verbs: sub.verbs})
		}
		out = append(out, d)
	}
	return out
}

// writeCacheable answers with what changes with the server's version only. A client that has it is told so.
func writeCacheable(w http.ResponseWriter, r *http.Request, contentType string, data []byte) {
	sum := sha256.Sum256(data)
	etag := `"` + hex.EncodeToString(sum[:16]) + `"`
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.Header().Add("Vary", "Accept")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	writeBytes(w, r, http.StatusOK, contentType, data)
}
