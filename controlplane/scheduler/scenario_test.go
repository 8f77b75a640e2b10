package scheduler

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"swell.dev/swell/controlplane"
)

var rewrite = flag.Bool("rewrite", false, "write the scenarios' outcomes anew")

// TestScenarios runs the commands in testdata and compares what they answer. A line of a scenario is a
// command, a comment, or (indented) an answer.
//
//	node NAME [cpu=MILLI] [memory=MIB] [pods=N] [notready] [cordoned] [taint=KEY:VALUE:EFFECT] [KEY:VALUE ...]
//	remove NAME
//	place|pend POD [cpu=] [memory=] [at=SECOND] [node=NAME] [KEY:VALUE ...]
//	  [label=KEY:VALUE] [boost=MILLI [required]] [priority=N] [besteffort] [never] [class=NAME] [tolerate=KEY:VALUE:EFFECT[:SECONDS]]
//	  [affinity=KEY:OPERATOR:VALUE,VALUE] [prefer=KEY:OPERATOR:VALUE] [spread=KEY:SKEW[:soft]] (of its own app)
//	  [near=KEY:APP] [apart=KEY:APP] [fond=KEY:APP] [shy=KEY:APP] (the last two are wishes)
//	leave POD
//	relabel POD [label=KEY:VALUE ...]
//	tell
//	restore POD NODE [cpu=] [memory=] [wish cpu= memory= and so on as for resize]
//	resize POD [cpu=] [memory=] [priority=] [qos=CLASS] [at=SECOND] [patient]
//	actuated POD [cpu=] [memory=]
//	release|revert|stored POD
//	pool|connect NODE [want=MILLI,MIB] [held=MILLI,MIB] [heard=NUMBER]; connect NODE none
//	boost POD ask=N want=MILLI held=MILLI
//	slot NAME [as for place]; its workload is that of pods placed with the same tenant= and of=
//	deepen SLOT DEPTH
//	unslot SLOT
//	show
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(text) {
				t.Errorf("outcome:\n%s\nwant:\n%s\n(go test -rewrite writes it)", got, text)
			}
			if again := play(t, string(text)); again != got {
				t.Errorf("the same calls gave other decisions:\n%s", again)
			}
		})
	}
}

func play(t *testing.T, text string) string {
	t.Helper()
	c := newCore()
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "  ") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line == "" || line[0] == '#' {
			continue
		}
		for _, answer := range step(t, c, line) {
			fmt.Fprintln(&out, "  "+answer)
		}
	}
	return out.String()
}

type arguments struct {
	demand             controlplane.Demand
	pods, at           int
	ask, want, held    int64
	node               string
	tenant             string
	template           int
	notReady, cordoned bool
	qos                string
	patient            bool
	taints             []corev1.Taint
	req                controlplane.PlaceRequest // what of it is set by the words for rules
	labels             map[string]string
	ports              []controlplane.HostPort
}

func parse(t *testing.T, words []string) arguments {
	t.Helper()
	a := arguments{pods: 10}
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		number := func() int {
			n, err := strconv.Atoi(v)
			if err != nil {
				t.Fatalf("%q: %v", w, err)
			}
			return n
		}
		switch {
		case k == "cpu":
			a.demand.CPUMilli = int64(number())
		case k == "memory":
			a.demand.MemoryBytes = int64(number()) << 20
		case k == "pods":
			a.pods = number()
		case k == "boost":
			a.req.BoostCPUMilli = int64(number())
		case w == "required":
			a.req.BoostRequired = true
			a.demand.CPUMilli += a.req.BoostCPUMilli
		case k == "ask":
			a.ask = int64(number())
		case k == "want":
			a.want = int64(number())
		case k == "held":
			a.held = int64(number())
		case k == "at":
			a.at = number()
		case k == "port":
			a.ports = append(a.ports, controlplane.HostPort{Protocol: "TCP", Port: int32(number())})
		case k == "taint":
			f := strings.Split(v, ":")
			a.taints = append(a.taints, corev1.Taint{Key: f[0], Value: f[1], Effect: corev1.TaintEffect(f[2])})
		case parseRule(&a.req, k, v):
		case k == "tenant":
			a.tenant = v
		case k == "of":
			a.template = number()
		case k == "node":
			a.node = v
		case k == "qos":
			a.qos = v
		case w == "patient":
			a.patient = true
		case w == "notready":
			a.notReady = true
		case w == "cordoned":
			a.cordoned = true
		case strings.Contains(w, ":"):
			if a.labels == nil {
				a.labels = map[string]string{}
			}
			lk, lv, _ := strings.Cut(w, ":")
			a.labels[lk] = lv
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
	return a
}

var verdicts = map[controlplane.ResizeVerdict]string{
	controlplane.ResizeAdmitted: "admitted", controlplane.ResizeDeferred: "deferred", controlplane.ResizeInfeasible: "infeasible",
}

func (a arguments) resize() controlplane.ResizeRequest {
	return controlplane.ResizeRequest{
		Demand: a.demand, Priority: a.req.Priority, QOS: corev1.PodQOSClass(a.qos), Since: time.Unix(int64(a.at), 0), Patient: a.patient,
	}
}

func parsePool(t *testing.T, words []string) *controlplane.PoolReport {
	t.Helper()
	var p controlplane.PoolReport
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		var cpu, memory int64
		if n, _ := fmt.Sscanf(v, "%d,%d", &cpu, &memory); n == 0 && k != "none" {
			t.Fatalf("%q isn't a quantity", w)
		}
		switch d := (controlplane.Demand{CPUMilli: cpu, MemoryBytes: memory << 20}); k {
		case "want":
			p.Want = d
		case "held":
			p.Held = d
		case "heard":
			p.Heard = cpu
		case "none":
			return nil
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
	return &p
}

// parseRule takes a word about rules over; it reports false for any other.
func parseRule(req *controlplane.PlaceRequest, k, v string) bool {
	f := strings.Split(v, ":")
	number := func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }
	rules := func() *controlplane.Rules {
		if req.Rules == nil {
			req.Rules = &controlplane.Rules{}
		}
		return req.Rules
	}
	affinity := func() *corev1.Affinity {
		if r := rules(); r.Affinity == nil {
			r.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}, PodAffinity: &corev1.PodAffinity{}, PodAntiAffinity: &corev1.PodAntiAffinity{}}
		}
		return req.Rules.Affinity
	}
	apps := func(app string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
	}
	expr := func() corev1.NodeSelectorTerm {
		e := corev1.NodeSelectorRequirement{Key: f[0], Operator: corev1.NodeSelectorOperator(f[1])}
		if len(f) > 2 {
			e.Values = strings.Split(f[2], ",")
		}
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{e}}
	}
	term := func() corev1.PodAffinityTerm {
		return corev1.PodAffinityTerm{TopologyKey: f[0], LabelSelector: apps(f[1])}
	}
	wish := func() corev1.WeightedPodAffinityTerm {
		return corev1.WeightedPodAffinityTerm{Weight: 10, PodAffinityTerm: term()}
	}
	switch k {
	case "label":
		if req.Labels == nil {
			req.Labels = map[string]string{}
		}
		req.Labels[f[0]] = f[1]
	case "priority":
		req.Priority = int32(number(v))
	case "besteffort":
		req.BestEffort = true
	case "never":
		req.NeverPreempt = true
	case "class":
		req.Class = controlplane.Class(v)
	case "tolerate":
		x := corev1.Toleration{Key: f[0], Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffect(f[2])}
		if f[1] != "" {
			x.Operator, x.Value = corev1.TolerationOpEqual, f[1]
		}
		if len(f) > 3 {
			x.TolerationSeconds = new(number(f[3]))
		}
		rules().Tolerations = append(rules().Tolerations, x)
	case "affinity":
		n := affinity().NodeAffinity
		n.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{expr()}}
	case "prefer":
		n := affinity().NodeAffinity
		n.PreferredDuringSchedulingIgnoredDuringExecution = append(n.PreferredDuringSchedulingIgnoredDuringExecution, corev1.PreferredSchedulingTerm{Weight: 10, Preference: expr()})
	case "spread":
		s := corev1.TopologySpreadConstraint{TopologyKey: f[0], MaxSkew: int32(number(f[1])), WhenUnsatisfiable: corev1.DoNotSchedule, LabelSelector: apps(req.Labels["app"])}
		if len(f) > 2 {
			s.WhenUnsatisfiable = corev1.ScheduleAnyway
		}
		rules().Spread = append(rules().Spread, s)
	case "near":
		p := affinity().PodAffinity
		p.RequiredDuringSchedulingIgnoredDuringExecution = append(p.RequiredDuringSchedulingIgnoredDuringExecution, term())
	case "apart":
		p := affinity().PodAntiAffinity
		p.RequiredDuringSchedulingIgnoredDuringExecution = append(p.RequiredDuringSchedulingIgnoredDuringExecution, term())
	case "fond":
		p := affinity().PodAffinity
		p.PreferredDuringSchedulingIgnoredDuringExecution = append(p.PreferredDuringSchedulingIgnoredDuringExecution, wish())
	case "shy":
		p := affinity().PodAntiAffinity
		p.PreferredDuringSchedulingIgnoredDuringExecution = append(p.PreferredDuringSchedulingIgnoredDuringExecution, wish())
	default:
		return false
	}
	return true
}

func step(t *testing.T, c *core, line string) []string {
	t.Helper()
	words := strings.Fields(line)
	switch words[0] {
	case "show":
		return showNodes(c)
	case "tell":
		c.tell(100, 100)
		var out []string
		for _, d := range c.take() {
			out = append(out, d.String())
		}
		return out
	}
	name, rest := words[1], words[2:]
	var out []string
	switch words[0] {
	case "node":
		a := parse(t, rest)
		c.setNode(controlplane.Node{Name: name, Labels: a.labels, Capacity: a.demand, MaxPods: a.pods, Ready: !a.notReady, Cordoned: a.cordoned, Taints: a.taints})
	case "remove":
		c.removeNode(name)
	case "place", "pend", "slot":
		a := parse(t, rest)
		req := a.req
		req.UID, req.Demand, req.NodeName, req.NodeSelector, req.HostPorts = name, a.demand, a.node, a.labels, a.ports
		req.Created, req.Key.Namespace, req.Template = time.Unix(int64(a.at), 0), a.tenant, uint64(a.template)
		if words[0] == "pend" {
			c.pend(req)
			break
		}
		if words[0] == "slot" {
			node, err := c.addSlot(req)
			if err != nil {
				out = append(out, err.Error())
			} else {
				out = append(out, "on "+node)
			}
			break
		}
		p, err := c.place(req)
		switch {
		case err != nil:
			out = append(out, err.Error())
		case p.Slot != "":
			out = append(out, fmt.Sprintf("on %s in slot %s, %s", p.Node, p.Slot, p.Depth))
		default:
			out = append(out, "on "+p.Node)
		}
	case "restore":
		// What comes after "wish" is a resize that waits.
		own, wished := rest[1:], []string(nil)
		if i := slices.Index(own, "wish"); i >= 0 {
			own, wished = own[:i], own[i+1:]
		}
		a := parse(t, own)
		req := a.req
		req.UID, req.NodeName, req.Demand = name, rest[0], a.demand
		if wished != nil {
			req.Resize = new(parse(t, wished).resize())
		}
		c.restore(req)
	case "resize":
		answer, err := c.resize(name, parse(t, rest).resize())
		switch {
		case err != nil:
			out = append(out, err.Error())
		case answer.Message != "":
			out = append(out, verdicts[answer.Verdict]+": "+answer.Message)
		default:
			out = append(out, verdicts[answer.Verdict])
		}
	case "stored":
		c.stored(name)
	case "pool", "connect":
		c.pooled(name, parsePool(t, rest), words[0] == "connect")
	case "actuated":
		c.actuated(name, parse(t, rest).demand)
	case "boost":
		a := parse(t, rest)
		if granted, ok := c.boost(name, a.ask, a.want, a.held); ok {
			out = append(out, fmt.Sprintf("%dm granted", granted))
		} else {
			out = append(out, "unknown")
		}
	case "leave":
		c.leave(name)
	case "relabel":
		req := parse(t, rest).req
		req.UID = name
		c.update(req)
	case "revert":
		c.revert(name)
	case "deepen":
		c.deepen(name, map[string]controlplane.SlotDepth{"Sandbox": controlplane.SlotSandbox, "Container": controlplane.SlotContainer}[rest[0]])
	case "unslot":
		c.removeSlot(name)
	case "release":
		c.release(name)
	default:
		t.Fatalf("unknown command %q", line)
	}
	for _, d := range c.take() {
		out = append(out, d.String())
	}
	return out
}

func size(d controlplane.Demand) string {
	return fmt.Sprintf("%dm %dMi", d.CPUMilli, d.MemoryBytes>>20)
}

func (d decision) String() string {
	switch d.kind {
	case bound:
		return fmt.Sprintf("bound %s to %s", d.uid, d.node)
	case judged:
		return fmt.Sprintf("resize of %s to %s is %s: %s", d.uid, size(d.resize), verdicts[d.verdict], d.message)
	case granted:
		return fmt.Sprintf("grant %d of %s to the pool of %s", d.grant.Number, size(d.grant.Room), d.node)
	case resized:
		return fmt.Sprintf("resize of %s to %s admitted on %s", d.uid, size(d.resize), d.node)
	case nominated:
		if d.node == "" {
			return fmt.Sprintf("no room is made for %s any more", d.uid)
		}
		return fmt.Sprintf("room for %s is made on %s", d.uid, d.node)
	case evicted:
		return fmt.Sprintf("evict %s from %s: %s", d.uid, d.node, d.message)
	case expelled:
		return fmt.Sprintf("evict %s from %s in %s", d.uid, d.node, d.after)
	case explained:
		return fmt.Sprintf("%s waits: %s", d.uid, d.message)
	case boosted:
		return fmt.Sprintf("%dm granted to wish %d of %s on %s", d.boost, d.ask, d.uid, d.node)
	case givenUp:
		return fmt.Sprintf("slot %s on %s given up", d.uid, d.node)
	}
	return "unknown"
}

func showNodes(c *core) []string {
	var out []string
	for name, n := range c.fleet.nodes {
		line := fmt.Sprintf("%s: %d pods, %s free", name, n.pods, size(n.free()))
		if len(n.slots) > 0 {
			line += fmt.Sprintf(", %d of them slots", len(n.slots))
		}
		if n.lends != nil {
			line += fmt.Sprintf(", %s lent", size(controlplane.Demand{CPUMilli: n.lends.granted.Room.CPUMilli, MemoryBytes: n.lent}))
		}
		if len(n.deferred) > 0 {
			line += fmt.Sprintf(", %d deferred", len(n.deferred))
		}
		if !n.known {
			line += ", unknown"
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return append(out, fmt.Sprintf("%d pending in %d lines", len(c.pending.pods), len(c.pending.lines)))
}
