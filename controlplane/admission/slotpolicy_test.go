package admission

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"swell.dev/swell/api/v1alpha1"
)

func TestValidateSlotPolicy(t *testing.T) {
	const container = "{name: c, image: i, resources: {limits: {cpu: 1, memory: 1Gi}}}"
	for _, c := range []struct {
		name, spec string
		fields     []string // of the errors
	}{
		{"nothing", "{}", nil},
		{"everything", `
selector: {matchLabels: {app: cart}}
mode: Automatic
depth: Sandbox
min: 2
max: 10
idleCost: 1
coldStartCost: 50
schedule: [{days: [Monday, Friday], from: "08:30", to: "18:00", timeZone: Europe/Berlin, min: 5}]
template: {metadata: {labels: {app: cart}}, spec: {containers: [` + container + `]}}`, nil},
		{"words", "{mode: Sometimes, depth: Deep}", []string{"spec.mode", "spec.depth"}},
		{"a negative number", "{min: -1}", []string{"spec.min"}},
		{"too many", "{min: 100001}", []string{"spec.min"}},
		{"max below min", "{min: 3, max: 2}", []string{"spec.max"}},
		{"a negative max", "{max: -1}", []string{"spec.max", "spec.max"}},
		{"costs", "{idleCost: -1, coldStartCost: 1000001}", []string{"spec.idleCost", "spec.coldStartCost"}},
		{"a selector", "{selector: {matchExpressions: [{key: a, operator: Near, values: [b]}]}}", []string{"spec.selector.matchExpressions[0].operator"}},
		{"days", `{schedule: [{days: [Monday, Mon, Monday], from: "08:00", to: "09:00", min: 1}]}`, []string{"spec.schedule[0].days[1]", "spec.schedule[0].days[2]"}},
		{"times", `{schedule: [{from: "8:00", to: "24:00", min: 1}]}`, []string{"spec.schedule[0].from", "spec.schedule[0].to"}},
		{"no times", `{schedule: [{min: 1}]}`, []string{"spec.schedule[0].from", "spec.schedule[0].to"}},
		{"a time zone", `{schedule: [{from: "08:00", to: "09:00", timeZone: Mars/North, min: 1}, {from: "08:00", to: "09:00", timeZone: Local}]}`,
			[]string{"spec.schedule[0].timeZone", "spec.schedule[1].timeZone"}},
		{"more than max at a time", `{max: 3, schedule: [{from: "08:00", to: "09:00", min: 4}]}`, []string{"spec.schedule[0].min"}},
		{"a template without containers", "{template: {spec: {}}}", []string{"spec.template.spec.containers"}},
		{"a privileged template", "{template: {spec: {containers: [{name: c, image: i, securityContext: {privileged: true}}]}}}",
			[]string{"spec.template.spec.containers[0].securityContext.privileged"}},
		{"a template on a node", "{template: {spec: {nodeName: n1, containers: [" + container + "]}}}", []string{"spec.template.spec.nodeName"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &v1alpha1.SlotPolicy{}
			if err := yaml.UnmarshalStrict([]byte(c.spec), &p.Spec); err != nil {
				t.Fatal(err)
			}
			DefaultSlotPolicy(p)
			before := p.DeepCopy()
			var got []string
			for _, e := range (Policy{}).ValidateSlotPolicy(p) {
				got = append(got, e.Field)
			}
			slices.Sort(got)
			want := slices.Sorted(slices.Values(c.fields))
			if !slices.Equal(got, want) {
				t.Errorf("errors in %s; want %s", strings.Join(got, ", "), strings.Join(want, ", "))
			}
			if a, b := mustYAML(t, before), mustYAML(t, p); a != b {
				t.Errorf("validation changed\n%s\nto\n%s", a, b)
			}
		})
	}
}

func TestDefaultSlotPolicy(t *testing.T) {
	p := &v1alpha1.SlotPolicy{Spec: v1alpha1.SlotPolicySpec{Schedule: []v1alpha1.SlotWindow{{}}}}
	DefaultSlotPolicy(p)
	s := p.Spec
	if s.Mode != v1alpha1.SlotModeAutomatic || s.Depth != v1alpha1.SlotDepthContainer || s.IdleCost != 1 || s.ColdStartCost != 20 || s.Max != nil || s.Schedule[0].TimeZone != "UTC" {
		t.Errorf("%+v", s)
	}
}

func mustYAML(t *testing.T, v any) string {
	t.Helper()
	b, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
