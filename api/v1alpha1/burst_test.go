package v1alpha1

import (
	"strings"
	"testing"
	"time"
)

func TestParseBurst(t *testing.T) {
	for value, want := range map[string]Burst{
		"cpu=4":                            {CPUMilli: 4000, Budget: time.Minute},
		"memory=2Gi":                       {MemoryBytes: 2 << 30, Budget: time.Minute},
		"cpu=1500m, memory=64Mi,budget=5s": {CPUMilli: 1500, MemoryBytes: 64 << 20, Budget: 5 * time.Second},
	} {
		if got, err := ParseBurst(value); err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", value, got, err, want)
		}
	}
	for value, says := range map[string]string{
		"":                   "key=value",
		"cpu":                "key=value",
		"cpu=much":           `cpu="much"`,
		"cpu=-1":             "positive",
		"memory=0":           "positive",
		"cpu=1,cpu=2":        "twice",
		"gpu=1":              `"gpu"`,
		"budget=60s":         "cpu, memory or both",
		"cpu=1,budget=never": `budget="never"`,
		"cpu=1,budget=25h":   "24h",
		"cpu=1,budget=0s":    "more than 0",
	} {
		if _, err := ParseBurst(value); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, which doesn't say %q", value, err, says)
		}
	}
}
