package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/yaml"

	"swell.dev/swell/controlplane"
)

// fieldManagers are made when they are first needed: the schemas take half a second to load.
type fieldManagers struct {
	mu        sync.Mutex
	types     managedfields.TypeConverter            // guarded by mu
	bySubject map[string]*managedfields.FieldManager // guarded by mu; by group, plural and subresource
}

func (s *Server) fieldManager(q *request) (*managedfields.FieldManager, error) {
	f := &s.apply
	f.mu.Lock()
	defer f.mu.Unlock()
	subject := q.group + "/" + q.resource + "/" + q.subresource
	if m := f.bySubject[subject]; m != nil {
		return m, nil
	}
	if f.types == nil {
		f.types = applyconfigurations.NewTypeConverter(s.scheme)
		f.bySubject = map[string]*managedfields.FieldManager{}
	}
	gv := q.res.gvk.GroupVersion()
	types := f.types
	if gv == swellVersion { // not among client-go's: lists are owned as a whole
		types = managedfields.NewDeducedTypeConverter()
	}
	m, err := managedfields.NewDefaultFieldManager(types, s.scheme, s.scheme, s.scheme, q.res.gvk, gv, q.subresource,
		map[fieldpath.APIVersion]fieldpath.Filter{fieldpath.APIVersion(gv.String()): ownable(q.subresource)})
	if err != nil {
		return nil, fmt.Errorf("field manager of %s: %w", subject, err)
	}
	f.bySubject[subject] = m
	return m, nil
}

// ownable are the fields that a request for this subresource can change, and so own.
func ownable(subresource string) fieldpath.Filter {
	switch subresource {
	case "status":
		return fieldpath.NewIncludeMatcherFilter(fieldpath.MakePrefixMatcherOrDie("status"))
	case "resize":
		return fieldpath.NewIncludeMatcherFilter(
			fieldpath.MakePrefixMatcherOrDie("spec", "containers", fieldpath.MatchAnyPathElement(), "resources"))
	}
	return fieldpath.NewExcludeSetFilter(fieldpath.NewSet(fieldpath.MakePathOrDie("status")))
}

// managerOf is who a write is attributed to: the named manager, or the program that sent it.
func (s *Server) managerOf(q *request, named string) string {
	if named != "" {
		return named
	}
	agent, _, _ := strings.Cut(q.r.UserAgent(), "/")
	if agent == "" {
		return "unknown"
	}
	if len(agent) > 128 { // the longest manager that validation takes
		agent = agent[:128]
	}
	return agent
}

// trackUpdate attributes what changed to manager, for objects that are tracked.
func (s *Server) trackUpdate(q *request, next, old controlplane.Object, manager string) error {
	if len(old.GetManagedFields()) == 0 {
		next.SetManagedFields(nil)
		return nil
	}
	m, err := s.fieldManager(q)
	if err != nil {
		return err
	}
	live := withKind(old, q.res.gvk)
	fresh := withKind(next, q.res.gvk).DeepCopyObject()
	tracked := m.UpdateNoErrors(live, fresh, manager).(controlplane.Object)
	next.SetManagedFields(tracked.GetManagedFields())
	return nil
}

// serverSideApply merges what the client wants to own into the object, or creates it.
func (s *Server) serverSideApply(q *request, p patchBody, opts *metav1.PatchOptions, commit committer, finish finisher) error {
	applied, err := s.readApplied(q, p)
	if err != nil {
		return err
	}
	m, err := s.fieldManager(q)
	if err != nil {
		return err
	}
	dryRun := len(opts.DryRun) > 0
	force := opts.Force != nil && *opts.Force
	merge := func(live controlplane.Object) (controlplane.Object, error) {
		out, err := m.Apply(withKind(live, q.res.gvk), applied.DeepCopy(), opts.FieldManager, force)
		if err != nil {
			var api apierrors.APIStatus
			if !errors.As(err, &api) {
				err = apierrors.NewBadRequest(err.Error())
			}
			return nil, err
		}
		return out.(controlplane.Object), nil
	}
	if _, exists := s.cfg.Store.Get(q.key()); !exists && q.subresource == "" {
		return s.applyNew(q, merge, dryRun)
	}
	out, err := commit(q.r.Context(), q.key(), dryRun, func(old controlplane.Object) (controlplane.Object, error) {
		next, err := merge(old)
		if err != nil {
			return nil, err
		}
		return finish(next, old, "")
	})
	if err != nil {
		return err
	}
	s.afterUpdate(q, out)
	return q.respond(s, http.StatusOK, out)
}

func (s *Server) applyNew(q *request, merge func(controlplane.Object) (controlplane.Object, error), dryRun bool) error {
	create := q.attributes()
	create.Verb = "create"
	if err := s.authorize(q.user, create); err != nil {
		return err
	}
	empty := q.res.rules.new()
	obj, err := merge(empty)
	if err != nil {
		return err
	}
	obj.SetName(q.name)
	if obj.GetUID() != "" {
		return apierrors.NewConflict(q.groupResource(), q.name, fmt.Errorf("uid mismatch: the provided object specified uid %s, and no existing object was found", obj.GetUID()))
	}
	out, err := s.createObject(q.r.Context(), q.res, q.namespace, obj, dryRun)
	if err != nil {
		return err
	}
	q.warnOf(out)
	return q.respond(s, http.StatusCreated, out)
}

// readApplied reads an apply's body, YAML or JSON, and checks it against the kind's fields.
func (s *Server) readApplied(q *request, p patchBody) (*unstructured.Unstructured, error) {
	warnings, err := s.decode(p.data, mediaYAML, q.res.rules.new(), q.res.gvk, p.fieldValidation)
	if err != nil {
		return nil, err
	}
	warn(q.w, warnings)
	u := &unstructured.Unstructured{Object: map[string]any{}}
	if err := yaml.Unmarshal(p.data, &u.Object); err != nil {
		return nil, apierrors.NewBadRequest("error decoding YAML: " + err.Error())
	}
	if u.GetAPIVersion() == "" || u.GetKind() == "" {
		return nil, apierrors.NewBadRequest("an apply must set apiVersion and kind")
	}
	if name := u.GetName(); name != "" && name != q.name {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", name, q.name))
	}
	if ns := u.GetNamespace(); ns != "" && ns != q.namespace {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the namespace of the provided object does not match the namespace sent on the request (%s != %s)", ns, q.namespace))
	}
	if u.GetManagedFields() != nil {
		return nil, apierrors.NewBadRequest("metadata.managedFields must be nil")
	}
	return u, nil
}
