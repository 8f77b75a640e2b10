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

	"swell.dev/swell/controlplane"
)

var rewrite = flag.Bool("rewrite", false, "write the scenarios' outcomes anew")

// TestScenarios runs the commands in testdata and compares what they answer. A line of a scenario is a
// command, a comment, or (indented) an answer.
//
//	node NAME [cpu=MILLI] [memory=MIB] [pods=N] [notready] [cordoned] [KEY:VALUE ...]
//	remove NAME
//	place|pend POD [cpu=] [memory=] [at=SECOND] [node=NAME] [KEY:VALUE ...]
//	restore POD NODE [cpu=] [memory=]
//	resize|actuated POD [cpu=] [memory=]
//	release|revert POD
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
	node               string
	tenant             string
	template           int
	notReady, cordoned bool
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
		case k == "at":
			a.at = number()
		case k == "port":
			a.ports = append(a.ports, controlplane.HostPort{Protocol: "TCP", Port: int32(number())})
		case k == "tenant":
			a.tenant = v
		case k == "of":
			a.template = number()
		case k == "node":
			a.node = v
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

func step(t *testing.T, c *core, line string) []string {
	t.Helper()
	words := strings.Fields(line)
	if words[0] == "show" {
		return showNodes(c)
	}
	name, rest := words[1], words[2:]
	var out []string
	switch words[0] {
	case "node":
		a := parse(t, rest)
		c.setNode(controlplane.Node{Name: name, Labels: a.labels, Capacity: a.demand, MaxPods: a.pods, Ready: !a.notReady, Cordoned: a.cordoned})
	case "remove":
		c.removeNode(name)
	case "place", "pend", "slot":
		a := parse(t, rest)
		req := controlplane.PlaceRequest{UID: name, Demand: a.demand, NodeName: a.node, NodeSelector: a.labels, HostPorts: a.ports, Created: time.Unix(int64(a.at), 0),
			Key: controlplane.Key{Namespace: a.tenant}, Template: uint64(a.template)}
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
		c.restore(controlplane.PlaceRequest{UID: name, NodeName: rest[0], Demand: parse(t, rest[1:]).demand})
	case "resize":
		verdict, err := c.resize(name, parse(t, rest).demand)
		if err != nil {
			out = append(out, err.Error())
		} else {
			out = append(out, map[controlplane.ResizeVerdict]string{
				controlplane.ResizeAdmitted: "admitted", controlplane.ResizeDeferred: "deferred", controlplane.ResizeInfeasible: "infeasible",
			}[verdict])
		}
	case "actuated":
		c.actuated(name, parse(t, rest).demand)
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
	case resized:
		return fmt.Sprintf("resize of %s to %s admitted on %s", d.uid, size(d.resize), d.node)
	case nominated:
		return fmt.Sprintf("room for %s is made on %s", d.uid, d.node)
	case evicted:
		return fmt.Sprintf("evict %s from %s: %s", d.uid, d.node, d.message)
	case expelled:
		return fmt.Sprintf("evict %s from %s in %s", d.uid, d.node, d.after)
	case explained:
		return fmt.Sprintf("%s waits: %s", d.uid, d.message)
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
