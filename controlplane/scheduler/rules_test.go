package scheduler

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
)

// TestRulesHold makes random calls with random rules and checks each choice against the oracle, that nobody
// waits who could be placed, that whoever is sent away is lesser and helps, and that a replay decides alike.
func TestRulesHold(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			first := walkRules(t, seed, true)
			if again := walkRules(t, seed, false); !slices.Equal(first, again) {
				for i := range min(len(first), len(again)) {
					if first[i] != again[i] {
						t.Fatalf("a replay decided otherwise at %d:\n%s\n%s", i, first[i], again[i])
					}
				}
				t.Error("a replay decided more or less")
			}
		})
	}
}

func walkRules(t *testing.T, seed uint64, check bool) []string {
	random := rand.New(rand.NewPCG(seed, 11))
	c := newCore()
	c.fleet.few, c.fleet.patience = random.IntN(3), random.IntN(4)
	rulesOf = map[string]*controlplane.Rules{}
	var log []string
	step := 0
	chosen := map[string]controlplane.PlaceRequest{}
	c.watch = func(n *node, req *controlplane.PlaceRequest) {
		if check {
			// A claim's or a slot's room may be handed over in the same moment: it isn't counted against the pod.
			if why := naive(c, req, n); why != "" {
				t.Errorf("step %d: %s is placed on %s against %s: %+v", step, req.UID, n.spec.Name, why, req)
			}
		}
		rulesOf[req.UID] = req.Rules
		chosen[req.UID] = *req
	}
	claims := 0
	c.watchClaims = func(cl *claim) {
		claims++
		if check && !c.awaits(cl) {
			t.Errorf("step %d: pods leave %s for %s, which doesn't help", step, cl.node.spec.Name, cl.waiting.req.UID)
		}
		for _, r := range cl.leave {
			if check && len(cl.leave) > 1 && c.awaits(&claim{waiting: cl.waiting, node: cl.node, leave: slices.DeleteFunc(slices.Clone(cl.leave), func(o *reservation) bool { return o == r })}) {
				t.Errorf("step %d: %s leaves %s for %s, which would do without", step, r.uid, cl.node.spec.Name, cl.waiting.req.UID)
			}
		}
	}
	capacity := map[string]controlplane.Demand{}
	for ; step < 600 && !t.Failed(); step++ {
		uid := fmt.Sprintf("p%d", random.IntN(60))
		switch random.IntN(14) {
		case 0, 1:
			name := fmt.Sprintf("n%d", random.IntN(9))
			grown := capacity[name].Max(controlplane.Demand{CPUMilli: 1000 + random.Int64N(4000), MemoryBytes: 1000 + random.Int64N(4000)})
			capacity[name] = grown
			c.setNode(randomNode(random, name, grown))
		case 2:
			if random.IntN(4) == 0 {
				c.removeNode(fmt.Sprintf("n%d", random.IntN(9)))
			}
		case 3, 4, 5, 6, 7:
			req := randomRules(random, uid, step)
			held := c.pods[uid]
			best := ""
			if check && held == nil {
				for _, name := range slices.Sorted(maps.Keys(c.fleet.nodes)) {
					if naive(c, &req, c.fleet.nodes[name]) == "" {
						best = name
					}
				}
			}
			got, err := c.place(req)
			if check && held == nil && (best == "") != (err != nil) {
				t.Errorf("step %d: place %+v %+v: %+v, %v, but %q would do", step, req, req.Rules, got, err, best)
			}
			if err != nil {
				c.pend(req)
			}
			log = append(log, fmt.Sprint("place ", uid, got, err))
		case 8, 9, 10:
			c.release(uid)
		case 11:
			if req, ok := chosen[uid]; ok {
				req.Labels = randomLabels(random)
				c.update(req)
			}
		case 12:
			c.leave(uid)
		case 13:
			if v, err := c.resize(uid, randomResize(random, controlplane.Demand{CPUMilli: random.Int64N(8) * 250, MemoryBytes: random.Int64N(8) * 256})); err == nil {
				c.stored(uid)
				log = append(log, fmt.Sprint("resize ", uid, v))
			}
		}
		for _, d := range c.take() {
			log = append(log, d.String())
			if d.kind == evicted && d.reason != controlplane.Expelled && check {
				victim, by := chosen[d.uid], d.request
				if by.UID == "" { // for a resize
					by = new(chosen[by.Key.Name])
				}
				switch {
				case d.reason == controlplane.Reclaimed && (!victim.BestEffort || by.BestEffort):
					t.Errorf("step %d: %s is reclaimed for %s", step, d.uid, by.UID)
				case d.reason == controlplane.Preempted && (by.NeverPreempt || victim.BestEffort != by.BestEffort || victim.Priority >= by.Priority):
					t.Errorf("step %d: %s is preempted by %s: %+v by %+v", step, d.uid, by.UID, victim, by)
				}
			}
		}
		if check {
			checkInvariants(t, c, step)
			checkRules(t, c, step)
		}
	}
	if check && claims == 0 {
		t.Error("no room was made for anybody: the walk has lost its way")
	}
	return log
}

// checkRules holds that whoever waits has no node, and that claims are worth what they promise.
func checkRules(t *testing.T, c *core, step int) {
	t.Helper()
	for uid, w := range c.pending.pods {
		for _, n := range c.fleet.nodes {
			if naive(c, &w.req, n) == "" {
				t.Errorf("step %d: %s pends, though %s would do: %+v %+v", step, uid, n.spec.Name, w.req, w.req.Rules)
			}
		}
	}
	var sum []rankSum
	for _, r := range c.pods {
		if by, ok := r.effective(); ok {
			sum = addRank(sum, by, controlplane.Demand{}, 1)
		}
		if r.claim != nil && !slices.Contains(r.claim.leave, r) {
			t.Errorf("step %d: the claim on %s doesn't wait for it", step, r.uid)
		}
	}
	if !slices.Equal(sum, c.ranks) {
		t.Errorf("step %d: ranks %v, counted %v", step, sum, c.ranks)
	}
	for name, n := range c.fleet.nodes {
		var sum []rankSum
		for _, r := range n.held {
			if by, ok := r.effective(); ok {
				sum = addRank(sum, by, r.reserved(), 1)
			}
		}
		if !slices.Equal(sum, n.ranks) {
			t.Errorf("step %d: %s: ranks %v, counted %v", step, name, sum, n.ranks)
		}
		for _, cl := range n.claims {
			if cl.waiting.claim != cl || len(cl.leave) == 0 || !n.known || !n.spec.Ready {
				t.Errorf("step %d: a claim of %s on %s stands, though it can't", step, cl.waiting.req.UID, name)
			}
		}
	}
	for _, x := range c.crowds.all {
		for _, s := range x.censuses {
			fresh := newCensus(s.key, s.filter)
			for _, n := range c.fleet.nodes {
				for _, r := range n.held {
					if r.kin != nil && x.matches(r.kin.namespace, r.kin.labels) {
						fresh.add(n, 1)
					}
				}
			}
			if !maps.Equal(fresh.pods, s.pods) || !maps.Equal(fresh.nodes, s.nodes) || fresh.least(&c.fleet) != s.least(&c.fleet) || fresh.most() != s.most() {
				t.Errorf("step %d: a census by %s counts %v, there are %v", step, s.key, s.pods, fresh.pods)
			}
		}
	}
	related := map[*kin]int{}
	for _, r := range c.pods {
		related[r.kin]++
	}
	for k, n := range related {
		if k != nil && k.uses != n {
			t.Errorf("step %d: %d pods of a kin, counted %d", step, n, k.uses)
		}
	}
	if len(c.kins.all) > len(related) {
		t.Errorf("step %d: %d kins, pods are of %d", step, len(c.kins.all), len(related))
	}
	if len(c.stirred)+len(c.relined)+len(c.freed) > 0 {
		t.Errorf("step %d: something is left to settle", step)
	}
}

func pick[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

func randomLabels(random *rand.Rand) map[string]string {
	return map[string]string{"app": pick(random, "a", "b", "c"), "rev": pick(random, "1", "2")}
}

func randomNode(random *rand.Rand, name string, capacity controlplane.Demand) controlplane.Node {
	n := controlplane.Node{Name: name, Capacity: capacity, MaxPods: 8, Ready: random.IntN(8) > 0, Cordoned: random.IntN(8) == 0, Labels: map[string]string{"host": name}}
	if random.IntN(6) > 0 {
		n.Labels["zone"] = pick(random, "x", "y", "z")
	}
	if random.IntN(2) == 0 {
		n.Labels["size"] = pick(random, "1", "5", "9")
	}
	if random.IntN(4) == 0 {
		n.Labels["swell.dev/compute-class"] = pick(random, "gpu", "gpu.performance", "general-purpose.gpu")
	}
	if random.IntN(4) == 0 {
		n.Taints = append(n.Taints, corev1.Taint{Key: pick(random, "k", "l"), Value: pick(random, "", "v"),
			Effect: pick(random, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)})
	}
	return n
}

func randomRules(random *rand.Rand, uid string, step int) controlplane.PlaceRequest {
	req := controlplane.PlaceRequest{
		Key: controlplane.Key{Resource: "pods", Namespace: pick(random, "x", "y"), Name: uid}, UID: uid, Created: time.Unix(int64(step), 0),
		Demand: controlplane.Demand{CPUMilli: random.Int64N(8) * 250, MemoryBytes: random.Int64N(8) * 256},
		Labels: randomLabels(random), Class: pick(random, controlplane.GeneralPurpose, controlplane.GeneralPurpose, controlplane.GPU),
		Priority: pick[int32](random, 0, 0, 0, 10, -10), BestEffort: random.IntN(4) == 0, NeverPreempt: random.IntN(6) == 0,
	}
	if random.IntN(8) == 0 {
		req.NodeSelector = map[string]string{"zone": pick(random, "x", "y", "z")}
	}
	if random.IntN(16) == 0 {
		req.NodeName = fmt.Sprintf("n%d", random.IntN(9))
	}
	if random.IntN(16) == 0 {
		req.HostPorts = []controlplane.HostPort{{Protocol: "TCP", Port: 80}}
	}
	r := &controlplane.Rules{}
	if random.IntN(3) == 0 {
		r.Tolerations = append(r.Tolerations, corev1.Toleration{Key: "k", Operator: pick(random, corev1.TolerationOpExists, corev1.TolerationOpEqual), Effect: pick(random, "", corev1.TaintEffectNoSchedule)})
	}
	selector := func() *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"app": pick(random, "a", "b", "c")}}
	}
	term := func() corev1.PodAffinityTerm {
		t := corev1.PodAffinityTerm{LabelSelector: selector(), TopologyKey: pick(random, "host", "zone")}
		if random.IntN(5) == 0 {
			t.Namespaces = []string{"x", "y"}
		}
		if random.IntN(6) == 0 {
			t.NamespaceSelector = &metav1.LabelSelector{}
		}
		if random.IntN(5) == 0 {
			t.LabelSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"a"}}}}
		}
		return t
	}
	a := &corev1.Affinity{}
	switch random.IntN(10) {
	case 0:
		a.NodeAffinity = randomNodeAffinity(random)
	case 1:
		a.PodAffinity = &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term()}}
		if random.IntN(3) == 0 {
			a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution = append(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, term())
		}
	case 2:
		a.PodAntiAffinity = &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term()}}
	case 3:
		a.PodAntiAffinity = &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: 5, PodAffinityTerm: term()}}}
		a.PodAffinity = &corev1.PodAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: 7, PodAffinityTerm: term()}}}
	}
	if (*a != corev1.Affinity{}) {
		r.Affinity = a
	}
	for range pick(random, 0, 0, 0, 1, 1, 2) {
		s := corev1.TopologySpreadConstraint{MaxSkew: 1 + random.Int32N(2), TopologyKey: pick(random, "zone", "host"), LabelSelector: selector(),
			WhenUnsatisfiable: pick(random, corev1.DoNotSchedule, corev1.DoNotSchedule, corev1.ScheduleAnyway)}
		if random.IntN(6) == 0 {
			s.NodeAffinityPolicy = pick(random, new(corev1.NodeInclusionPolicyIgnore), new(corev1.NodeInclusionPolicyHonor))
			s.NodeTaintsPolicy = pick(random, new(corev1.NodeInclusionPolicyIgnore), new(corev1.NodeInclusionPolicyHonor))
		}
		if random.IntN(6) == 0 && s.WhenUnsatisfiable == corev1.DoNotSchedule {
			s.MinDomains = new(int32(3))
		}
		if random.IntN(6) == 0 {
			s.MatchLabelKeys = []string{"rev"}
		}
		r.Spread = append(r.Spread, s)
	}
	if r.Affinity != nil || len(r.Spread)+len(r.Tolerations) > 0 {
		req.Rules = r
	}
	return req
}

func randomNodeAffinity(random *rand.Rand) *corev1.NodeAffinity {
	var term corev1.NodeSelectorTerm
	expr := func(key string, op corev1.NodeSelectorOperator, values ...string) {
		term.MatchExpressions = append(term.MatchExpressions, corev1.NodeSelectorRequirement{Key: key, Operator: op, Values: values})
	}
	switch random.IntN(7) {
	case 0:
		expr("zone", corev1.NodeSelectorOpIn, "x", "y")
	case 1:
		expr("zone", corev1.NodeSelectorOpNotIn, "x")
	case 2:
		expr("size", corev1.NodeSelectorOpExists)
	case 3:
		expr("size", corev1.NodeSelectorOpDoesNotExist)
	case 4:
		expr("size", corev1.NodeSelectorOpGt, "4")
	case 5:
		expr("size", corev1.NodeSelectorOpLt, "6")
		expr("zone", corev1.NodeSelectorOpIn, "z")
	case 6:
		term.MatchFields = []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{fmt.Sprintf("n%d", random.IntN(9))}}}
	}
	if random.IntN(3) == 0 {
		return &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 9, Preference: term}}}
	}
	return &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{term}}}
}
