package admission

import (
	"testing"

	"sigs.k8s.io/yaml"

	"swell.dev/swell/api/v1alpha1"
)

func budgetOf(t *testing.T, text string) *v1alpha1.BudgetSpec {
	t.Helper()
	s := &v1alpha1.BudgetSpec{}
	if err := yaml.UnmarshalStrict([]byte(text), s); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	Budgets{Currency: "CNY"}.Default(s)
	return s
}

func TestBudgetDefaults(t *testing.T) {
	s := budgetOf(t, "amount: '1500'")
	if s.Currency != "CNY" || s.TimeZone != "UTC" || s.HardStop != v1alpha1.HardStopNone || s.GraceSeconds != nil || len(s.Thresholds) != 3 ||
		s.Thresholds[1] != (v1alpha1.BudgetThreshold{Percent: 80, Of: v1alpha1.BudgetActual}) {
		t.Errorf("%+v", s)
	}
	if s := budgetOf(t, "{amount: '1', hardStop: DenyAndStop, thresholds: []}"); s.GraceSeconds != nil || len(s.Thresholds) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestBudgetValidation(t *testing.T) {
	for text, want := range map[string][]string{
		"amount: '0.000001'": nil,
		"{amount: '100000000000', currency: CNY, timeZone: Asia/Shanghai, hardStop: DenyAndStop, graceSeconds: 0}": nil,
		"thresholds: [{percent: 5}]":                                 {"amount: required"},
		"amount: '0'":                                                {"amount: invalid"},
		"amount: '-1'":                                               {"amount: invalid"},
		"amount: '1e3'":                                              {"amount: invalid"},
		"amount: '1.'":                                               {"amount: invalid"},
		"amount: '0.0000001'":                                        {"amount: invalid"},
		"amount: '0.1000000'":                                        nil,
		"amount: '100000000001'":                                     {"amount: invalid"},
		"amount: '99999999999999999999'":                             {"amount: invalid"},
		"{amount: '1', currency: USD}":                               {"currency: unsupported"},
		"{amount: '1', timeZone: Local}":                             {"timeZone: invalid"},
		"{amount: '1', timeZone: Mars/Olympus}":                      {"timeZone: invalid"},
		"{amount: '1', hardStop: Maybe}":                             {"hardStop: unsupported"},
		"{amount: '1', graceSeconds: 5}":                             {"graceSeconds: forbidden"},
		"{amount: '1', hardStop: Deny, graceSeconds: 5}":             {"graceSeconds: forbidden"},
		"{amount: '1', hardStop: DenyAndStop, graceSeconds: -1}":     {"graceSeconds: invalid"},
		"{amount: '1', thresholds: [{percent: 0}, {percent: 1001}]}": {"thresholds[0].percent: invalid", "thresholds[1].percent: invalid"},
		"{amount: '1', thresholds: [{percent: 5}, {percent: 5, of: Actual}]}":   {"thresholds[1]: duplicate"},
		"{amount: '1', thresholds: [{percent: 5}, {percent: 5, of: Forecast}]}": nil,
		"{amount: '1', thresholds: [{percent: 5, of: Luck}]}":                   {"thresholds[0].of: unsupported"},
	} {
		t.Run(text, func(t *testing.T) { expect(t, Budgets{Currency: "CNY"}.Validate(budgetOf(t, text)), want...) })
	}
}
