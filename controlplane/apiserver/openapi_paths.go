package apiserver

import (
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"swell.dev/swell/api/v1alpha1"
)

// ownTypes are the Go types of kinds that the scheme doesn't know.
var ownTypes = map[string]reflect.Type{
	"AccountBudget":      reflect.TypeFor[v1alpha1.AccountBudget](),
	"AccountBudgetList":  reflect.TypeFor[v1alpha1.AccountBudgetList](),
	"Autosize":           reflect.TypeFor[v1alpha1.Autosize](),
	"AutosizeList":       reflect.TypeFor[v1alpha1.AutosizeList](),
	"Bill":               reflect.TypeFor[v1alpha1.Bill](),
	"BillList":           reflect.TypeFor[v1alpha1.BillList](),
	"Budget":             reflect.TypeFor[v1alpha1.Budget](),
	"BudgetList":         reflect.TypeFor[v1alpha1.BudgetList](),
	"JoinToken":          reflect.TypeFor[v1alpha1.JoinToken](),
	"NodeImageList":      reflect.TypeFor[v1alpha1.NodeImageList](),
	"Recommendation":     reflect.TypeFor[v1alpha1.Recommendation](),
	"RecommendationList": reflect.TypeFor[v1alpha1.RecommendationList](),
	"SavingsPlan":        reflect.TypeFor[v1alpha1.SavingsPlan](),
	"SavingsPlanList":    reflect.TypeFor[v1alpha1.SavingsPlanList](),
	"SlotPolicy":         reflect.TypeFor[v1alpha1.SlotPolicy](),
	"SlotPolicyList":     reflect.TypeFor[v1alpha1.SlotPolicyList](),
	"StartupBoost":       reflect.TypeFor[v1alpha1.StartupBoost](),
	"StartupBoostList":   reflect.TypeFor[v1alpha1.StartupBoostList](),
}

func (s *Server) goType(gvk schema.GroupVersionKind) (reflect.Type, bool) {
	if gvk.GroupVersion() == swellVersion {
		t, ok := ownTypes[gvk.Kind]
		return t, ok
	}
	o, err := s.scheme.New(gvk)
	if err != nil {
		return nil, false
	}
	return reflect.TypeOf(o).Elem(), true
}

// operation is one method of one path, as OpenAPI describes it.
type operation struct {
	method, action, id string
	gvk                schema.GroupVersionKind
	body               map[string]any // nil: none
	bodyTypes          []string
	answer             map[string]any // nil: text
	query              []string
}

var (
	writeQuery = []string{"dryRun", "fieldManager", "fieldValidation"}
	listQuery  = []string{"allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion",
		"resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch"}
	deleteQuery = []string{"dryRun", "gracePeriodSeconds", "propagationPolicy"}
)

// paths describes the paths of the included group versions, and defines in b what they refer to.
func (s *Server) paths(b *schemas, include func(schema.GroupVersion) bool) map[string]any {
	out := map[string]any{}
	for _, res := range s.resources.all {
		if !include(res.gvk.GroupVersion()) {
			continue
		}
		root := "/" + documentPath(res.gvk.GroupVersion())
		collection := root + "/" + res.plural
		if res.namespaced {
			if slices.Contains(res.verbs, "list") {
				s.describe(b, out, collection, false, s.operations(b, res, []string{"list"}, "ForAllNamespaces"))
			}
			collection = root + "/namespaces/{namespace}/" + res.plural
		}
		s.describe(b, out, collection, false, s.operations(b, res, []string{"list", "create", "deletecollection"}, ""))
		s.describe(b, out, collection+"/{name}", true, s.operations(b, res, []string{"get", "update", "patch", "delete"}, ""))
		for _, sub := range res.subresources {
			s.describe(b, out, collection+"/{name}/"+sub.name, true, s.subOperations(b, res, sub))
		}
	}
	return out
}

func (s *Server) operations(b *schemas, res *resource, verbs []string, suffix string) []operation {
	t, ok := s.goType(res.gvk)
	if !ok {
		return nil
	}
	var out []operation
	self := b.kind(t, res.gvk)
	for _, verb := range verbs {
		if !slices.Contains(res.verbs, verb) {
			continue
		}
		op := s.operation(b, verb, res.gvk, self)
		if verb == "list" {
			if list, ok := s.goType(res.listKind()); ok {
				op.answer = b.kind(list, res.listKind())
			}
		}
		op.id = operationID(verb, res, "") + suffix
		out = append(out, op)
	}
	return out
}

func (s *Server) subOperations(b *schemas, res *resource, sub subresource) []operation {
	var self map[string]any
	if t, ok := s.goType(sub.gvk); ok && (len(sub.types) > 0 || sub.types == nil) {
		self = b.kind(t, sub.gvk)
	}
	var out []operation
	for _, verb := range sub.verbs {
		op := s.operation(b, verb, sub.gvk, self)
		if self == nil {
			op.body, op.query = nil, nil
		}
		op.id = operationID(verb, res, sub.name)
		out = append(out, op)
	}
	return out
}

func (s *Server) operation(b *schemas, verb string, gvk schema.GroupVersionKind, self map[string]any) operation {
	op := operation{action: verb, gvk: gvk, answer: self}
	switch verb {
	case "get":
		op.method = "get"
	case "list":
		op.method, op.query = "get", listQuery
	case "create":
		op.method, op.action, op.body, op.query = "post", "post", self, writeQuery
	case "update":
		op.method, op.action, op.body, op.query = "put", "put", self, writeQuery
	case "patch":
		op.method, op.query, op.bodyTypes = "patch", append(slices.Clone(writeQuery), "force"), patchTypes
		op.body = b.of(reflect.TypeFor[metav1.Patch]())
	case "delete", "deletecollection":
		op.method, op.query = "delete", deleteQuery
		op.body = b.of(reflect.TypeFor[metav1.DeleteOptions]())
		op.answer = b.of(reflect.TypeFor[metav1.Status]())
		if verb == "deletecollection" {
			op.query = append(slices.Clone(deleteQuery), listQuery...)
		}
	}
	if op.bodyTypes == nil {
		op.bodyTypes = []string{"*/*"}
	}
	return op
}

func operationID(verb string, res *resource, sub string) string {
	names := map[string]string{"get": "read", "update": "replace", "deletecollection": "deleteCollection"}
	if n, ok := names[verb]; ok {
		verb = n
	}
	group, _, _ := strings.Cut(res.gvk.Group, ".")
	if group == "" {
		group = "core"
	}
	id := verb + title(group) + title(res.gvk.Version)
	if res.namespaced {
		id += "Namespaced"
	}
	return id + res.gvk.Kind + title(sub)
}

func title(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (s *Server) describe(b *schemas, paths map[string]any, path string, named bool, ops []operation) {
	if len(ops) == 0 {
		return
	}
	item := map[string]any{}
	var params []any
	if named {
		params = append(params, b.parameter("name", "path"))
	}
	if strings.Contains(path, "{namespace}") {
		params = append(params, b.parameter("namespace", "path"))
	}
	if params != nil {
		item["parameters"] = params
	}
	for _, op := range ops {
		item[op.method] = b.describe(op)
	}
	paths[path] = item
}

func (b *schemas) describe(op operation) map[string]any {
	var params []any
	for _, name := range op.query {
		params = append(params, b.parameter(name, "query"))
	}
	ok := map[string]any{"description": "OK"}
	out := map[string]any{
		"operationId":         op.id,
		"responses":           map[string]any{"200": ok, "401": map[string]any{"description": "Unauthorized"}},
		"x-kubernetes-action": op.action,
		"x-kubernetes-group-version-kind": map[string]any{
			"group": op.gvk.Group, "version": op.gvk.Version, "kind": op.gvk.Kind,
		},
	}
	if b.v3 {
		if op.answer != nil {
			ok["content"] = content(op.answer, mediaJSON, mediaYAML, mediaProtobuf)
		}
		if op.body != nil {
			out["requestBody"] = map[string]any{"content": content(op.body, op.bodyTypes...)}
		}
	} else {
		if op.answer != nil {
			ok["schema"] = op.answer
		}
		if op.body != nil {
			params = append(params, map[string]any{"name": "body", "in": "body", "schema": op.body})
		}
		out["consumes"] = op.bodyTypes
		out["produces"] = []string{mediaJSON, mediaYAML, mediaProtobuf}
	}
	if params != nil {
		out["parameters"] = params
	}
	return out
}

func content(schema map[string]any, media ...string) map[string]any {
	out := map[string]any{}
	for _, m := range media {
		out[m] = map[string]any{"schema": schema}
	}
	return out
}

// integers and booleans are the parameters that aren't strings.
var (
	integerParameters = []string{"gracePeriodSeconds", "limit", "timeoutSeconds"}
	booleanParameters = []string{"allowWatchBookmarks", "force", "sendInitialEvents", "watch"}
)

func (b *schemas) parameter(name, in string) map[string]any {
	kind := "string"
	switch {
	case slices.Contains(integerParameters, name):
		kind = "integer"
	case slices.Contains(booleanParameters, name):
		kind = "boolean"
	}
	p := map[string]any{"name": name, "in": in}
	if in == "path" {
		p["required"] = true
	}
	if b.v3 {
		p["schema"] = map[string]any{"type": kind, "uniqueItems": true}
	} else {
		p["type"], p["uniqueItems"] = kind, true
	}
	return p
}
