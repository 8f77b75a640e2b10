package apiserver

import (
	"context"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/controlplane"
)

// resource is one kind that is served: what discovery tells of it, and what becomes of its requests.
type resource struct {
	gvk              schema.GroupVersionKind
	plural, singular string
	short            []string
	categories       []string
	namespaced       bool
	verbs            []string
	types            []string // media types; nil: all
	subresources     []subresource
	serve            func(*request) error

	rules *rules // of stored resources
	table table
}

// subresource is a part of an object with a path of its own.
type subresource struct {
	name    string
	gvk     schema.GroupVersionKind // of its body, for discovery
	methods []string
	verbs   []string // for discovery
	types   []string // media types; empty but not nil: its own
	serve   func(*request) error
}

// rules are what is particular about a stored kind.
type rules struct {
	new     func() controlplane.Object
	newList func() runtime.Object
	// fields answers the values that field selectors may ask for, besides metadata.name and metadata.namespace.
	fields func(controlplane.Object) fields.Set
	// prepare defaults a new object and drops what users may not set.
	prepare func(controlplane.Object)
	// admit, where set, looks at a new object once it is valid, and fills in what follows from other objects.
	admit func(controlplane.Object) error
	// warn, where set, answers what whoever made an object should know of it.
	warn func(controlplane.Object) []error
	// prepareUpdate carries over from old what users may not change.
	prepareUpdate func(next, old controlplane.Object)
	// specChanged tells whether the generation grows. Nil: the kind has none.
	specChanged    func(next, old controlplane.Object) bool
	validate       func(controlplane.Object) field.ErrorList
	validateUpdate func(next, old controlplane.Object) field.ErrorList
	// admitUpdate, where set, looks at a valid update.
	admitUpdate func(next, old controlplane.Object) error
	// create and delete, where set, replace the plain commit.
	create func(context.Context, controlplane.Object) (controlplane.Object, error)
	delete func(context.Context, controlplane.Key, deletion) (controlplane.Object, bool, error)
	// preview, where set, answers what a dry run of a create does, by what it would have made.
	preview func(context.Context, controlplane.Object) controlplane.Object
}

func (r *rules) steps() steps {
	return steps{prepare: r.prepare, validate: r.validate, create: r.create, preview: r.preview}
}

func (r *resource) key(namespace, name string) controlplane.Key {
	return controlplane.Key{Resource: r.plural, Namespace: namespace, Name: name}
}

func (r *resource) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.gvk.Group, Resource: r.plural}
}

func (r *resource) subresource(name string) *subresource {
	for i := range r.subresources {
		if r.subresources[i].name == name {
			return &r.subresources[i]
		}
	}
	return nil
}

func (r *resource) listKind() schema.GroupVersionKind {
	return r.gvk.GroupVersion().WithKind(r.gvk.Kind + "List")
}

// registry holds what is served, in the order of discovery.
type registry struct {
	all    []*resource
	byPath map[schema.GroupVersionResource]*resource
}

func (g *registry) add(list ...*resource) {
	for _, r := range list {
		g.all = append(g.all, r)
		g.byPath[r.gvk.GroupVersion().WithResource(r.plural)] = r
	}
}

func (g *registry) find(group, version, plural string) *resource {
	return g.byPath[schema.GroupVersionResource{Group: group, Version: version, Resource: plural}]
}

// groupVersions answers the served ones, the core group first.
func (g *registry) groupVersions() []schema.GroupVersion {
	var out []schema.GroupVersion
	seen := map[schema.GroupVersion]bool{}
	for _, r := range g.all {
		if gv := r.gvk.GroupVersion(); !seen[gv] {
			seen[gv] = true
			out = append(out, gv)
		}
	}
	return out
}

var (
	readVerbs   = []string{"get", "list", "watch"}
	allVerbs    = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
	getAndPost  = []string{http.MethodGet, http.MethodPost}
	getOnly     = []string{http.MethodGet, http.MethodHead}
	ownResponse = []string{}
)

func core(kind string) schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind(kind) }

func (s *Server) newRegistry() *registry {
	g := &registry{byPath: map[schema.GroupVersionResource]*resource{}}
	g.add(s.configMaps(), s.events(), s.namespaces(), s.nodes(), s.pods(), s.secrets(), s.priorityClasses())
	g.add(s.selfSubjectReview(), s.selfSubjectAccessReview(), s.selfSubjectRulesReview())
	g.add(s.nodeMetrics(), s.podMetrics())
	g.add(s.bills(), s.nodeImages())
	if s.cfg.Admission.ValidateLimitRange != nil {
		g.add(s.limitRanges())
	}
	if s.cfg.Quota != nil {
		g.add(s.resourceQuotas())
	}
	if s.cfg.Admission.ValidateSlotPolicy != nil {
		g.add(s.slotPolicies())
	}
	if s.cfg.Admission.ValidateStartupBoost != nil {
		g.add(s.startupBoosts())
	}
	if s.cfg.Admission.ValidateAutosize != nil {
		g.add(s.autosizes())
	}
	if s.cfg.Recommendations != nil {
		g.add(s.recommendations())
	}
	if s.cfg.Budgets != nil {
		g.add(s.budgets(), s.accountBudgets())
	}
	if s.cfg.Sales.Complete != nil && s.cfg.Sales.Validate != nil {
		g.add(s.savingsPlans())
	}
	if s.cfg.IssueJoinToken != nil {
		g.add(s.joinTokens())
	}
	return g
}

// serveStored serves the plain verbs of a stored resource.
func (s *Server) serveStored(q *request) error {
	switch q.verb {
	case "get":
		return s.get(q)
	case "list":
		return s.list(q)
	case "watch":
		return s.watch(q)
	case "create":
		return s.create(q)
	case "update":
		return s.update(q)
	case "patch":
		return s.patch(q)
	case "delete":
		return s.deleteOne(q)
	case "deletecollection":
		return s.deleteMany(q)
	}
	return notServed(q.verb)
}
