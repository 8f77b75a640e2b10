package opencost

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sort"
	"strings"

	"swell.dev/swell/billing"
)

// Accumulator makes allocations of charges.
type Accumulator struct {
	request *Request
	cluster string
	sets    []map[string]*sums
	count   int
}

// New begins an answer. cluster is what the cluster is called in it.
func New(r *Request, cluster string) *Accumulator {
	a := &Accumulator{request: r, cluster: cluster, sets: make([]map[string]*sums, len(r.sets))}
	for i := range a.sets {
		a.sets[i] = map[string]*sums{}
	}
	return a
}

// TooManyError says that an answer would be too large.
type TooManyError struct{}

func (TooManyError) Error() string {
	return fmt.Sprintf("more than %d allocations: want them aggregated, fewer steps, or a filter", maxAllocations)
}

// Add adds a charge. Purchases of plans aren't costs of anybody: what was used of them is.
func (a *Accumulator) Add(c *billing.Charge) error {
	if c.Kind == billing.Purchase {
		return nil
	}
	at := max(sort.Search(len(a.request.sets), func(i int) bool { return a.request.sets[i].Start.UnixMilli() > c.From })-1, 0)
	s := subject{cluster: a.cluster, namespace: c.Project}
	if g := c.Segment; g != nil {
		s.node, s.pod, s.labels, s.workload = g.Node, g.Pod, g.Labels, billing.WorkloadOf(g)
	}
	for i := range a.request.filters {
		if !a.request.filters[i].holds(&s) {
			return nil
		}
	}
	name := Idle
	if c.Kind == billing.Unused {
		if !a.request.Idle {
			return nil
		}
	} else {
		var parts [8]string
		names := parts[:0]
		for _, p := range a.request.aggregate {
			names = append(names, p.named(&s))
		}
		name = strings.Join(names, "/")
	}
	of := a.sets[at][name]
	if of == nil {
		if a.count++; a.count > maxAllocations {
			return TooManyError{}
		}
		of = &sums{}
		a.sets[at][name] = of
	}
	of.add(c, &s)
	return nil
}

// answer is the envelope of all answers.
type answer struct {
	Code    int                     `json:"code"`
	Status  string                  `json:"status"`
	Data    []map[string]Allocation `json:"data"`
	Message string                  `json:"message,omitempty"`
}

// Write answers with the allocations, a set for each step.
func (a *Accumulator) Write(w http.ResponseWriter) error {
	out := answer{Code: http.StatusOK, Status: "success", Data: make([]map[string]Allocation, len(a.sets))}
	for i, set := range a.sets {
		out.Data[i] = make(map[string]Allocation, len(set))
		for name, s := range set {
			out.Data[i][name] = s.allocation(name, a.request.sets[i])
		}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(out)
}

// WriteError answers with an error as OpenCost's clients read it.
func WriteError(w http.ResponseWriter, code int, message string) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	return json.NewEncoder(w).Encode(answer{Code: code, Status: "error", Message: message})
}
