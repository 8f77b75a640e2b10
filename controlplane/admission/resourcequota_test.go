package admission

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

var countedHere = []string{"configmaps", "pods", "secrets", "resourcequotas", "autosizes.swell.dev"}

func quotaOf(t *testing.T, text string) *corev1.ResourceQuota {
	t.Helper()
	q := &corev1.ResourceQuota{}
	if err := yaml.UnmarshalStrict([]byte(text), q); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return q
}

func TestValidateResourceQuota(t *testing.T) {
	for _, c := range []struct {
		name, quota string
		want        []string // how the errors begin
	}{
		{"nothing", "spec: {}", nil},
		{"everything", `spec: {hard: {cpu: 1500m, memory: 1Gi, requests.cpu: 1, requests.memory: 1Gi, limits.cpu: 2, limits.memory: 2Gi, pods: 3, count/pods: 9,
			configmaps: 1, secrets: 1, resourcequotas: 1, count/configmaps: 1, count/autosizes.swell.dev: 1}}`, nil},
		{"scopes", "spec: {hard: {pods: 0, count/pods: 1, cpu: 1}, scopes: [NotTerminating, NotBestEffort, PriorityClass]}", nil},
		{"a selector", `spec: {hard: {pods: 0}, scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In, values: [a]}, {scopeName: PriorityClass, operator: Exists},
			{scopeName: BestEffort, operator: Exists}]}}`, nil},
		{"what isn't there", "spec: {hard: {services: 1, requests.storage: 1Gi, requests.nvidia.com/gpu: 1, count/deployments.apps: 1, count/events: 1, ephemeral-storage: 1}}", []string{
			`spec.hard[count/deployments.apps]: Unsupported value: "count/deployments.apps": supported values: "pods", "cpu", "memory"`, `spec.hard[count/events]: Unsupported`,
			`spec.hard[ephemeral-storage]: Unsupported`, `spec.hard[requests.nvidia.com/gpu]: Unsupported`, `spec.hard[requests.storage]: Unsupported`, `spec.hard[services]: Unsupported`}},
		{"amounts", "spec: {hard: {cpu: -1, pods: 1500m, count/configmaps: 0.5}}", []string{
			`spec.hard[count/configmaps]: Invalid value: "500m": must be an integer`, `spec.hard[cpu]: Invalid value: "-1": must be greater than or equal to 0`,
			`spec.hard[pods]: Invalid value: "1500m": must be an integer`}},
		{"other scopes", "spec: {scopes: [CrossNamespacePodAffinity, ''], scopeSelector: {matchExpressions: [{scopeName: VolumeAttributesClass, operator: Exists}]}}", []string{
			`spec.scopes[0]: Unsupported value: "CrossNamespacePodAffinity": supported values: "Terminating", "NotTerminating", "BestEffort"`, `spec.scopes[1]: Required`,
			`spec.scopeSelector.matchExpressions[0].scopeName: Unsupported value: "VolumeAttributesClass"`}},
		{"scopes that exclude one another", "spec: {scopes: [Terminating, NotTerminating], scopeSelector: {matchExpressions: [{scopeName: BestEffort, operator: Exists}, {scopeName: NotBestEffort, operator: Exists}]}}",
			[]string{`spec.scopes: Invalid value: ["Terminating","NotTerminating"]: conflicting scopes: no pod is Terminating and NotTerminating`, `spec.scopes: Invalid value: ["Terminating","NotTerminating"]: conflicting scopes: no pod is BestEffort and NotBestEffort`}},
		{"operators", `spec: {scopeSelector: {matchExpressions: [{scopeName: Terminating, operator: In, values: [a]}, {scopeName: PriorityClass, operator: NotIn}, {scopeName: PriorityClass, operator: Exists, values: [a]},
			{scopeName: PriorityClass, operator: Like}, {scopeName: PriorityClass}]}}`, []string{
			`spec.scopeSelector.matchExpressions[0].operator: Unsupported value: "In": supported values: "Exists"`,
			`spec.scopeSelector.matchExpressions[1].values: Required`, `spec.scopeSelector.matchExpressions[2].values: Invalid value: ["a"]`,
			`spec.scopeSelector.matchExpressions[3].operator: Unsupported value: "Like"`, `spec.scopeSelector.matchExpressions[4].operator: Required`}},
		{"scopes of what aren't pods", "spec: {hard: {configmaps: 1, count/secrets: 1, pods: 1}, scopes: [Terminating]}", []string{
			`spec.hard[configmaps]: Invalid value: "configmaps": is nothing of pods`, `spec.hard[count/secrets]: Invalid value: "count/secrets"`}},
		{"a status", "status: {hard: {services: 1}, used: {pods: -1}}", []string{`status.hard[services]: Unsupported`, `status.used[pods]: Invalid value: "-1"`}},
	} {
		errs := ValidateResourceQuota(quotaOf(t, c.quota), countedHere)
		if len(errs) != len(c.want) {
			t.Errorf("%s: %v, want %q", c.name, errs, c.want)
			continue
		}
		for i, e := range errs {
			if !strings.HasPrefix(e.Error(), c.want[i]) {
				t.Errorf("%s: %v, want %s", c.name, e, c.want[i])
			}
		}
	}
}

func TestValidateResourceQuotaUpdate(t *testing.T) {
	old := quotaOf(t, "spec: {hard: {pods: 1}, scopes: [Terminating, BestEffort]}")
	for next, want := range map[string]string{
		"spec: {hard: {pods: 2}, scopes: [BestEffort, Terminating, BestEffort]}": "",
		"spec: {hard: {pods: 2}, scopes: [BestEffort]}":                          `spec.scopes: Invalid value: ["BestEffort"]: field is immutable`,
		"spec: {hard: {services: 2}, scopes: [Terminating, BestEffort]}":         `spec.hard[services]: Unsupported`,
	} {
		errs := ValidateResourceQuotaUpdate(quotaOf(t, next), old, countedHere)
		if (len(errs) == 0) != (want == "") || len(errs) > 0 && !strings.HasPrefix(errs[0].Error(), want) {
			t.Errorf("%s: %v, want %q", next, errs, want)
		}
	}
}
