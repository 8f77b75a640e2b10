package scheduler

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// crowd is the pods that a rule looks for. All rules that look for the same share it. It is counted once,
// when the first rule asks, and kept with each pod that comes, goes or changes its labels.
type crowd struct {
	id       uint64
	key      string
	uses     int           // by plans
	terms    []crowdTerm   // a pod matches all of them
	censuses []*census     // of its pods
	holders  []*census     // of the pods that keep its pods out of their domain
	lines    map[*line]int // of pending pods that what happens here may help
}

type crowdTerm struct {
	everywhere bool
	namespaces []string // else; sorted, none twice
	selector   labels.Selector
}

func (c *crowd) matches(namespace string, pod labels.Set) bool {
	for i := range c.terms {
		t := &c.terms[i]
		if !t.everywhere && !slices.Contains(t.namespaces, namespace) || !t.selector.Matches(pod) {
			return false
		}
	}
	return true
}

// crowds finds the crowds that a pod belongs to without looking at all: by one label that it has.
type crowds struct {
	all     map[string]*crowd
	byLabel map[namespacedLabel][]*crowd
	rest    map[string][]*crowd // by namespace: crowds that no single label tells
	in      map[string]int      // crowds by namespace; "" is all of them
	keeping int                 // crowds with holders
	made    uint64
	scratch []*crowd
}

type namespacedLabel struct{ namespace, key, value string }

func newCrowds() crowds {
	return crowds{all: map[string]*crowd{}, byLabel: map[namespacedLabel][]*crowd{}, rest: map[string][]*crowd{}, in: map[string]int{}}
}

// of answers the pod's crowds. The answer is good until the next call.
func (c *crowds) of(namespace string, pod map[string]string) []*crowd {
	out := c.scratch[:0]
	for _, ns := range [2]string{namespace, ""} {
		if c.in[ns] == 0 {
			continue
		}
		for k, v := range pod {
			out = match(out, c.byLabel[namespacedLabel{ns, k, v}], namespace, pod)
		}
		out = match(out, c.rest[ns], namespace, pod)
		if namespace == "" {
			break
		}
	}
	c.scratch = out
	return out
}

func match(out, candidates []*crowd, namespace string, pod map[string]string) []*crowd {
	for _, c := range candidates {
		if c.matches(namespace, pod) {
			out = append(out, c)
		}
	}
	return out
}

// index enters a crowd, or takes it out.
func (c *crowds) index(x *crowd, enter bool) {
	first := &x.terms[0]
	namespaces := first.namespaces
	if first.everywhere {
		namespaces = []string{""}
	}
	key, value, one := soleLabel(first.selector)
	change := func(list []*crowd) []*crowd {
		if enter {
			return append(list, x)
		}
		return slices.DeleteFunc(list, func(o *crowd) bool { return o == x })
	}
	for _, ns := range namespaces {
		if enter {
			c.in[ns]++
		} else if c.in[ns]--; c.in[ns] == 0 {
			delete(c.in, ns)
		}
		if one {
			l := namespacedLabel{ns, key, value}
			if c.byLabel[l] = change(c.byLabel[l]); len(c.byLabel[l]) == 0 {
				delete(c.byLabel, l)
			}
		} else if c.rest[ns] = change(c.rest[ns]); len(c.rest[ns]) == 0 {
			delete(c.rest, ns)
		}
	}
}

// soleLabel answers a label that every matching pod has.
func soleLabel(s labels.Selector) (key, value string, ok bool) {
	requirements, _ := s.Requirements()
	for _, r := range requirements {
		if v := r.ValuesUnsorted(); len(v) == 1 && (r.Operator() == "=" || r.Operator() == "==" || r.Operator() == "in") {
			return r.Key(), v[0], true
		}
	}
	return "", "", false
}

// selectorOf reads a selector. One that can't be read, which admission lets nobody write, matches nothing;
// so does none at all.
func selectorOf(s *metav1.LabelSelector) labels.Selector {
	out, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return out
}
