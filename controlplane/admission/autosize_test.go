package admission

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"swell.dev/swell/api/v1alpha1"
)

func TestValidateAutosize(t *testing.T) {
	for _, c := range []struct {
		name, spec string
		fields     []string // of the errors
	}{
		{"nothing", "{}", nil},
		{"everything", `
workload: {kind: Deployment, name: cart}
mode: Initial
containers:
- {name: main, min: {cpu: 100m, memory: 64Mi}, max: {cpu: 4, memory: 64Mi}, resources: [cpu, memory]}
- {name: log, mode: "Off"}
- {name: "*", resources: [memory]}
cpu: {percentile: 100, marginPercent: 0}
memory: {percentile: 1, marginPercent: 1000}
cooldownSeconds: 0
historySeconds: 0
changePercent: 1
upPercent: 10000
downPercent: 99
allowRestart: true`, nil},
		{"by labels", "{selector: {matchLabels: {app: cart}}}", nil},
		{"both", "{workload: {kind: App, name: cart}, selector: {}}", []string{"spec.selector"}},
		{"half a workload", "{workload: {}}", []string{"spec.workload.kind", "spec.workload.name"}},
		{"a word", "{mode: On}", []string{"spec.mode"}},
		{"a selector", "{selector: {matchExpressions: [{key: a, operator: Near, values: [b]}]}}", []string{"spec.selector.matchExpressions[0].operator"}},
		{"percentiles", "{cpu: {percentile: 101}, memory: {percentile: -1}}", []string{"spec.cpu.percentile", "spec.memory.percentile"}},
		{"margins", "{cpu: {marginPercent: -1}, memory: {marginPercent: 1001}}", []string{"spec.cpu.marginPercent", "spec.memory.marginPercent"}},
		{"times", "{cooldownSeconds: -1, historySeconds: 604801}", []string{"spec.cooldownSeconds", "spec.historySeconds"}},
		{"steps", "{changePercent: -1, upPercent: 10001, downPercent: 100}", []string{"spec.changePercent", "spec.downPercent", "spec.upPercent"}},
		{"containers", `{containers: [{}, {name: a}, {name: a}, {name: A_b}, {name: "*", mode: Maybe}]}`,
			[]string{"spec.containers[0].name", "spec.containers[2].name", "spec.containers[3].name", "spec.containers[4].mode"}},
		{"resources", `{containers: [{name: a, resources: [cpu, gpu, cpu]}]}`, []string{"spec.containers[0].resources[1]", "spec.containers[0].resources[2]"}},
		{"bounds", `{containers: [{name: a, min: {cpu: 0, gpu: 1}, max: {memory: -1}}]}`,
			[]string{"spec.containers[0].max[memory]", "spec.containers[0].min[cpu]", "spec.containers[0].min[gpu]"}},
		{"max below min", `{containers: [{name: a, min: {cpu: 2}, max: {cpu: 1, memory: 1Gi}}]}`, []string{"spec.containers[0].max[cpu]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &v1alpha1.Autosize{}
			if err := yaml.UnmarshalStrict([]byte(c.spec), &p.Spec); err != nil {
				t.Fatal(err)
			}
			DefaultAutosize(p)
			before := p.DeepCopy()
			var got []string
			for _, e := range ValidateAutosize(p) {
				got = append(got, e.Field)
			}
			slices.Sort(got)
			if want := slices.Sorted(slices.Values(c.fields)); !slices.Equal(got, want) {
				t.Errorf("errors in %s; want %s", strings.Join(got, ", "), strings.Join(want, ", "))
			}
			if a, b := mustYAML(t, before), mustYAML(t, p); a != b {
				t.Errorf("validation changed\n%s\nto\n%s", a, b)
			}
		})
	}
}

func TestDefaultAutosize(t *testing.T) {
	p := &v1alpha1.Autosize{Spec: v1alpha1.AutosizeSpec{Containers: []v1alpha1.AutosizeContainer{{Name: "*"}}}}
	DefaultAutosize(p)
	s := p.Spec
	if s.Mode != v1alpha1.AutosizeAuto || s.CPU.Percentile != 90 || s.Memory.Percentile != 98 || *s.CPU.MarginPercent != 15 || *s.Memory.MarginPercent != 15 ||
		*s.CooldownSeconds != 300 || *s.HistorySeconds != 600 || s.ChangePercent != 10 || s.UpPercent != 100 || s.DownPercent != 50 || s.Containers[0].Mode != v1alpha1.AutosizeContainerAuto {
		t.Errorf("%+v", s)
	}
}
