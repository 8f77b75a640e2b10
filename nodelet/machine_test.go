package nodelet

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"swell.dev/swell/api/v1alpha1"
)

var rewrite = flag.Bool("rewrite", false, "write what the scenarios print into testdata")

// TestScenarios runs the machine through testdata/*.txt. A file is a list of
//
//	command arguments
//	optional input
//	----
//	what the machine did
//
// with a blank line after each. See scenario.do for the commands.
func TestScenarios(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := runScenario(t, string(raw))
			if *rewrite {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(raw) {
				t.Errorf("differs (run with -rewrite to accept):\n%s", firstDifference(string(raw), got))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %q\ngot  %q", i+1, at(w, i), at(g, i))
		}
	}
	return ""
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(end)"
}

func runScenario(t *testing.T, text string) string {
	s := &scenario{t: t, cfg: &Config{NodeName: "node-1", HostIP: "192.0.2.1"}, boot: "boot-1", now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	s.begun = s.now
	var out strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		head, _, _ := strings.Cut(block, "----\n")
		head = strings.TrimSuffix(head, "\n----")
		var comments []string
		for strings.HasPrefix(head, "#") {
			line, rest, _ := strings.Cut(head, "\n")
			comments, head = append(comments, line), rest
		}
		command, input, _ := strings.Cut(strings.TrimSpace(head), "\n")
		for _, c := range comments {
			fmt.Fprintln(&out, c)
		}
		if command == "" {
			fmt.Fprintln(&out)
			continue
		}
		fmt.Fprintf(&out, "%s\n----\n%s\n", strings.TrimSpace(head), s.do(strings.Fields(command), input))
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// scenario is a machine with a make-believe host around it.
type scenario struct {
	t       *testing.T
	cfg     *Config
	boot    string
	begun   time.Time
	now     time.Time
	m       *machine
	out     strings.Builder
	pending []action
	folder  string // of the pod, once it has one
	kept    bool   // see the command

	configMaps map[string]*corev1.ConfigMap // of the assignments to come
	runtime    []ContainerState             // what the host would list
}

func (s *scenario) do(args []string, text string) string {
	s.out.Reset()
	switch args[0] {
	case "pod": // the assigned pod, in YAML; pod granted MILLI: placed with that boost
		s.m = newMachine(s.cfg, s.boot, Assignment{Pod: s.pod(text), Boost: s.granted(args[1:])}, false, nil, s.now)
		s.step(inObserved{At: s.now})
	case "slot": // in place of what was there before; slot DEPTH: what a slot is made from, in YAML
		s.runtime, s.pending = nil, nil
		s.m = newMachine(s.cfg, s.boot, s.slot(args[1], text), false, nil, s.now)
		s.step(inObserved{At: s.now})
	case "reslot": // slot DEPTH, as it is desired now
		s.step(inAssign{s.slot(args[1], text)})
	case "config": // config NAME VERSION KEY=VALUE…: a config map as later assignments have it
		s.config(args[1:])
	case "assign": // the pod as it is desired now
		s.step(inAssign{Assignment{Pod: s.pod(text), ConfigMaps: maps.Clone(s.configMaps), Boost: s.granted(args[1:])}})
	case "granted": // granted MILLI: the ledger's answer to the present wish; granted MILLI WISH: to another
		s.step(inBoost{*s.granted(args)})
	case "bursts": // bursts [WHY…]: the node gives the pod some, or says why not
		s.step(inNoBursts{strings.Join(args[1:], " ")})
	case "remove": // not desired any more
		s.step(inRemove{})
	case "ok": // everything that is under way succeeds, or only the kind that is named
		for _, a := range s.takePending(args[1:]) {
			s.succeed(a)
		}
	case "kept": // the pod is set up, with more memory in use than it is known to have
		for _, a := range s.takePending([]string{"setup"}) {
			s.kept = true
			s.succeed(a)
		}
		s.kept = false
	case "settle": // until nothing is under way
		for len(s.pending) > 0 {
			for _, a := range s.takePending(nil) {
				s.succeed(a)
			}
		}
	case "fail": // fail KIND [class] message…; a probe's class is host where it couldn't be asked
		s.fail(args[1], strings.Join(args[2:], " "))
	case "exit": // exit CONTAINER CODE [oom] [message…]
		s.exit(args[1:])
	case "after": // time passes
		d, err := time.ParseDuration(args[1])
		s.check(err)
		s.after(d)
	case "over": // a volume outgrew its limit
		s.takePending([]string{"usage"})
		s.step(inUsage{Over: args[1:]})
	case "restart": // the nodelet is killed and comes back; with an argument, after the host was restarted
		s.restart(args[1:])
	case "status":
		return s.yaml()
	case "log": // which instance's log is shown: log CONTAINER [previous]
		return s.log(args[1], len(args) > 2)
	default:
		s.t.Fatalf("unknown command %q", args[0])
	}
	s.summary()
	return s.out.String()
}

func (s *scenario) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scenario) pod(text string) *corev1.Pod {
	s.t.Helper()
	pod := new(corev1.Pod)
	s.check(yaml.UnmarshalStrict([]byte(text), pod))
	pod.Name, pod.Namespace, pod.UID = cmp.Or(pod.Name, "web"), "shop", "uid"
	return pod
}

func (s *scenario) granted(args []string) *BoostGrant {
	s.t.Helper()
	if len(args) == 0 {
		return nil
	}
	g := &BoostGrant{}
	var err error
	g.CPU, err = strconv.ParseInt(args[1], 10, 64)
	s.check(err)
	if s.m != nil {
		g.Ask = s.m.boost.ask
	}
	if len(args) > 2 {
		g.Ask, err = strconv.ParseInt(args[2], 10, 64)
		s.check(err)
	}
	return g
}

func (s *scenario) slot(depth, text string) Assignment {
	s.t.Helper()
	a := Assignment{Pod: s.pod(text), ConfigMaps: maps.Clone(s.configMaps)}
	for a.Slot = SlotCapacity; a.Slot.String() != depth; a.Slot++ {
	}
	return a
}

func (s *scenario) config(args []string) {
	cm := &corev1.ConfigMap{Data: map[string]string{}}
	cm.Name, cm.ResourceVersion = args[0], args[1]
	for _, kv := range args[2:] {
		key, value, _ := strings.Cut(kv, "=")
		cm.Data[key] = value
	}
	if s.configMaps == nil {
		s.configMaps = map[string]*corev1.ConfigMap{}
	}
	s.configMaps[cm.Name] = cm
}

func (s *scenario) step(in input) {
	for _, a := range s.m.step(s.now, in) {
		fmt.Fprintf(&s.out, "-> %s\n", describe(a))
		s.pending = append(s.pending, a)
	}
	s.m.status()
}

func describe(a action) string {
	switch a := a.(type) {
	case actSetUp:
		if a.Void {
			return "setup, what was metered before is void"
		}
		if a.Slot {
			return "setup of a slot"
		}
		return "setup" + boostsOf(a.Boosts)
	case actHold:
		return fmt.Sprintf("hold %s attempt %d", a.Container.Name, a.Attempt)
	case actPull:
		return fmt.Sprintf("pull %s %s %s", a.Container, a.Ref, a.Policy)
	case actRun:
		boost := ""
		if a.Boost > 0 {
			boost = fmt.Sprintf(" boosted to %dm", a.Boost)
		}
		res := a.Sizes.Of(a.Container.Name)
		return fmt.Sprintf("run %s attempt %d cpu %s memory %s%s", a.Container.Name, a.Attempt, res.Limits.Cpu(), res.Limits.Memory(), boost)
	case actKill:
		return fmt.Sprintf("kill %s %s", a.Container, a.Signal)
	case actForget:
		return fmt.Sprintf("forget %s attempt %d", a.Container, a.Attempt)
	case actHook:
		kind := "postStart"
		if a.Stop {
			kind = "preStop within " + a.Timeout.String()
		}
		return fmt.Sprintf("hook %s %s", a.Container, kind)
	case actProbe:
		return fmt.Sprintf("probe %s %s", a.Container, a.Kind)
	case actVolumes:
		return "volumes"
	case actUsage:
		return "usage"
	case actResize:
		var names []string
		for name, r := range a.Resources {
			if name == v1alpha1.WholePod {
				name = "the pod"
			} else {
				r = a.Resources.Of(name)
			}
			names = append(names, fmt.Sprintf("%s cpu %s memory %s", name, r.Limits.Cpu(), r.Limits.Memory()))
		}
		slices.Sort(names)
		return "resize " + strings.Join(names, ", ") + boostsOf(a.Boosts)
	case actMeter:
		if a.Stop {
			return "meter stop at " + a.At.Format(time.TimeOnly)
		}
		return "meter"
	case actTearDown:
		return fmt.Sprintf("teardown full=%v", a.Full)
	}
	return fmt.Sprintf("%T", a)
}

func boostsOf(boosts map[string]int64) string {
	var out strings.Builder
	for _, name := range sortedKeys(boosts) {
		fmt.Fprintf(&out, " (%s boosted to %dm)", name, boosts[name])
	}
	return out.String()
}

func (s *scenario) takePending(kinds []string) []action {
	var taken, left []action
	for _, a := range s.pending {
		kind, _, _ := strings.Cut(describe(a), " ")
		if len(kinds) == 0 || slices.Contains(kinds, kind) {
			taken = append(taken, a)
		} else {
			left = append(left, a)
		}
	}
	s.pending = left
	return taken
}

func (s *scenario) succeed(a action) {
	switch a := a.(type) {
	case actSetUp:
		volumes := map[string]string{}
		for _, v := range s.m.a.Pod.Spec.Volumes {
			volumes[v.Name] = "/volumes/" + v.Name
		}
		s.step(inSetUp{Sandbox: sandbox{IP: "10.0.0.7", NetNS: "/netns", Volumes: volumes}, Resources: a.Resources, Boosts: a.Boosts, Version: a.Version, Slot: a.Slot, Kept: s.kept})
	case actHold:
		s.hold(a)
	case actPull:
		s.step(inPulled{Container: a.Container, Ref: a.Ref, Image: Image{Ref: "example.org/" + a.Ref, Digest: "sha256:d1"}, Present: true})
	case actRun:
		var replaced time.Time
		if a.Held != "" {
			replaced = s.release(a)
		}
		s.runtime = append(s.runtime, ContainerState{
			ID: ContainerID("uid", a.Container.Name, a.Attempt), Name: a.Container.Name, PodUID: "uid", Attempt: a.Attempt, State: StateRunning,
			PID: 100 + len(s.runtime), Image: a.Image, StartedAt: s.now,
		})
		s.step(inStarted{Container: a.Container.Name, Attempt: a.Attempt, Created: true, PID: 100 + len(s.runtime), At: s.now, MadeAt: replaced})
	case actKill:
		s.step(inKilled{a.Container, a.Attempt, nil})
	case actForget:
		s.step(inForgotten{a.Container, a.Attempt, nil})
	case actHook:
		s.step(inHook{a.Container, a.Attempt, a.Stop, nil})
	case actProbe:
		s.step(inProbe{a.Container, a.Attempt, a.Kind, true, false, ""})
	case actVolumes:
		s.step(inVolumes{a.Version, nil})
	case actUsage:
		s.step(inUsage{})
	case actResize:
		s.step(inResized{Resources: a.Resources, Boosts: a.Boosts})
	case actMeter:
		s.step(inMetered{a.Stop, nil})
	case actTearDown:
		if a.Full {
			s.runtime = nil
		}
		s.step(inTornDown{a.Full, nil})
	}
}

var errorClasses = map[string]error{
	"never": ErrImageNever, "name": ErrImageName, "start": ErrStart, "create": ErrCreate, "inuse": ErrMemoryInUse, "gone": ErrNotFound,
}

func (s *scenario) fail(kind, message string) {
	class, rest, _ := strings.Cut(message, " ")
	err := errors.New(message)
	if c, ok := errorClasses[class]; ok {
		err = fmt.Errorf("%s: %w", rest, c)
	} else if class == "config" {
		err = &configError{errors.New(rest)}
	}
	for _, a := range s.takePending([]string{kind}) {
		switch a := a.(type) {
		case actSetUp:
			s.step(inSetUp{Err: err, Reason: "FailedCreatePodSandBox"})
		case actPull:
			s.step(inPulled{Container: a.Container, Ref: a.Ref, Err: err})
		case actRun:
			s.step(inStarted{Container: a.Container.Name, Attempt: a.Attempt, Err: err})
		case actHold:
			s.step(inHeld{Container: a.Container.Name, Attempt: a.Attempt, Err: err})
		case actKill:
			s.step(inKilled{a.Container, a.Attempt, err})
		case actHook:
			s.step(inHook{a.Container, a.Attempt, a.Stop, err})
		case actProbe:
			message, notAsked := strings.CutPrefix(message, "host ")
			s.step(inProbe{a.Container, a.Attempt, a.Kind, false, notAsked, message})
		case actResize:
			s.step(inResized{Resources: a.Resources, Boosts: a.Boosts, Err: err})
		case actMeter:
			s.step(inMetered{a.Stop, err})
		case actTearDown:
			s.step(inTornDown{a.Full, err})
		default:
			s.t.Fatalf("can't fail %T", a)
		}
	}
}

func (s *scenario) exit(args []string) {
	code, err := strconv.Atoi(args[1])
	s.check(err)
	in := inExit{ExitCode: int32(code), At: s.now}
	rest := args[2:]
	if len(rest) > 0 && rest[0] == "oom" {
		in.OOMKilled, rest = true, rest[1:]
	}
	in.Message = strings.Join(rest, " ")
	if c := s.m.container(args[0]); c != nil && (c.op == opRun || c.op == opHold || c.held != "") {
		in.ID = ContainerID("uid", args[0], c.next)
	}
	for i := range s.runtime {
		if r := &s.runtime[i]; r.Name == args[0] && (r.State == StateRunning || r.Held != "") {
			r.Held, r.State, r.ExitCode, r.OOMKilled, r.ExitedAt = "", StateExited, in.ExitCode, in.OOMKilled, s.now
			in.ID = r.ID
		}
	}
	s.step(in)
}

// after lets the machine wake as often as it asks to.
func (s *scenario) after(d time.Duration) {
	end := s.now.Add(d)
	for n := 0; ; n++ {
		if n > 10000 {
			s.t.Fatal("the machine wakes without end")
		}
		next := s.m.wakeAt
		if next.IsZero() || next.After(end) {
			break
		}
		if next.Before(s.now) {
			s.t.Fatalf("the machine wants to wake in the past: %s", next)
		}
		s.now = next
		before := s.out.Len()
		fmt.Fprintf(&s.out, "%s\n", s.now.Sub(s.begun))
		length := s.out.Len()
		s.step(nil)
		if s.out.Len() == length {
			text := s.out.String()[:before]
			s.out.Reset()
			s.out.WriteString(text)
		}
	}
	s.now = end
}

func (s *scenario) restart(args []string) {
	raw, err := s.m.checkpoint().marshal()
	s.check(err)
	cp := new(checkpoint)
	s.check(cp.unmarshal(raw))
	list := inObserved{At: s.now}
	if len(args) > 0 {
		s.boot = args[0]
		for i := range s.runtime {
			s.runtime[i].Held = ""
			if s.runtime[i].State == StateRunning {
				s.runtime[i].State = StateExited
				s.runtime[i].ExitCode = 255
			}
		}
	}
	for _, r := range s.runtime {
		list.Containers = append(list.Containers, observed{ContainerState: r})
	}
	s.pending = nil
	s.m = newMachine(s.cfg, s.boot, s.m.a, true, cp, s.now)
	s.step(list)
}

// summary prints the events and one line of status.
func (s *scenario) summary() {
	for _, e := range s.m.takeEvents() {
		fmt.Fprintf(&s.out, "%s %s: %s\n", e.Type, e.Reason, e.Message)
	}
	if s.m.finished {
		fmt.Fprintln(&s.out, "finished")
		if next := s.m.successor; next != nil {
			fmt.Fprintf(&s.out, "assigned anew: %s\n", next.Pod.Name)
		}
		return
	}
	if s.m.isSlot() {
		r := s.m.slotReport()
		fmt.Fprintf(&s.out, "slot %s %s\n", r.Depth, r.Message)
		return
	}
	st := s.m.status()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s", st.Phase)
	if st.Reason != "" {
		fmt.Fprintf(&b, " (%s)", st.Reason)
	}
	for _, c := range append(st.InitContainerStatuses, st.ContainerStatuses...) {
		fmt.Fprintf(&b, "; %s", c.Name)
		switch {
		case c.State.Running != nil:
			b.WriteString(" running")
		case c.State.Waiting != nil:
			fmt.Fprintf(&b, " waiting %s", c.State.Waiting.Reason)
		case c.State.Terminated != nil:
			fmt.Fprintf(&b, " terminated %s %d", c.State.Terminated.Reason, c.State.Terminated.ExitCode)
		}
		if c.Ready {
			b.WriteString(" ready")
		}
		if c.RestartCount > 0 {
			fmt.Fprintf(&b, " restarts %d", c.RestartCount)
		}
		if last := c.LastTerminationState.Terminated; last != nil {
			fmt.Fprintf(&b, " last %s %d", last.Reason, last.ExitCode)
		}
	}
	for _, c := range st.Conditions {
		if c.Status == corev1.ConditionTrue {
			fmt.Fprintf(&b, "; %s", c.Type)
			if c.Reason != "" {
				fmt.Fprintf(&b, " (%s: %s)", c.Reason, c.Message)
			}
		}
	}
	fmt.Fprintln(&s.out, b.String())
	if r := s.m.boostReport(); r != nil {
		wish := "at placement"
		if r.Ask != 0 {
			wish = fmt.Sprintf("of %s", time.Unix(0, r.Ask).Sub(s.begun))
		}
		fmt.Fprintf(&s.out, "boost: the wish %s is %dm, %dm is granted, %dm is held\n", wish, r.Want, s.m.boost.granted, r.Held)
	}
}

func (s *scenario) log(name string, previous bool) string {
	w := &worker{uid: "uid", machine: s.m, host: &host{cfg: &Config{LogDir: "/logs"}}}
	state, err := w.find(s.m, name, previous)
	if err != nil {
		return err.Error() + "\n"
	}
	return fmt.Sprintf("attempt %d exit code %d %s\n", state.Attempt, state.ExitCode, state.LogPath)
}

func (s *scenario) yaml() string {
	raw, err := yaml.Marshal(s.m.status())
	s.check(err)
	return string(raw)
}
