package apiserver

import (
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"swell.dev/swell/controlplane"
)

func metaKind(version, kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: metav1.GroupName, Version: version, Kind: kind}
}

// respond answers with one object in the form that was asked for. It may be one that isn't stored: a dry
// run's has the version of the object that it would replace, so that its encoding can't be shared.
func (q *request) respond(s *Server, code int, obj controlplane.Object) error {
	out, gvk, err := q.transform(obj, tableOptions{withColumns: true})
	if err != nil {
		return err
	}
	s.write(q.w, q.r, code, q.as, out, gvk)
	return nil
}

// respondStored is respond for an object as the store has it, whose encoding watchers may share.
func (q *request) respondStored(s *Server, code int, obj controlplane.Object) error {
	if q.as.as != "" {
		return q.respond(s, code, obj)
	}
	data, err := s.codecs.encodeStored(obj, q.res.gvk, q.as)
	if err != nil {
		return err
	}
	writeBytes(q.w, q.r, code, q.as.contentType(), data)
	return nil
}

// transform answers obj as the client wants to see it.
func (q *request) transform(obj controlplane.Object, opts tableOptions) (runtime.Object, schema.GroupVersionKind, error) {
	switch q.as.as {
	case "":
		return obj, q.res.gvk, nil
	case "PartialObjectMetadata":
		return partial(obj, q.as.version), metaKind(q.as.version, "PartialObjectMetadata"), nil
	case "Table":
		t, err := q.table(controlplane.ItemsOf(q.resource, []controlplane.Object{obj}), metav1.ListMeta{ResourceVersion: obj.GetResourceVersion()}, opts)
		return t, metaKind(q.as.version, "Table"), err
	}
	return nil, schema.GroupVersionKind{}, notAcceptable([]string{q.as.media})
}

// respondList answers with a list in the form that was asked for.
func (q *request) respondList(s *Server, items controlplane.Items, lm metav1.ListMeta) error {
	if items.Len() >= streamedList && q.as.as == "" && !q.as.pretty {
		if streamed, err := q.streamList(s, items, lm); streamed || err != nil {
			return err
		}
	}
	var out runtime.Object
	var gvk schema.GroupVersionKind
	switch q.as.as {
	case "":
		list, err := q.res.list(items, lm)
		if err != nil {
			return err
		}
		out, gvk = list, q.res.listKind()
	case "PartialObjectMetadataList":
		list := &metav1.PartialObjectMetadataList{ListMeta: lm, Items: make([]metav1.PartialObjectMetadata, 0, items.Len())}
		for i := range items.Len() {
			list.Items = append(list.Items, *partial(items.Object(i), q.as.version))
		}
		out, gvk = list, metaKind(q.as.version, "PartialObjectMetadataList")
	case "Table":
		t, err := q.table(items, lm, tableOptions{withColumns: true})
		if err != nil {
			return err
		}
		out, gvk = t, metaKind(q.as.version, "Table")
	default:
		return notAcceptable([]string{q.as.media})
	}
	s.write(q.w, q.r, http.StatusOK, q.as, out, gvk)
	return nil
}

// list answers a typed list that shares its items' contents.
func (r *resource) list(items controlplane.Items, lm metav1.ListMeta) (runtime.Object, error) {
	list := r.rules.newList()
	objects := make([]runtime.Object, items.Len())
	for i := range objects {
		objects[i] = withKind(items.Object(i), schema.GroupVersionKind{}) // items of a typed list don't repeat their kind
	}
	if err := meta.SetList(list, objects); err != nil {
		return nil, fmt.Errorf("list of %s: %w", r.plural, err)
	}
	acc, err := meta.ListAccessor(list)
	if err != nil {
		return nil, fmt.Errorf("list of %s: %w", r.plural, err)
	}
	acc.SetResourceVersion(lm.ResourceVersion)
	acc.SetContinue(lm.Continue)
	acc.SetRemainingItemCount(lm.RemainingItemCount)
	return list, nil
}

func partial(obj metav1.Object, version string) *metav1.PartialObjectMetadata {
	p := meta.AsPartialObjectMetadata(obj)
	p.SetGroupVersionKind(metaKind(version, "PartialObjectMetadata"))
	return p
}

// tableOptions say how a Table is drawn.
type tableOptions struct {
	withColumns bool // a watch sends the columns with its first event only
}

func (q *request) table(items controlplane.Items, lm metav1.ListMeta, opts tableOptions) (*metav1.Table, error) {
	if q.res.table.row == nil {
		return nil, apierrors.NewInternalError(errors.New(q.res.plural + " have no table"))
	}
	include := metav1.IncludeObjectPolicy(q.r.URL.Query().Get("includeObject"))
	switch include {
	case "":
		include = metav1.IncludeMetadata
	case metav1.IncludeMetadata, metav1.IncludeNone, metav1.IncludeObject:
	default:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("unrecognized includeObject value: %q", include))
	}
	t := &metav1.Table{ListMeta: lm, Rows: make([]metav1.TableRow, 0, items.Len())}
	if opts.withColumns {
		t.ColumnDefinitions = q.res.table.columns
	}
	for i := range items.Len() {
		o := items.Object(i)
		row := q.res.table.row(o)
		switch include {
		case metav1.IncludeMetadata:
			row.Object.Object = partial(o, q.as.version)
		case metav1.IncludeObject:
			row.Object.Object = withKind(o, q.res.gvk)
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}
