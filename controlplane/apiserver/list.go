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
func (s *Server) page(res *resource, namespace string, opts *internalversion.ListOptions) ([]controlplane.Object, metav1.ListMeta, error) {
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
		items = items[search(items, after):]
	}
	out := items
	if !sel.everything() || opts.Limit > 0 {
		out = make([]controlplane.Object, 0, min(len(items), 64))
		for i, o := range items {
			if !sel.matches(o) {
				continue
			}
			if opts.Limit > 0 && int64(len(out)) == opts.Limit {
				last := out[len(out)-1]
				lm.Continue = continuation{Version: version, Namespace: last.GetNamespace(), Name: last.GetName()}.String()
				s.snapshots.put(snapshotKey{resource: res.plural, namespace: namespace, version: version}, whole)
				if sel.everything() {
					rest := int64(len(items) - i)
					lm.RemainingItemCount = &rest
				}
				break
			}
			out = append(out, o)
		}
	}
	return out, lm, nil
}

// state answers the objects at the version that opts ask for: now, or that of a snapshot.
func (s *Server) state(res *resource, namespace string, opts *internalversion.ListOptions) ([]controlplane.Object, uint64, error) {
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
		items, version := s.cfg.Store.List(res.plural, namespace)
		return items, version, nil
	}
	if items, ok := s.snapshots.get(snapshotKey{resource: res.plural, namespace: namespace, version: exact}); ok {
		return items, exact, nil
	}
	if items, version := s.cfg.Store.List(res.plural, namespace); version == exact {
		return items, version, nil
	}
	if opts.Continue != "" {
		return nil, 0, apierrors.NewResourceExpired("The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.")
	}
	return nil, 0, apierrors.NewResourceExpired(fmt.Sprintf("The provided resource version %d is too old for an exact list.", exact))
}
