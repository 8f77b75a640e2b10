package admission

import "testing"

func TestValidateAffinity(t *testing.T) {
	node := func(term string) string {
		return "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [" + term + "]}}}"
	}
	pods := func(term string) string {
		return "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [" + term + "]}}"
	}
	const (
		terms = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
		apart = "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]"
	)
	check(t, []verdict{
		{"empty", "affinity: {}", nil},
		{"node affinity", node("{matchExpressions: [{key: zone, operator: In, values: [a, b]}, {key: n, operator: Gt, values: ['3']}, {key: gpu, operator: Exists}]}"), nil},
		{"no terms", node(""), []string{terms + ": required"}},
		{"operator", node("{matchExpressions: [{key: zone, operator: Is, values: [a]}]}"), []string{terms + "[0].matchExpressions[0].operator: invalid"}},
		{"In nothing", node("{matchExpressions: [{key: zone, operator: In}]}"), []string{terms + "[0].matchExpressions[0].values: required"}},
		{"Exists with a value", node("{matchExpressions: [{key: zone, operator: Exists, values: [a]}]}"), []string{terms + "[0].matchExpressions[0].values: forbidden"}},
		{"Gt two", node("{matchExpressions: [{key: n, operator: Gt, values: ['1', '2']}]}"), []string{terms + "[0].matchExpressions[0].values: required"}},
		{"bad key", node("{matchExpressions: [{key: 'a b', operator: Exists}]}"), []string{terms + "[0].matchExpressions[0].key: invalid"}},
		{"bad value", node("{matchExpressions: [{key: a, operator: In, values: ['b c']}]}"), []string{terms + "[0].matchExpressions[0].values[0]: invalid"}},
		{"by name", node("{matchFields: [{key: metadata.name, operator: In, values: [n1]}]}"), nil},
		{"by another field", node("{matchFields: [{key: spec.x, operator: In, values: [n1]}]}"), []string{terms + "[0].matchFields[0].key: invalid"}},
		{"by two names", node("{matchFields: [{key: metadata.name, operator: In, values: [n1, n2]}]}"), []string{terms + "[0].matchFields[0].values: required"}},
		{"weight", "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 101, preference: {}}]}}",
			[]string{"affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: invalid"}},
		{"apart", pods("{labelSelector: {matchLabels: {app: a}}, topologyKey: kubernetes.io/hostname}"), nil},
		{"apart in all namespaces", pods("{labelSelector: {matchLabels: {app: a}}, topologyKey: zone, namespaceSelector: {}}"), nil},
		{"apart in selected namespaces (ours)", pods("{labelSelector: {matchLabels: {app: a}}, topologyKey: zone, namespaceSelector: {matchLabels: {a: b}}}"),
			[]string{apart + ".namespaceSelector: forbidden"}},
		{"no topology", pods("{labelSelector: {}}"), []string{apart + ".topologyKey: required"}},
		{"bad selector", pods("{labelSelector: {matchExpressions: [{key: a, operator: In}]}, topologyKey: zone}"), []string{apart + ".labelSelector.matchExpressions[0].values: required"}},
		{"bad namespace", pods("{namespaces: [A], topologyKey: zone}"), []string{apart + ".namespaces[0]: invalid"}},
		{"key in both", pods("{labelSelector: {matchLabels: {a: b}}, matchLabelKeys: [a], topologyKey: zone}"), []string{apart + ".matchLabelKeys[0]: invalid"}},
		{"keys without a selector", pods("{mismatchLabelKeys: [a], topologyKey: zone}"), []string{apart + ".mismatchLabelKeys: forbidden"}},
	})
}

func TestValidateSpread(t *testing.T) {
	spread := func(fields string) string { return "topologySpreadConstraints: [{" + fields + "}]" }
	const at = "topologySpreadConstraints[0]"
	check(t, []verdict{
		{"zones", spread("maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {a: b}}, minDomains: 2, matchLabelKeys: [rev], nodeTaintsPolicy: Honor"), nil},
		{"nothing", spread(""), []string{at + ".maxSkew: invalid", at + ".topologyKey: required", at + ".whenUnsatisfiable: required"}},
		{"when", spread("maxSkew: 1, topologyKey: a, whenUnsatisfiable: Never"), []string{at + ".whenUnsatisfiable: unsupported"}},
		{"domains of a wish", spread("maxSkew: 1, topologyKey: a, whenUnsatisfiable: ScheduleAnyway, minDomains: 2"), []string{at + ".minDomains: invalid"}},
		{"policy", spread("maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule, nodeAffinityPolicy: Maybe"), []string{at + ".nodeAffinityPolicy: unsupported"}},
		{"twice", "topologySpreadConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule}, {maxSkew: 2, topologyKey: a, whenUnsatisfiable: DoNotSchedule}]",
			[]string{"topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}: duplicate"}},
	})
}

func TestValidatePriority(t *testing.T) {
	check(t, []verdict{
		{"class", "{priorityClassName: high, priority: 7, preemptionPolicy: Never}", nil},
		{"bad class", "priorityClassName: High", []string{"priorityClassName: invalid"}},
		{"bad policy", "preemptionPolicy: Sometimes", []string{"preemptionPolicy: unsupported"}},
	})
}
