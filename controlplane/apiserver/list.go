package apiserver

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
)

// continuation is a continue token: the state that is being listed and the last key that was answered.
type continuation struct {
	Version   uint64 `json:"v"`
	Namespace string `json:"ns,omitempty"`
	Name      string `json:"n"`
}

func (c continuation) String() string {
	data, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and a number
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

func parseContinuation(token string) (continuation, error) {
	var c continuation
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil || c.Version == 0 {
		return c, apierrors.NewBadRequest(fmt.Sprintf("continue key is not valid: %q", token))
	}
	return c, nil
}

func (s *Server) list(q *request) error {
	opts, err := q.listOptions()
	if err != nil {
		return err
	}
	items, lm, err := s.page(q.res, q.namespace, opts)
	if err != nil {
		return err
	}
	return q.respondList(s, items, lm)
}

// page answers the part of a consistent state that opts ask for.
func (s *Server) page(res *resource, namespace string, opts *internalversion.ListOptions) (controlplane.Items, metav1.ListMeta, error) {
	var lm metav1.ListMeta
	sel, err := res.selector(opts)
	if err != nil {
		return nil, lm, err
	}
	items, version, err := s.state(res, namespace, opts)
	if err != nil {
		return nil, lm, err
	}
	lm.ResourceVersion = formatVersion(version)
	whole := items
	if opts.Continue != "" {
		after, err := parseContinuation(opts.Continue)
		if err != nil {
			return nil, lm, err
		}
		items = items.Slice(search(items, after), items.Len())
	}
	out, more := sel.first(res.plural, items, opts.Limit)
	if more > 0 {
		last := out.Key(out.Len() - 1)
		lm.Continue = continuation{Version: version, Namespace: last.Namespace, Name: last.Name}.String()
		s.snapshots.put(snapshotKey{resource: res.plural, namespace: namespace, version: version}, whole)
		if sel.everything() {
			lm.RemainingItemCount = &more
		}
	}
	return out, lm, nil
}

// first answers the first items that match, at most limit (0: all), and whether there are more, if all match
// how many.
func (s selector) first(resource string, items controlplane.Items, limit int64) (out controlplane.Items, more int64) {
	n := int64(items.Len())
	if s.everything() {
		if limit > 0 && n > limit {
			return items.Slice(0, int(limit)), n - limit
		}
		return items, 0
	}
	var matching []controlplane.Object
	for i := range items.Len() {
		o := items.Object(i)
		if !s.matches(o) {
			continue
		}
		if limit > 0 && int64(len(matching)) == limit {
			return controlplane.ItemsOf(resource, matching), 1
		}
		matching = append(matching, o)
	}
	return controlplane.ItemsOf(resource, matching), 0
}

// state answers the objects at the version that opts ask for: now, or that of a snapshot.
func (s *Server) state(res *resource, namespace string, opts *internalversion.ListOptions) (controlplane.Items, uint64, error) {
	exact := uint64(0)
	switch {
	case opts.Continue != "":
		c, err := parseContinuation(opts.Continue)
		if err != nil {
			return nil, 0, err
		}
		if opts.ResourceVersion != "" && opts.ResourceVersion != "0" {
			return nil, 0, apierrors.NewBadRequest("specifying resource version is not allowed when using continue")
		}
		exact = c.Version
	default:
		asked, err := parseVersion(opts.ResourceVersion)
		if err != nil {
			return nil, 0, err
		}
		if present := s.cfg.Store.Version(); asked > present {
			return nil, 0, tooNew(asked, present)
		}
		if opts.ResourceVersionMatch == metav1.ResourceVersionMatchExact {
			exact = asked
		}
	}
	if exact == 0 {
		items, version := s.cfg.Store.Items(res.plural, namespace)
		return items, version, nil
	}
	if items, ok := s.snapshots.get(snapshotKey{resource: res.plural, namespace: namespace, version: exact}); ok {
		return items, exact, nil
	}
	if items, version := s.cfg.Store.Items(res.plural, namespace); version == exact {
		return items, version, nil
	}
	if opts.Continue != "" {
		return nil, 0, apierrors.NewResourceExpired("The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.")
	}
	return nil, 0, apierrors.NewResourceExpired(fmt.Sprintf("The provided resource version %d is too old for an exact list.", exact))
}
